"""GGUF files of other programs, taken into the store."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import stat
from dataclasses import replace
from pathlib import Path

import gguf_samples
import pytest
from program import minichat
from shown import Work

from convert import gguf_writer as w
from minichat import place as placing
from minichat.demos import DEMO
from minichat.elsewhere import at
from minichat.foreign import Foreign
from minichat.gguf_model import Known
from minichat.importing import Imported, import_model, suggested_name
from minichat.making import name_of_folder
from minichat.manifest import ModelName
from minichat.models import is_path
from minichat.place import place
from minichat.store import Removed, Store
from minichat.verification import verify
from minichat.wanted import name_of_repo
from quant.errors import DataError, GgufError, StorageError

REPO = "mistralai/Ministral-8B-Instruct-2410"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    """A file of Ollama's, writable by its owner."""
    path = tmp_path / "theirs" / "sha256-x"
    path.parent.mkdir()
    _, digest = gguf_samples.write(path, gguf_samples.METADATA | {"llama.context_length": w.u32(4096)})
    path.chmod(0o644)
    return Foreign("Ollama", "gguf", "small:24b", path, path, path.stat().st_size, digest)


def taken(foreign: Foreign, store: Store, name: str = "mine:best", **more: bool) -> Imported:
    return import_model(foreign, store, Work(), ModelName.parse(name), **more)


def no_reflinks(source: Path, destination: Path) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.fixture(autouse=True)
def plain_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways do not hang on the disk that the tests run on."""
    monkeypatch.setattr(placing, "_clone", no_reflinks)


def test_a_file_is_used_in_place(store: Store, foreign: Foreign) -> None:
    before = foreign.file.stat()
    work = Work()
    made, way = (imported := import_model(foreign, store, work)).manifest, imported.way
    assert (made.full_name, made.size_bytes, way) == ("small:24b", foreign.size_bytes, "symlink")
    assert (made.architecture, made.context_length, made.parameters) == ("llama", 4096, 3 * 256 + 7 + 64)
    assert made.blob == f"sha256-{foreign.sha256}"
    assert made.linked == store.linked(made) == str(foreign.file)
    assert store.path(made).resolve() == foreign.file
    assert work.updates[-1] == (foreign.size_bytes, foreign.size_bytes)
    after = foreign.file.stat()
    assert (after.st_mode, after.st_nlink, after.st_mtime_ns) == (before.st_mode, before.st_nlink, before.st_mtime_ns)
    (verdict,) = verify("small:24b", store, Work())
    assert (verdict.problem, verdict.hash_checked, verdict.linked) == (None, True, str(foreign.file))


def test_a_copy_of_its_own(store: Store, foreign: Foreign) -> None:
    work = Work()
    imported = import_model(foreign, store, work, ModelName("mine"), copy=True)
    blob = store.path(imported.manifest)
    assert (imported.way, imported.manifest.linked) == ("copy", None)
    assert not blob.is_symlink() and blob.stat().st_nlink == 1
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert stat.S_IMODE(foreign.file.stat().st_mode) == 0o644
    assert work.updates[-1] == (2 * foreign.size_bytes, 2 * foreign.size_bytes)  # copied, and read again
    foreign.file.unlink()
    assert verify("mine", store, Work())[0].problem is None


def test_a_hard_link_only_to_what_nobody_may_write(store: Store, foreign: Foreign) -> None:
    foreign.file.chmod(0o440)
    imported = taken(foreign, store)
    assert imported.way == "hardlink"
    assert store.path(imported.manifest).samefile(foreign.file)
    assert stat.S_IMODE(foreign.file.stat().st_mode) == 0o440  # not even made 0444
    assert store.remove(ModelName("mine", "best")) == Removed("mine:best", 0)
    assert foreign.file.exists()


def test_a_reflink_where_the_disk_can(store: Store, foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(source: Path, destination: Path) -> None:
        destination.write_bytes(source.read_bytes())

    monkeypatch.setattr(placing, "_clone", clone)
    for name, copy in (("a", False), ("b", True)):
        imported = taken(foreign, store, name, copy=copy)
        assert (imported.way, imported.manifest.linked) == ("reflink", None)
    assert not store.path(imported.manifest).is_symlink()


def test_what_is_known_goes_over_what_the_file_says(store: Store, foreign: Foreign) -> None:
    known = Known(repo=REPO, revision="a" * 40, licence="mrl", notice="n", template="v3-tekken", temperature=0.15)
    made = import_model(replace(foreign, repo="x/y"), store, Work(), known=known).manifest
    assert (made.repo, made.revision, made.licence, made.notice) == (REPO, "a" * 40, "mrl", "n")
    assert (made.template, made.temperature) == ("v3-tekken", 0.15)


def test_a_file_that_is_not_what_its_program_says(store: Store, foreign: Foreign) -> None:
    with pytest.raises(DataError, match="is damaged: its sha256 is"):
        taken(replace(foreign, sha256="0" * 64), store)
    assert store.models() == [] and not list((store.root / "incoming").iterdir())


def put(path: Path, metadata: dict[str, w.Value]) -> Foreign:
    gguf_samples.write(path, metadata)
    return at(path)


def test_what_is_no_language_model(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = tmp_path / "x.gguf", gguf_samples.METADATA
    cases = {
        "a part that belongs to one": {"general.architecture": w.string("clip")},
        "holds no language model, but": {"general.type": w.string("adapter")},
        "is one of 3 parts": {"split.count": w.u32(3)},
    }
    for says, more in cases.items():
        with pytest.raises(GgufError, match=says):
            taken(put(path, whole | more), store)
    with pytest.raises(GgufError, match="no vocabulary"):
        taken(put(path, {"general.architecture": w.string("llama")}), store)
    path.write_bytes(b"GGUF")
    with pytest.raises(GgufError, match="no usable GGUF"):
        taken(at(path), store)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(GgufError, match="no such file"):
        taken(at(path), store)
    with pytest.raises(DataError, match="No such file"):
        at(tmp_path / "absent.gguf")
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    with pytest.raises(DataError, match="loop"):
        at(tmp_path / "loop.gguf")
    assert not store.root.exists()


def test_a_used_file_that_goes_or_changes(store: Store, foreign: Foreign) -> None:
    made = taken(foreign, store).manifest
    whole = foreign.file.read_bytes()
    foreign.file.write_bytes(whole + b"x")
    with pytest.raises(DataError, match="is another file now"):
        store.path(made)
    foreign.file.write_bytes(whole[:-1] + b"x")
    assert "its content has changed" in (verify("mine:best", store, Work())[0].problem or "")
    foreign.file.unlink()
    with pytest.raises(DataError, match=f"used in place, and {foreign.file} is gone"):
        store.path(made)
    assert not store.has_file(made)
    assert store.remove(ModelName("mine", "best")) == Removed("mine:best", 0, (), str(foreign.file))
    assert list((store.root / "blobs").iterdir()) == []


def test_links_and_files_of_one_content(store: Store, foreign: Foreign, tmp_path: Path) -> None:
    """Of two ways to one content the store keeps one that works, and every manifest tells the truth."""
    first = taken(foreign, store, "first").manifest
    other_file = tmp_path / "other.gguf"
    other_file.write_bytes(foreign.file.read_bytes())
    other = replace(foreign, path=other_file, file=other_file)
    second = taken(other, store, "second").manifest
    assert second.linked == first.linked  # the first is still good
    foreign.file.unlink()
    third = taken(other, store, "third").manifest
    assert third.linked == str(other_file)
    for manifest in store.models():
        assert (manifest.linked, store.problem(manifest)) == (str(other_file), None)
    owned = taken(other, store, "fourth", copy=True).manifest
    assert [m.linked for m in store.models()] == [None] * 4
    other_file.unlink()
    assert [v.problem for v in verify(None, store, Work())] == [None] * 4
    foreign.file.write_bytes(store.path(owned).read_bytes())
    assert taken(foreign, store, "fifth").manifest.linked is None  # the store's own is better


def test_a_name_that_meant_something_else_is_told(store: Store, foreign: Foreign, tmp_path: Path) -> None:
    taken(foreign, store)
    work, other = Work(), put(tmp_path / "o.gguf", gguf_samples.METADATA | {"x": w.u32(1)})
    import_model(other, store, work, ModelName("mine", "best"))
    assert work.notes == ["mine:best is replaced: it was q4_K, made from Ollama: small:24b"]
    assert len(store.models()) == 1 and len(list((store.root / "blobs").iterdir())) == 1


def test_a_disk_that_cannot_hold_a_copy(store: Store, foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(placing.os, "write", full)
        with pytest.raises(StorageError, match="No space left"):
            taken(foreign, store, copy=True)
    assert not list((store.root / "incoming").iterdir())
    assert store.models() == []


def test_ways_are_tried_in_turn_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"abc")
    with pytest.raises(OSError, match="not supported"):
        place(source, target, ["reflink"])
    with pytest.raises(PermissionError):
        place(source, target, ["hardlink"])
    assert not target.exists()
    assert place(source, target, ["reflink", "hardlink", "copy"]) == "copy"
    with pytest.raises(FileExistsError):
        place(source, target)
    assert target.read_bytes() == b"abc"


def test_a_model_of_the_same_suggested_name_stays(store: Store, tmp_path: Path) -> None:
    """Files called alike come from anywhere: none is replaced because nobody gave a name."""
    work, files = Work(), []
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        files.append(put(tmp_path / folder / "Model.gguf", gguf_samples.METADATA | {"x": w.u32(seed)}))
    first, second = (import_model(file, store, work).manifest for file in files)
    assert first.name == "model" and re.fullmatch("model-[0-9a-f]{8}", second.name)
    assert [m.blob for m in store.models()] == [first.blob, second.blob]
    assert import_model(files[1], store, work).manifest.name == second.name  # again: no third one
    assert work.notes == []
    put(files[0].path, gguf_samples.METADATA | {"x": w.u32(3)})  # the same file, changed: a newer state of the model
    renewed = import_model(at(files[0].path), store, work).manifest
    assert renewed.name == "model" and renewed.blob != first.blob
    assert len(store.models()) == 2
    assert work.notes == [f"model:q4_K is replaced: it was q4_K, made from a file: {files[0].path}"]


def test_the_same_content_from_elsewhere_is_the_same_model(store: Store, foreign: Foreign) -> None:
    import_model(foreign, store, Work())
    again = import_model(replace(foreign, program="LM Studio"), store, Work()).manifest
    assert [m.full_name for m in store.models()] == [again.full_name] == ["small:24b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mistral-7B-v0.3.Q8_0.gguf", "mistral-7b-v0.3.q8_0:q4_K_M"),
        ("a.GGUF.gguf", "a:q4_K_M"),
        ("x" * 75 + ".gguf-of-mine", "x" * 75 + ":q4_K_M"),
        ("demo.gguf", "demo-imported:q4_K_M"),
        (".gguf", "gguf:q4_K_M"),
        ("small:own.gguf", "small:own"),
        ("someone/small.gguf:latest", "small:q4_K_M"),
        ("a/b.gguf/c.gguf", "b:q4_K_M"),
        ("Mistral-Small:24B-Q8_0", "mistral-small:24B-Q8_0"),
        ("mistral-small:latest", "mistral-small:q4_K_M"),
        ("someone/model:x", "model:x"),
        ("hf.co/mistralai/Ministral-GGUF:Q4_K_M", "ministral:Q4_K_M"),
        ("demo:latest", "demo-imported:q4_K_M"),
        ("Ünï/…/…", "model:q4_K_M"),
        ("a/" + "x" * 5000 + "/f.gguf", "x" * 80 + ":q4_K_M"),
        ("..:..", "model:q4_K_M"),
    ],
)
def test_names_of_other_programs_become_names_here(name: str, expected: str) -> None:
    made = suggested_name(Foreign("x", "gguf", name, Path("/x"), Path("/x"), 1), "q4_K_M")
    assert str(made) == expected == str(ModelName.parse(str(made)))
    assert not is_path(str(made)) and not is_path(made.name)


def test_every_suggested_name_leads_to_a_model() -> None:
    """Names of any making: the store can be asked for what was made of them, with the tag and without."""
    draw = random.Random(7)
    pieces = ["a", "Z7", ".", "-", "_", "/", ":", "gguf", ".GGUF", "demo", " ", "é", "~", "\\", "b" * 78]
    for _ in range(3000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 8)))
        made = suggested_name(Foreign("x", "gguf", text, Path("/x"), Path("/x"), 1), "q4_K_M")
        other = name_of_repo(text, "q4_K_M")
        for name in (str(made), made.name, str(other), name_of_folder(Path("/x") / text.replace("/", "_"))):
            assert not is_path(name), (text, name)
            assert ModelName.parse(name).name != DEMO


def test_a_path_that_is_no_text_survives_the_manifest(store: Store, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.gguf")
    gguf_samples.write(path)
    made = taken(at(path), store).manifest
    assert store.path(made).exists() and made.linked == str(path)
    assert json.loads(store.manifest_path(ModelName("mine", "best")).read_text())["linked"] == str(path)


def test_the_notice_of_a_licence_that_binds_stays_with_the_store(tmp_path: Path) -> None:
    put(tmp_path / "x.gguf", gguf_samples.METADATA | {"general.license.name": w.string("mrl")})
    assert minichat("import", tmp_path / "x.gguf", "--name", "mine:best").returncode == 0
    assert "mine:best" in (Store.default().root / "NOTICE").read_text()
