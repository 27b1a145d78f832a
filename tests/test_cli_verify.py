"""`minichat verify` from outside, and what it finds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf_samples
import pytest
from program import fails, minichat

from minichat.manifest import Manifest, ModelName
from minichat.store import Store
from minichat.verification import verify
from quant.errors import DataError

MANIFEST = Manifest(
    name="small",
    tag="q4_K_M",
    blob="",
    size_bytes=0,
    target="q4_K_M",
    architecture="llama",
    template=None,
    parameters=10,
    context_length=100,
    source="/checkpoints/small",
    source_stamp="s",
    created="2026-01-01T00:00:00+00:00",
)


class Work:
    def __init__(self) -> None:
        self.titles: list[str] = []
        self.updates: list[tuple[int, int, str]] = []

    @contextmanager
    def __call__(self, title: str) -> Iterator[Work]:
        self.titles.append(title)
        yield self

    def note(self, text: str) -> None:
        pytest.fail(text)

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        self.updates.append((done_bytes, total_bytes, detail))


@pytest.fixture
def store() -> Store:
    return Store.default()


@pytest.fixture
def blob(store: Store) -> Path:
    """The file of small:q4_K_M."""
    with store.incoming(ModelName("small", "q4_K_M")) as folder:
        file = folder / "model.gguf"
        _, digest = gguf_samples.write(file)
        made = dataclasses.replace(MANIFEST, blob=f"sha256-{digest}", size_bytes=file.stat().st_size)
        return store.add(file, made)


def test_whole_models(store: Store, blob: Path) -> None:
    store.copy(ModelName("small"), ModelName("twin", "Best"))
    done = minichat("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "SIZE", "TOKENS", "RESULT"],
        ["small:q4_K_M", "1.2", "kB", "not", "checked", "whole"],
        ["twin:Best", "1.2", "kB", "not", "checked", "whole"],
    ]
    assert json.loads(minichat("verify", "SMALL", "--json").stdout) == [
        {
            "name": "small:q4_K_M",
            "file": str(blob),
            "size_bytes": blob.stat().st_size,
            "whole": True,
            "hash_checked": True,
            "tokens": {
                "kind": "not checked",
                "about": "the file has no vocabulary",
                "strings": 0,
                "conversations": 0,
                "problem": None,
            },
            "problem": None,
            "linked": None,
            "projector": None,
        }
    ]


def test_a_file_that_is_used_in_place(store: Store, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.gguf"
    _, digest = gguf_samples.write(theirs)
    theirs.chmod(0o644)
    with store.incoming(ModelName("small")) as folder:
        (folder / "link").symlink_to(theirs)
        size = theirs.stat().st_size
        store.add(folder / "link", dataclasses.replace(MANIFEST, blob=f"sha256-{digest}", size_bytes=size))
    done = minichat("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].endswith(f"whole, used in place: {theirs}")
    assert json.loads(minichat("verify", "--json").stdout)[0]["linked"] == str(theirs)
    flip_last_bit(theirs)
    done = minichat("verify")
    assert done.returncode == 3 and "its content has changed (sha256 " in done.stderr
    theirs.unlink()
    done = minichat("verify")
    assert done.returncode == 3 and f"it is used in place, and {theirs} is gone" in done.stderr


def test_an_empty_store() -> None:
    done = minichat("verify")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no models here yet" in done.stderr
    assert minichat("verify", "--json").stdout == "[]\n"


def flip_last_bit(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)


def cut(blob: Path) -> None:
    blob.write_bytes(blob.read_bytes()[:-1])


def spoil_header(blob: Path) -> None:
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_last_bit, "its content has changed (sha256 "),
        (cut, "bytes, and had "),
        (spoil_header, "it does not begin with GGUF"),
        (Path.unlink, "its file is missing"),
    ],
)
def test_a_damaged_file(store: Store, blob: Path, damage: Callable[[Path], None], says: str) -> None:
    store.copy(ModelName("small"), ModelName("twin"))
    damage(blob)
    for arguments in ((), ("small",)):
        done = minichat("verify", *arguments)
        assert done.returncode == 3
        lines = done.stderr.splitlines()
        assert len(lines) == (1 if arguments else 2)
        assert lines[0].startswith("minichat: small:q4_K_M is damaged: ")
        assert says in lines[0]
        ends = "; remove it with `minichat rm small:q4_K_M` and convert it again from /checkpoints/small"
        assert lines[0].endswith(ends)
        assert "damaged" in done.stdout
    found = json.loads(minichat("verify", "--json").stdout)
    assert [model["whole"] for model in found] == [False, False]
    assert says in found[0]["problem"]


def test_a_damaged_manifest(store: Store, blob: Path) -> None:
    store.copy(ModelName("small"), ModelName("twin"))
    path = store.root / "manifests" / "small" / "q4_k_m.json"
    path.write_text("{")
    done = minichat("verify")
    assert done.returncode == 3
    advice = f"{path}: it is no manifest; remove it with `minichat rm small:q4_k_m` and convert the model again"
    assert done.stderr == f"minichat: small:q4_k_m is damaged: {advice}\n"
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["RESULT", "whole", "damaged"]
    assert minichat("verify", "small").returncode == 3
    assert minichat("verify", "twin").returncode == 0
    listed = minichat("list")
    assert "small:" not in listed.stdout
    assert listed.stderr == "1 of the models here cannot be listed: `minichat verify` tells why\n"
    assert minichat("rm", "small:q4_k_m").stdout == "removed small:q4_k_m\n"
    assert minichat("verify").returncode == 0
    assert "twin:" in minichat("list").stdout


def test_a_file_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    gguf_samples.write(path)
    done = minichat("verify", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "small.gguf" in done.stdout
    assert "no hash is recorded" in done.stdout
    assert json.loads(minichat("verify", path, "--json").stdout)[0]["hash_checked"] is False
    path.write_bytes(path.read_bytes()[:-40])
    done = minichat("verify", path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"minichat: small.gguf is damaged: {path} is no usable GGUF file: ")
    assert done.stderr.endswith("; fetch it or convert it again\n")


def test_what_is_no_model(tmp_path: Path, home: Path) -> None:
    fails(3, "no model 'absent' here", "verify", "absent")
    fails(3, "no such file", "verify", tmp_path / "absent.gguf")
    fails(3, "is a folder", "verify", tmp_path)
    fails(2, "no model name", "verify", "a b")
    fails(3, "no model 'demo' here", "verify", "demo")  # it is converted by who uses it, not by who looks
    assert list(home.iterdir()) == []


def test_progress_goes_over_all_files_once(store: Store, blob: Path) -> None:
    size = blob.stat().st_size
    other = dataclasses.replace(store.get(ModelName("small")), name="other", blob="sha256-" + "00" * 32)
    with store.incoming(ModelName("other", "q4_K_M")) as folder:
        store.add(Path(shutil.copy(blob, folder / "model.gguf")), other)
    store.copy(ModelName("small"), ModelName("twin"))
    work = Work()
    verdicts = verify(None, store, work)
    assert [(v.name, v.problem is None) for v in verdicts] == [
        ("other:q4_K_M", False),
        ("small:q4_K_M", True),
        ("twin:q4_K_M", True),
    ]
    assert work.titles == ["verifying 3 models"]
    assert work.updates == [(size, 2 * size, "other:q4_K_M"), (2 * size, 2 * size, "small:q4_K_M")]


def test_a_file_that_cannot_be_read_to_its_end(store: Store, blob: Path) -> None:
    class Failing(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            raise OSError(5, "Input/output error")

    (verdict,) = verify("small", store, Failing())
    assert verdict.problem == f"{blob} cannot be read: Input/output error"
    assert verdict.advice == "see who owns it, and whether its disk is sound"  # not to remove it


def test_a_manifest_without_a_hash(store: Store, blob: Path) -> None:
    path = store.root / "manifests" / "small" / "q4_k_m.json"
    path.write_text(path.read_text().replace(store.get(ModelName("small")).blob, "sha256-aa"))
    (verdict,) = verify("small", store, Work())
    assert verdict.problem == f"{path}: it is no manifest: its blob makes no sense"


def test_a_folder_of_the_store_s_own_is_no_model(store: Store, blob: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        verify(str(store.root), store, Work())


def test_help() -> None:
    done = minichat("verify", "--help")
    assert done.returncode == 0
    assert "minichat verify ./model.gguf" in done.stdout
