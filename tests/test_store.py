"""Names, manifests and blobs on disk."""

from __future__ import annotations

import errno
import json
import stat
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from convert import lock
from minichat.home import home
from minichat.manifest import Manifest, ModelName
from minichat.notices import Notices
from minichat.store import Removed, Store
from quant.errors import DataError, DiskFullError, StorageError, UsageError

BLOB, OTHER_BLOB, THIRD_BLOB, NO_BLOB = (f"sha256-{letter * 64}" for letter in "abc0")
MANIFEST = Manifest(
    name="small",
    tag="q4_K_M",
    blob=BLOB,
    size_bytes=3,
    target="q4_K_M",
    architecture="llama",
    template="v7-tekken",
    parameters=10,
    context_length=100,
    source="/x",
    source_stamp="s",
    created="2026-01-01T00:00:00+00:00",
)


SMALL = ModelName("small", "q4_K_M")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def add(store: Store, manifest: Manifest, content: bytes = b"abc") -> Path:
    with store.incoming(ModelName(manifest.name, manifest.tag)) as folder:
        file = folder / "model.gguf"
        file.write_bytes(content)
        return store.add(file, manifest)


def files(store: Store) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("demo", ModelName("demo")),
        ("Mistral-Small:24b-Q4_K_M", ModelName("mistral-small", "24b-Q4_K_M")),
        ("mistral-small3.1:24b", ModelName("mistral-small3.1", "24b")),
    ],
)
def test_names(text: str, name: ModelName) -> None:
    assert ModelName.parse(text) == name


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":a", "a:b:c", "../x", "a/b", "a b", ".x", "a\n", "x" * 200, "a:\x1b[31m"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="no model name"):
        ModelName.parse(text)


def test_a_model_is_found_without_regard_to_case(store: Store) -> None:
    path = add(store, MANIFEST)
    assert path.read_bytes() == b"abc"
    for text in ("small", "small:q4_K_M", "SMALL:q4_k_m"):
        assert store.get(ModelName.parse(text)) == MANIFEST
    assert store.path(MANIFEST) == path
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]


def test_without_a_tag_the_usual_one_or_the_only_one(store: Store) -> None:
    only = replace(MANIFEST, tag="q8_0", blob=OTHER_BLOB)
    add(store, only)
    assert store.find(ModelName("small")) == only
    add(store, replace(MANIFEST, tag="fp16", blob=THIRD_BLOB))
    assert store.find(ModelName("small")) is None
    add(store, MANIFEST)
    assert store.find(ModelName("small")) == MANIFEST


def test_an_unknown_name_suggests_the_nearest(store: Store) -> None:
    add(store, MANIFEST)
    with pytest.raises(DataError, match="did you mean 'small'"):
        store.get(ModelName("smal"))
    with pytest.raises(DataError, match="there is small:q4_K_M"):
        store.get(ModelName("small", "q9"))
    with pytest.raises(DataError, match="did you mean 'demo'"):
        store.get(ModelName("demmo"))


def test_a_name_made_again_drops_the_file_before(store: Store) -> None:
    add(store, MANIFEST)
    add(store, replace(MANIFEST, blob=OTHER_BLOB))
    assert files(store) == [f"blobs/{OTHER_BLOB}", "manifests/small/q4_k_m.json"]


def test_a_file_goes_with_its_last_name(store: Store) -> None:
    add(store, MANIFEST)
    store.copy(ModelName("small"), ModelName("twin", "best"))
    assert store.path(store.get(ModelName("twin"))).read_bytes() == b"abc"
    store.remove(ModelName("small"))
    assert files(store) == [f"blobs/{BLOB}", "manifests/twin/best.json"]
    store.remove(ModelName("twin"))
    assert files(store) == []
    with pytest.raises(DataError, match="no model 'twin'"):
        store.remove(ModelName("twin"))


def test_a_copy_over_another_name_drops_what_it_stood_for(store: Store) -> None:
    add(store, MANIFEST)
    add(store, replace(MANIFEST, name="other", blob=OTHER_BLOB))
    store.copy(ModelName("small"), ModelName("other"))
    assert files(store) == [f"blobs/{BLOB}", "manifests/other/q4_k_m.json", "manifests/small/q4_k_m.json"]


def test_what_is_written_aside_is_gone_after_an_error(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.incoming(SMALL) as folder:
        (folder / "model.gguf").write_bytes(b"half")
        raise KeyboardInterrupt
    assert files(store) == []


def test_what_killed_processes_left_is_swept_and_what_is_in_use_is_not(store: Store) -> None:
    add(store, MANIFEST)
    for path in ("incoming/dead@q8_0/.model.gguf.part", "incoming/dead@q8_0.lock", "incoming/12345/model.gguf", "lock"):
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(b"x")
    (store.root / "manifests/small/.q8_0.json.part").write_bytes(b"{")
    (store.root / ".NOTICE.part").write_bytes(b"Und")
    (store.root / "blobs" / NO_BLOB).write_bytes(b"named by nobody")
    with store.incoming(ModelName("other", "q8_0")) as other:
        (other / "model.gguf").write_bytes(b"half")
        with store.incoming(ModelName("another", "q8_0")):
            assert (other / "model.gguf").read_bytes() == b"half"
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]
    assert list((store.root / "incoming").iterdir()) == []


def test_nothing_is_swept_that_a_damaged_manifest_may_stand_for(store: Store) -> None:
    blob = add(store, MANIFEST)
    (store.root / "manifests/small/q4_k_m.json").write_text("{")
    with store.incoming(ModelName("other", "q8_0")):
        pass
    assert blob.exists()


def test_a_second_maker_of_a_name_waits_and_says_so_once(store: Store) -> None:
    notes, order = [], []

    def make_again() -> None:
        with store.incoming(ModelName("small", "Q4_K_m"), lambda: notes.append("waits")) as folder:
            order.append("second")
            assert list(folder.iterdir()) == []

    with store.incoming(SMALL) as folder:
        (folder / "half").write_bytes(b"x")
        second = threading.Thread(target=make_again)
        second.start()
        with store.incoming(ModelName("small", "q8_0"), lambda: pytest.fail("another tag waits for nobody")):
            pass
        second.join(0.5)
        order.append("first")
    second.join()
    assert (order, notes) == (["first", "second"], ["waits"])


def test_where_there_are_no_locks_nobody_waits_and_nothing_mixes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", unknown)
    (store.root / "incoming" / "other@q8_0").mkdir(parents=True)  # somebody's, for all we know
    with store.incoming(SMALL) as first, store.incoming(SMALL) as second:
        assert first != second
        (second / "model.gguf").write_bytes(b"abc")
        store.add(second / "model.gguf", MANIFEST)
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]
    assert [path.name for path in (store.root / "incoming").iterdir()] == ["other@q8_0"]


def test_a_damaged_manifest_is_as_if_it_were_not_there_but_can_be_asked_for(store: Store) -> None:
    add(store, MANIFEST)
    path = store.root / "manifests" / "small" / "odd.json"
    wrong, elsewhere = json.dumps(asdict(MANIFEST) | {"tag": 5}), json.dumps(asdict(MANIFEST))
    for text in ("", "{", "[]", '{"name": 1}', "null", wrong, "[" * 100_000, "1" * 100_000, "\0", elsewhere):
        path.write_text(text)
        assert store.models() == [MANIFEST]
        assert list(store.damaged()) == [path]
    assert store.damaged() == {path: "it says that it is small:q4_K_M"}
    path.write_bytes(b"\xff")
    assert store.damaged() == {path: "it is no manifest"}
    path.unlink()
    path.mkdir()
    assert store.damaged() == {path: "Is a directory"}


def test_a_missing_file_is_named(store: Store) -> None:
    add(store, MANIFEST).unlink()
    with pytest.raises(DataError, match="its file is missing"):
        store.path(MANIFEST)


def test_a_manifest_cannot_point_outside(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(DataError):
        store.path(replace(MANIFEST, blob="../../secret"))


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written: File exists"), Store(tmp_path / "file").incoming(SMALL):
        pass


def test_nothing_is_made_by_looking(store: Store) -> None:
    assert store.models() == []
    assert store.find(ModelName("demo")) is None
    assert not store.root.exists()


def test_home_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINICHAT_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"
    monkeypatch.delenv("MINICHAT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home().name == "minichat"


def test_partial_work_stays_until_it_is_done(store: Store) -> None:
    for error in (KeyboardInterrupt, DataError):
        with pytest.raises(error), store.partial(ModelName("Big".lower(), "24b-q4_K_M")) as folder:
            (folder / "weights").mkdir(exist_ok=True)
            (folder / "weights" / "a.part").write_bytes(b"half")
            raise error
    assert folder == store.root / "partial" / "big@24b-q4_k_m"
    with store.incoming(SMALL):  # which sweeps
        pass
    (waiting,) = store.partials()
    assert (waiting.name, waiting.path, waiting.size_bytes) == ("big:24b-q4_k_m", folder, 4)
    with store.partial(ModelName("big", "24B-Q4_K_M")) as again:
        assert (again / "weights" / "a.part").read_bytes() == b"half"
        store.add(again / "weights" / "a.part", replace(MANIFEST, size_bytes=4))
        store.discard(again)
    assert not folder.exists() and store.partials() == []
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]


def test_a_full_disk_takes_partial_work_with_it(store: Store) -> None:
    with pytest.raises(DiskFullError), store.partial(SMALL) as folder:
        (folder / "a.part").write_bytes(b"half")
        raise DiskFullError("the disk is full")
    assert files(store) == [] and store.partials() == []


def test_partial_work_outlives_what_is_no_want_of_room(store: Store) -> None:
    """A file in the way, a disk that went read-only: the bytes that have come are still good."""
    with pytest.raises(StorageError), store.partial(SMALL) as folder:
        (folder / "a.part").write_bytes(b"half")
        raise StorageError("a.json cannot be written: Permission denied")
    assert [partial.size_bytes for partial in store.partials()] == [4]


@pytest.mark.parametrize("kind", ["incoming", "partial"])
def test_a_name_that_leads_out_of_the_store_is_refused_before_any_work(store: Store, tmp_path: Path, kind: str) -> None:
    (store.root / "manifests").mkdir(parents=True)
    (store.root / "manifests" / "small").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is a symbolic link"), getattr(store, kind)(SMALL):
        pytest.fail("work was begun")
    assert store.partials() == []


# The notices of licences.


def notices(store: Store) -> str:
    return (store.root / "NOTICE").read_text()


def test_notices_follow_the_names(store: Store) -> None:
    """ROOT/NOTICE tells of each licence's models, after every change; others are not in it."""
    bound = replace(MANIFEST, notice="Under the\x1b[31m Terms")
    add(store, replace(MANIFEST, name="free", blob=OTHER_BLOB))
    assert "NOTICE" not in files(store)
    add(store, bound)
    add(store, replace(bound, name="third", blob=THIRD_BLOB, notice="A Licence"))
    store.copy(SMALL, ModelName("twin", "best"))
    assert notices(store) == (
        f"A Licence\n\n    third:q4_K_M  blobs/{THIRD_BLOB}\n\n"
        f"Under the␛[31m Terms\n\n    small:q4_K_M  blobs/{BLOB}\n    twin:best  blobs/{BLOB}\n"
    )
    before = (store.root / "NOTICE").stat()
    store.remove(ModelName("free"))
    assert (store.root / "NOTICE").stat().st_ino == before.st_ino  # nothing in it has changed
    store.remove(SMALL)
    store.remove(ModelName("third"))
    assert notices(store) == f"Under the␛[31m Terms\n\n    twin:best  blobs/{BLOB}\n"
    store.remove(ModelName("twin"))
    assert "NOTICE" not in files(store)


def test_a_notice_that_finds_no_place_undoes_nothing(store: Store) -> None:
    bound = replace(MANIFEST, notice="Terms")
    (store.root / "NOTICE").mkdir(parents=True)
    assert add(store, bound).read_bytes() == b"abc"
    store.copy(SMALL, ModelName("twin", "best"))
    assert [m.full_name for m in store.models()] == ["small:q4_K_M", "twin:best"]
    assert store.remove(ModelName("twin")).name == "twin:best"
    (store.root / "NOTICE").rmdir()
    store.mend_notices()
    assert "small:q4_K_M" in notices(store)


def test_notices_are_written_while_nobody_else_changes_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever looked at the models first might write last."""
    told: list[list[str]] = []

    def checked(_: Notices) -> None:
        with pytest.raises(lock.LockedError), lock.claimed(store.root / "lock"):
            pass
        told.append([m.full_name for m in store.models()])

    monkeypatch.setattr(Notices, "write", checked)
    add(store, MANIFEST)
    store.copy(SMALL, ModelName("twin", "best"))
    store.remove(SMALL)
    store.mend_notices()
    assert told == [["small:q4_K_M"], ["small:q4_K_M", "twin:best"], ["twin:best"], ["twin:best"]]


def test_partial_work_has_one_owner(store: Store) -> None:
    notes = []

    def take_up() -> None:
        with store.partial(SMALL, lambda: notes.append("waits")) as folder:
            notes.append((folder / "a.part").read_text())
            store.discard(folder)

    with store.partial(SMALL) as folder:
        second = threading.Thread(target=take_up)
        second.start()
        second.join(0.5)
        (folder / "a.part").write_text("all of the first's")
    second.join()
    assert notes == ["waits", "all of the first's"]
    assert store.partials() == []


def test_partial_work_is_never_somewhere_else(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (store.root / "partial").mkdir(parents=True)
    (store.root / "partial" / "small@q4_k_m").symlink_to(outside)
    assert store.partials() == []
    with store.partial(SMALL) as folder:
        assert not folder.is_symlink() and list(folder.iterdir()) == []
    assert (outside / "precious").exists()


@pytest.mark.parametrize("when", ["before its name", "after its name"])
def test_finished_work_survives_a_kill_while_it_is_added(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Nothing is fetched twice because its file was on the way into the store; nothing there is written to."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed), store.partial(SMALL) as folder:
        (folder / "model.gguf").write_bytes(b"abc")
        patch.setattr(Store, "_drop_blob", lambda *_: 0)  # whoever is killed cleans nothing
        patch.setattr(*((Store, "_name", die) if when == "before its name" else ("minichat.store.unlink", die)))
        store.add(folder / "model.gguf", MANIFEST)
    assert (store.models() == []) == (when == "before its name")
    with store.partial(SMALL) as folder:
        if when == "before its name":
            assert files(store) == ["partial/small@q4_k_m.lock", "partial/small@q4_k_m/model.gguf"]
            assert (folder / "model.gguf").stat().st_mode & stat.S_IWUSR
            store.add(folder / "model.gguf", MANIFEST)
        assert list(folder.iterdir()) == []
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]
    assert stat.S_IMODE(store.path(MANIFEST).stat().st_mode) == 0o444
    assert store.path(MANIFEST).stat().st_nlink == 1


def test_a_disk_where_a_file_has_one_name_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    for content in (b"abc", b"abc"):
        assert add(store, MANIFEST, content).read_bytes() == b"abc"
    assert files(store) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]


def test_when_a_model_was_used(store: Store) -> None:
    add(store, MANIFEST)
    assert store.used(MANIFEST) is None
    before = time.time()
    store.touch_used(MANIFEST)
    used = store.used(MANIFEST)
    assert used is not None and before - 1 <= used.timestamp() <= time.time() + 1
    store.copy(SMALL, ModelName("twin"))
    assert store.used(store.get(ModelName("twin"))) is None
    store.remove(SMALL)
    assert files(store) == [f"blobs/{BLOB}", "manifests/twin/q4_k_m.json"]


def test_the_time_of_use_is_no_way_out_of_the_store(store: Store, tmp_path: Path) -> None:
    add(store, MANIFEST)
    outside = tmp_path / "outside"
    (store.root / "used").mkdir()
    record = store.root / "used" / "small@q4_k_m"
    record.symlink_to(outside)
    store.touch_used(MANIFEST)
    assert not outside.exists()
    record.unlink()
    record.mkdir()
    store.touch_used(MANIFEST)  # in vain, and no failure
    (store.root / "used" / "gone@q8_0").write_bytes(b"")
    add(store, replace(MANIFEST, name="other"))
    assert not (store.root / "used" / "gone@q8_0").exists()


def test_what_removing_freed(store: Store) -> None:
    add(store, MANIFEST)
    store.copy(SMALL, ModelName("twin", "best"))
    assert store.remove(SMALL) == Removed("small:q4_K_M", 0, ("twin:best",))
    assert store.remove(ModelName("twin")) == Removed("twin:best", 3)


def test_files_in_the_store_are_read_only(store: Store) -> None:
    assert stat.S_IMODE(add(store, MANIFEST).stat().st_mode) == 0o444
