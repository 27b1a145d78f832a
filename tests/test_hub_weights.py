"""Weights read over the net while they are converted: the same bytes as from the disk. About 15 seconds."""

import errno
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import FP8, SHARDED
from hub_server import FAULTS, HubServer, seeded

from convert.checkpoint import wanted_files
from convert.files import WeightFiles
from convert.pipeline import convert
from convert.provenance import find_provenance
from convert.report import Progress
from convert.resume import discard
from convert.sources import SourceMismatch
from minichat.hub.lookup import Repo, look_up
from minichat.hub.patience import Patience
from minichat.hub.transfer import Hub
from minichat.hub.weights import RemoteWeights
from quant.errors import CheckpointError, NetworkError

QUICK = Patience(stall_s=0.06, tries=8, base_s=0.001, cap_s=0.004, slow_s=0.08, slow_bytes_per_s=2000)
DATA = random.Random(6).randbytes(1_000_003)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(slow_s=0.01, stall_s=10) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def repo(server: HubServer) -> Repo:
    server.add(
        "org/model", {"a.safetensors": DATA, "b.safetensors": DATA[::-1], "c/d.safetensors": b"x", "e.bin": b"x"}
    )
    repo = look_up("org/model")
    server.log.clear()
    return repo


@pytest.fixture
def hub(server: HubServer) -> Iterator[Hub]:
    with Hub(replace(QUICK, stall_s=10, slow_s=10), block_bytes=1 << 14) as hub:
        yield hub


def test_names_and_sizes(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files: WeightFiles = RemoteWeights(hub, repo, tmp_path)
    assert sorted(files.names()) == ["a.safetensors", "b.safetensors"]
    assert files.size(tmp_path / "a.safetensors") == len(DATA)
    for path in (tmp_path / "e.bin", tmp_path / "c" / "a.safetensors", Path("a.safetensors")):
        with pytest.raises(CheckpointError, match="has no file of weights"):
            files.size(path)


def test_what_is_announced_and_what_is_read_between(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    content = {a: DATA, b: DATA[::-1]}
    files = RemoteWeights(hub, repo, tmp_path, window=1 << 17)
    draw = random.Random(7)
    announced = [(a, 100_000, 700_000), (b, 0, 0), (b, 0, 500_000), (a, 0, 1000)]
    files.announce(announced)
    for path, begin, end in announced:
        while begin < end:
            n_bytes = min(end - begin, draw.choice([1, 1000, 50_000, 200_000]))
            assert files.read(path, begin, n_bytes) == content[path][begin : begin + n_bytes]
            begin += n_bytes
            if draw.random() < 0.3:
                other, offset, count = draw.choice([a, b]), draw.randrange(900_000), draw.choice([0, 3, 3000, 100_000])
                assert files.read(other, offset, count) == content[other][offset : offset + count]
    files.announce([(a, 0, len(DATA))])  # what was announced before counts no more
    files.announce([(b, 5, 10)])
    assert files.read(b, 5, 5) == content[b][5:10]
    files.close()
    assert files.read(a, 0, 8) == DATA[:8]
    files.close()


def test_small_reads_do_not_cost_a_request_each(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files = RemoteWeights(hub, repo, tmp_path)
    for offset in range(70_000, 130_000, 500):
        assert files.read(tmp_path / "a.safetensors", offset, 500) == DATA[offset : offset + 500]
    assert len(server.requests("cdn")) <= 3 * 4  # blocks of 32 KiB, twice: in two halves, and whole
    for offset in range(0, len(DATA) - 9, 1000):
        assert files.read(tmp_path / "a.safetensors", offset, 9) == DATA[offset : offset + 9]
    assert server.sent("a.safetensors") <= 2 * (len(DATA) + 2 * 65536)
    files.close()


def test_what_goes_into_no_hash_is_compared(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    for n in range(3):
        files = RemoteWeights(hub, repo, tmp_path)
        server.faults = iter([None] * n + ["corrupt"])
        assert files.read(tmp_path / "a.safetensors", 40_000, 2000) == DATA[40_000:42_000]
        assert files.read(tmp_path / "a.safetensors", 1000, 500_000) == DATA[1000:501_000]
        files.close()
    server.faults = iter(["corrupt"] * 100)
    with pytest.raises(NetworkError, match="comes differently each time"):
        files.read(tmp_path / "a.safetensors", 40_000, 2000)


def test_reads_past_the_end(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files = RemoteWeights(hub, repo, tmp_path)
    for offset, n_bytes in ((len(DATA), 1), (0, len(DATA) + 1), (-1, 2), (5, -1)):
        with pytest.raises(CheckpointError):
            files.read(tmp_path / "a.safetensors", offset, n_bytes)


def test_a_file_that_is_on_this_disk(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cached").write_bytes(DATA)
    folder = tmp_path / "nowhere"
    files = RemoteWeights(hub, repo, folder, {"a.safetensors": tmp_path / "cached"})
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    files.announce([(a, 0, 1000), (b, 0, 1000), (a, 2000, 3000)])
    assert files.read(a, 0, 1000) == DATA[:1000]
    assert files.read(b, 0, 1000) == DATA[::-1][:1000]
    assert files.read(a, 2000, 1000) == DATA[2000:3000]
    files.close()
    assert server.sent("a.safetensors") == 0


@pytest.mark.parametrize("at", [0, 1, 300_000, 999_999])
@pytest.mark.parametrize("how", ["cut", "removed", "unreadable"])
def test_a_file_on_this_disk_that_fails_is_read_from_the_hub(
    server: HubServer, repo: Repo, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, how: str
) -> None:
    """From the byte on that cannot be had, in one stream; whatever stands before and behind it."""
    cached, folder = tmp_path / "cached", tmp_path / "nowhere"
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    content = {a: DATA, b: DATA[::-1]}
    read = os.read

    def failing(handle: int, n_bytes: int) -> bytes:
        if cached.exists() and os.path.samestat(os.fstat(handle), cached.stat()):
            raise OSError(errno.EIO, "Input/output error")
        return read(handle, n_bytes)

    for announced in (
        [(a, 0, len(DATA)), (b, 0, 400_000)],
        [(b, 0, 300_000), (a, 0, len(DATA)), (b, 300_000, 400_000)],
    ):
        cached.write_bytes(DATA)
        server.log.clear()
        files = RemoteWeights(hub, repo, folder, {a.name: cached}, window=1 << 17)
        files.announce(announced)
        with monkeypatch.context() as patch:
            for path, begin, end in announced:
                while begin < end:
                    if (path, begin) == (a, at):
                        patch.setattr(os, "read", failing) if how == "unreadable" else None
                        os.truncate(cached, at) if how == "cut" else None
                        files.close() if how == "removed" else None  # what was announced counts no more
                        cached.unlink() if how == "removed" else None
                    stop = at if path == a and begin < at else end
                    n_bytes = min(stop - begin, 70_000)
                    assert files.read(path, begin, n_bytes) == content[path][begin : begin + n_bytes]
                    begin += n_bytes
            assert files.read(a, 5000, 100) == DATA[5000:5100]
        files.close()
        if how != "removed":
            assert 0 < server.sent(a.name) <= len(DATA) - at + (2 << 15) + (1 << 17)
            # the hub is asked in blocks of 16 KiB, and once more for what the first stream had under way
            assert len(server.requests("cdn")) <= (len(DATA) - at + 400_000 + (2 << 17)) / (1 << 14) + 8


def test_scales_of_a_file_that_fails_do_not_lose_the_place(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    cached, folder = tmp_path / "cached", tmp_path / "nowhere"
    cached.write_bytes(DATA)
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    files = RemoteWeights(hub, repo, folder, {a.name: cached}, window=1 << 17)
    files.announce([(b, 0, len(DATA)), (a, 0, len(DATA))])
    assert files.read(b, 0, 200_001) == DATA[::-1][:200_001]
    os.truncate(cached, 10)
    assert files.read(a, 5000, 100) == DATA[5000:5100]
    assert files.read(b, 200_001, 100_000) == DATA[::-1][200_001:300_001]
    assert files.read(b, 300_001, len(DATA) - 300_001) == DATA[::-1][300_001:]
    assert files.read(a, 0, len(DATA)) == DATA
    files.close()


def test_after_an_error_nothing_comes_from_the_wrong_place(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with Hub(replace(QUICK, tries=1, stall_s=10, slow_s=10), block_bytes=1 << 14) as hub:
        files = RemoteWeights(hub, repo, tmp_path, window=1 << 17)
        server.faults = iter([None] * 3 + ["500"])
        files.announce([(path, 0, len(DATA))])
        with pytest.raises(NetworkError):
            files.read(path, 0, 500_000)
        server.faults = iter(())
        assert files.read(path, 0, 500_000) == DATA[:500_000]
        files.close()


# Whole conversions.


def described(hub: Hub, repo: Repo, folder: Path) -> Path:
    folder.mkdir()
    for name in wanted_files(f.name for f in repo.files)[0]:
        (folder / name).write_bytes(hub.fetch(repo, repo.file(name)))
    return folder


@pytest.mark.parametrize("checkpoint", [SHARDED, FP8])
def test_a_conversion_over_the_net_gives_the_same_bytes(
    server: HubServer, hub: Hub, tmp_path: Path, checkpoint: Path
) -> None:
    server.add("org/model", checkpoint)
    repo = look_up("org/model")
    folder = described(hub, repo, tmp_path / "model")
    server.log.clear()
    files = RemoteWeights(hub, repo, folder)
    provenance = find_provenance(folder)
    convert(folder, tmp_path / "remote.gguf", files=files, provenance=provenance, name="m", threads=1)
    files.close()
    convert(checkpoint, tmp_path / "local.gguf", provenance=provenance, name="m", threads=1)
    assert (tmp_path / "remote.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
    assert not list(folder.glob("*.safetensors"))
    for file in repo.files:
        if file.name.endswith(".safetensors"):  # once, and the beginning twice more
            assert (
                file.size_bytes
                <= server.sent(file.name)
                <= file.size_bytes + (4 << 15 if checkpoint == SHARDED else 1 << 20)
            )


def test_a_conversion_of_a_file_that_is_cut_meanwhile(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.add("org/model", SHARDED)
    repo = look_up("org/model")
    folder = described(hub, repo, tmp_path / "model")
    second = SHARDED / "model-00002-of-00003.safetensors"
    cached = Path(shutil.copy(second, tmp_path / "cached"))
    total = sum(path.stat().st_size for path in SHARDED.glob("*.safetensors"))

    def cut(progress: Progress) -> None:
        if progress.source_done_bytes > total / 2:
            os.truncate(cached, 0)

    files, origin = RemoteWeights(hub, repo, folder, {second.name: cached}), find_provenance(folder)
    convert(folder, tmp_path / "a.gguf", "q8_0", files=files, provenance=origin, name="m", threads=1, on_progress=cut)
    files.close()
    assert 0 < server.sent(second.name) < second.stat().st_size
    convert(SHARDED, tmp_path / "local.gguf", "q8_0", provenance=origin, name="m", threads=1)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()


@pytest.mark.parametrize(("checkpoint", "n_transfers"), [(SHARDED, 20), (FP8, 10)])
def test_conversions_with_up_to_twenty_faults_each(
    server: HubServer, tmp_path: Path, checkpoint: Path, n_transfers: int
) -> None:
    server.add("org/model", checkpoint)
    repo = look_up("org/model")
    with Hub(QUICK) as hub:
        folder = described(hub, repo, tmp_path / "model")
    told = {f.name: f.sha256 for f in repo.files if f.sha256 and "/" not in f.name}
    origin = replace(find_provenance(folder), hub_sha256=told)
    convert(checkpoint, tmp_path / "local.gguf", "q8_0", provenance=origin, name="m", threads=1)
    expected, file = (tmp_path / "local.gguf").read_bytes(), tmp_path / "remote.gguf"
    n_right = 0
    for seed in range(n_transfers):
        server.faults = seeded(seed, random.Random(seed).randint(1, 20), FAULTS)
        for _ in range(4):
            with Hub(QUICK, block_bytes=1 << 13) as hub:
                files = RemoteWeights(hub, repo, folder, window=1 << 16)
                try:
                    convert(folder, file, "q8_0", files=files, provenance=origin, name="m", threads=1, resumable=True)
                except (NetworkError, SourceMismatch):
                    continue
                finally:
                    files.close()
            assert file.read_bytes() == expected
            file.unlink()
            n_right += 1
            break
        discard(file)
    assert n_right >= 0.8 * n_transfers
