"""Weights that are elsewhere: a checkpoint of them becomes the file that it becomes with them in its folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from checkpoints import FP8, SHARDED, config, random_tensors, write_checkpoint, write_safetensors

from convert.checkpoint import open_checkpoint
from convert.files import LocalFiles
from convert.gguf_file import read_header
from convert.pipeline import convert
from convert.provenance import Provenance
from quant.errors import CheckpointError, NetworkError


class Elsewhere:
    """The weights of `folder` as they are in another folder; what is asked of them is written down."""

    def __init__(self, folder: Path, real: Path) -> None:
        self._folder, self._real, self._files = folder, real, LocalFiles(real)
        self.announced: list[tuple[str, int, int]] = []
        self.reads: list[tuple[str, int, int]] = []
        self.is_closed = False

    def names(self) -> list[str]:
        return self._files.names()

    def size(self, path: Path) -> int:
        assert path.parent == self._folder
        return self._files.size(self._real / path.name)

    def announce(self, ranges: Sequence[tuple[Path, int, int]]) -> None:
        self.announced = [(path.name, begin, end) for path, begin, end in ranges]

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        assert path.parent == self._folder
        self.reads.append((path.name, offset, n_bytes))
        return self._files.read(self._real / path.name, offset, n_bytes)

    def close(self) -> None:
        self.is_closed = True
        self._files.close()


def parted(source: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint's small files in one folder, its weights in another."""
    small, weights = tmp_path / source.name, tmp_path / "weights"
    small.mkdir()
    weights.mkdir()
    for path in source.iterdir():
        shutil.copy(path, weights if path.suffix == ".safetensors" else small)
    return small, weights


@pytest.mark.parametrize("source", [SHARDED, FP8], ids=["bf16 in shards", "fp8 with scales"])
@pytest.mark.parametrize("resumable", [False, True])
def test_the_same_bytes(tmp_path: Path, source: Path, resumable: bool) -> None:
    small, weights = parted(source, tmp_path)
    files = Elsewhere(small, weights)
    report = convert(small, tmp_path / "a.gguf", files=files, resumable=resumable)
    assert report.sha256 == convert(source, tmp_path / "b.gguf").sha256
    sizes = {path.name: path.stat().st_size for path in sorted(weights.iterdir())}
    assert files.announced == [(name, 0, size) for name, size in sizes.items()]
    assert not files.is_closed
    files.close()
    # What was announced is read from front to back, each byte once; headers and scales between.
    place = dict.fromkeys(sizes, 0)
    between = 0
    for name, offset, n_bytes in files.reads:
        if offset == place[name] and n_bytes > 8:
            place[name] += n_bytes
        else:
            between += n_bytes
    assert place == sizes
    assert between < 0.1 * sum(sizes.values())


def test_what_is_missing_elsewhere_is_named(tmp_path: Path) -> None:
    small, weights = parted(SHARDED, tmp_path)
    (weights / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-00002-of-00003\.safetensors of 3 shards"):
        open_checkpoint(small, Elsewhere(small, weights))
    with pytest.raises(CheckpointError, match=r"lacks model-00001-of-00003\.safetensors and 2 more of 3 shards"):
        open_checkpoint(small)


@pytest.mark.parametrize("resumable", [False, True])
def test_what_the_files_raise_comes_through(tmp_path: Path, resumable: bool) -> None:
    small, weights = parted(SHARDED, tmp_path)
    out = tmp_path / "out"
    out.mkdir()

    class Dead(Elsewhere):
        def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
            if len(self.reads) > 20:
                raise NetworkError("the hub does not answer")
            return super().read(path, offset, n_bytes)

    with closing(Dead(small, weights)) as files, pytest.raises(NetworkError, match="the hub does not answer"):
        convert(small, out / "a.gguf", files=files, resumable=resumable)
    assert bool(list(out.iterdir())) == resumable


def test_a_tied_head_is_compared_elsewhere_too(tmp_path: Path) -> None:
    settings = config(layers=1, tied=True)
    tensors = random_tensors(settings)
    folder = write_checkpoint(tmp_path / "model", settings, tensors)
    for head in (tensors["model.embed_tokens.weight"], tensors["model.embed_tokens.weight"][::-1]):
        write_safetensors(folder / "model.safetensors", tensors | {"lm_head.weight": head})
        expected = convert(folder, tmp_path / "b.gguf", "q8_0").sha256
        shutil.rmtree(tmp_path / "parts", ignore_errors=True)
        (tmp_path / "parts").mkdir()
        small, weights = parted(folder, tmp_path / "parts")
        with closing(Elsewhere(small, weights)) as files:
            assert convert(small, tmp_path / "a.gguf", "q8_0", files=files).sha256 == expected


@pytest.mark.parametrize(
    ("repo", "name", "template"),
    [("mistralai/Tiny-Instruct", "Tiny-Instruct", "v7-tekken"), ("mistralai/Tiny-Base-2501", "Tiny-Base-2501", None)],
)
def test_what_the_caller_knows_of_the_origin(tmp_path: Path, repo: str, name: str, template: str | None) -> None:
    origin = Provenance(repo, "0a" * 20, "apache-2.0", None, None, None, {})
    report = convert(SHARDED, tmp_path / "a.gguf", "q8_0", provenance=origin)
    metadata = read_header(tmp_path / "a.gguf").metadata
    assert (report.licence, report.template) == ("apache-2.0", template)
    assert (metadata["general.name"], metadata["minichat.source.repo"]) == (name, repo)
    assert metadata["minichat.source.revision"] == "0a" * 20


def test_files_on_this_disk(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"0123456789")
    (tmp_path / "b.safetensors").mkdir()
    (tmp_path / "c.bin").write_bytes(b"")
    files = LocalFiles(tmp_path)
    assert files.names() == ["a.safetensors"]
    assert files.size(tmp_path / "a.safetensors") == 10
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    for _ in range(2):
        assert files.read(tmp_path / "a.safetensors", 3, 4) == b"3456"
        with pytest.raises(CheckpointError, match="became shorter"):
            files.read(tmp_path / "a.safetensors", 8, 3)
        with pytest.raises(CheckpointError, match="cannot be read: No such file"):
            files.read(tmp_path / "d.safetensors", 0, 1)
        files.close()
    assert not before or len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(CheckpointError, match="cannot be read"):
        files.size(tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        LocalFiles(tmp_path / "absent").names()
