"""Files of the store: read-only, synced before they get their name, and no way out of it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import BLOB, MANIFEST, OTHER_BLOB, SMALL, add, files

from convert import lock
from minichat.manifest import ModelName
from minichat.store import Removed, Store
from quant.errors import DataError, StorageError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"abc")
    path.chmod(0o600)
    return path


def use_in_place(store: Store, file: Path, name: str = "small") -> None:
    with store.incoming(ModelName(name)) as folder:
        (folder / "link").symlink_to(file)
        store.add(folder / "link", replace(MANIFEST, name=name))


def test_a_blob_that_somebody_has_made_a_link_is_refused(store: Store, outside: Path) -> None:
    blob = add(store, MANIFEST)
    blob.unlink()
    blob.symlink_to(outside)
    with pytest.raises(DataError, match="is a link that the store has not made"):
        store.path(MANIFEST)
    assert store.linked(MANIFEST) is None
    assert store.remove(SMALL) == Removed("small:q4_K_M", 0)
    assert outside.read_bytes() == b"abc" and files(store) == []


def test_a_link_that_leads_elsewhere_than_its_manifest_says_is_refused(store: Store, outside: Path) -> None:
    use_in_place(store, outside)
    (manifest,) = store.models()
    assert store.path(manifest).read_bytes() == b"abc"
    blob = store.blob(manifest)
    other = outside.with_name("other")
    other.write_bytes(b"xyz")
    for target in (other, Path("../../outside"), blob, Path("/dev/zero"), outside.parent):
        blob.unlink()
        blob.symlink_to(target)
        with pytest.raises(DataError, match="is a link that the store has not made"):
            store.path(manifest)
    use_in_place(store, outside)  # which mends it
    assert store.path(manifest).samefile(outside)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, Path.absolute], ids=["folder", "pipe", "nothing"])
def test_a_blob_that_is_no_file(store: Store, make: Callable[[Path], None]) -> None:
    blob = add(store, MANIFEST)
    blob.unlink()
    make(blob)
    assert not store.has_file(MANIFEST)
    with pytest.raises(DataError, match=r"is no file|is missing"):
        store.path(MANIFEST)
    store.remove(SMALL)


def test_what_a_used_file_has_become(store: Store, outside: Path) -> None:
    use_in_place(store, outside)
    (manifest,) = store.models()
    outside.unlink()
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)):
        make(outside)  # type: ignore[operator]
        assert store.problem(manifest) is not None
        outside.rmdir() if outside.is_dir() else outside.unlink()


def test_nothing_of_another_program_is_changed(store: Store, outside: Path) -> None:
    before = outside.stat()
    use_in_place(store, outside)
    store.copy(SMALL, ModelName("twin"))
    use_in_place(store, outside, "third")
    for name in ("small", "twin", "third"):
        assert store.remove(ModelName(name)).freed_bytes == 0
    after = outside.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)
    assert files(store) == []


def test_a_read_only_file_is_replaced(store: Store) -> None:
    for content in (b"abc", b"abc", b"xyz"):
        assert add(store, MANIFEST, content).read_bytes() == content
    assert stat.S_IMODE(store.path(MANIFEST).stat().st_mode) == 0o444


def link_to(target: Path) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def test_manifests_that_are_no_files(store: Store, tmp_path: Path) -> None:
    add(store, MANIFEST)
    path = store.manifest_path(SMALL)
    elsewhere = tmp_path / "manifest.json"
    path.rename(elsewhere)
    for make, says in (
        (link_to(elsewhere), "it is a symbolic link"),
        (link_to(path), "it is a symbolic link"),
        (link_to(Path("/dev/zero")), "it is a symbolic link"),
        (os.mkfifo, "it is no plain file"),
        (Path.mkdir, "Is a directory"),
    ):
        path.parent.mkdir(exist_ok=True)
        make(path)
        assert (store.models(), store.damaged()) == ([], {path: says})
        if not path.is_dir() or path.is_symlink():
            assert store.remove(SMALL) == Removed("small:q4_K_M", 0)
    assert elsewhere.exists()


def test_a_folder_of_manifests_that_is_a_link(store: Store, tmp_path: Path) -> None:
    """Neither read nor written through, nor emptied."""
    other = Store(tmp_path / "other")
    add(other, MANIFEST)
    link = store.root / "manifests" / "small"
    link.parent.mkdir(parents=True)
    link.symlink_to(other.root / "manifests" / "small")
    assert (store.models(), store.damaged()) == ([], {link: "it is a symbolic link"})
    with pytest.raises(DataError):
        store.remove(SMALL)
    with pytest.raises(StorageError, match="is a symbolic link"):
        add(store, replace(MANIFEST, size_bytes=5), b"other")
    assert other.models() == [MANIFEST]
    assert files(other) == [f"blobs/{BLOB}", "manifests/small/q4_k_m.json"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells paths by Linux's /proc")
def test_every_name_is_given_after_a_sync(store: Store, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file's own sync comes before the rename that publishes it, and the folder's after."""
    calls: list[tuple[str, Path]] = []
    fsync, replace_file = os.fsync, os.replace

    def record_sync(handle: int) -> None:
        calls.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def record_rename(source: Path, destination: Path, **_: object) -> None:
        calls.extend([("from", Path(source)), ("to", Path(destination))])
        replace_file(source, destination)

    for name, function in (("fsync", record_sync), ("replace", record_rename), ("rename", record_rename)):
        monkeypatch.setattr(os, name, function)
    add(store, MANIFEST)
    store.copy(SMALL, ModelName("twin"))
    use_in_place(store, outside, "linked")
    add(store, replace(MANIFEST, blob=OTHER_BLOB))
    renames = [place for place, (kind, _) in enumerate(calls) if kind == "from"]
    published = [calls[place + 1][1].relative_to(store.root).as_posix() for place in renames]
    manifests = [f"manifests/{name}/q4_k_m.json" for name in ("small", "twin", "linked", "small")]
    assert [path for path in published if path.startswith("manifests")] == manifests
    assert [path for path in published if path.startswith("blobs")] == [f"blobs/{BLOB}", f"blobs/{OTHER_BLOB}"]
    for place in renames:
        source, destination = calls[place][1], calls[place + 1][1]
        assert ("sync", source) in calls[:place], source
        assert calls[place + 2] == ("sync", destination.parent)
    made = [store.root, store.root / "manifests", store.root / "blobs", store.root / "manifests" / "twin"]
    assert all(("sync", folder.parent) in calls for folder in made)  # a new folder's name lasts as well


def check_read_only(store: Store) -> None:
    """What needs no writing works; what does is refused in one line."""
    manifest = store.get(ModelName("small"))
    assert store.path(manifest).read_bytes() == b"abc"
    assert [m.name for m in store.models()] == ["small"] and store.damaged() == {}
    store.touch_used(manifest)
    assert store.used(manifest) is None
    assert store.partials() == []
    for change in (
        lambda: store.remove(SMALL),
        lambda: store.copy(SMALL, ModelName("twin")),
        lambda: store.incoming(SMALL).__enter__(),
        lambda: store.partial(SMALL).__enter__(),
        lambda: store.add(store.blob(manifest), manifest),
    ):
        with pytest.raises(StorageError, match="Read-only file system") as caught:
            change()
        assert "\n" not in str(caught.value)
    assert store.path(manifest).read_bytes() == b"abc"


def test_a_store_on_a_disk_that_says_it_is_read_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, MANIFEST)
    plain = os.open

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def open_to_read(path: Path, flags: int, *more: int, **options: int) -> int:
        return refuse() if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else plain(path, flags, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_to_read)
        for name in ("mkdir", "unlink", "rename", "replace", "rmdir", "chmod", "utime", "symlink"):
            patch.setattr(os, name, refuse)
        assert lock.os.open is open_to_read
        check_read_only(store)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A small disk that can be made read-only, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_store_on_a_read_only_disk(mount: Path) -> None:
    store = Store(mount / "models")
    add(store, MANIFEST)
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    check_read_only(store)
