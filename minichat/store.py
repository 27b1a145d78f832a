"""Model files on disk: names, manifests, blobs.

    ROOT/manifests/mistral-small/24b-q4_k_m.json    what a name stands for
    ROOT/blobs/sha256-4f1c…                         the GGUF files, each once, named by their content, read-only
    ROOT/incoming/mistral-small@24b-q4_k_m/…        what somebody is writing under that name, and beside it the lock
    ROOT/partial/mistral-small@24b-q4_k_m/…         the same, of work that goes on after a kill or an error
    ROOT/used/mistral-small@24b-q4_k_m              empty; its time is when the model was last used
    ROOT/lock                                       there for the moment in which names change

A name is `name[:tag]`, without regard to case. Names with the same content share a blob. Every file is written aside,
synced and renamed into place, so that a kill in the middle loses nothing; what a killed process left behind is removed
by the next one that writes, but for partial work, which waits for who takes it up (or for `minichat.housekeeping`).
One process at a time makes a model of one name, and one changes names; the locks die with their owners.

A blob may be a symbolic link to another program's file that is used in place; then its manifest says so. No other link
is followed: neither a manifest nor a blob that somebody has put there leads out of the store. A store that cannot be
written can be used. Standard library only, but for where the user's data folder is.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from convert.lock import Claim
from convert.publish import published, sync_folder
from minichat.folders import (
    disk_bytes,
    in_turn,
    keys,
    listed,
    make_folder,
    newest_change_s,
    read_plain,
    remove_tree,
    remove_unheld,
    unlink,
)
from minichat.manifest import DEFAULT_TAG, Manifest, ManifestError, ModelName
from quant.errors import DataError, StorageError

_MAX_MANIFEST_BYTES = 1 << 20
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True)
class Removed:
    """What `remove` did. shared_with: names that still stand for the file; linked: where another program keeps it."""

    name: str
    freed_bytes: int
    shared_with: tuple[str, ...] = ()
    linked: str | None = None


@dataclass(frozen=True)
class Partial:
    """Work that was begun and not ended. key: NAME@TAG; changed_s: when something in it last changed, since 1970."""

    key: str
    path: Path
    size_bytes: int
    changed_s: float

    @property
    def name(self) -> str:
        return self.key.replace("@", ":")


class Store:
    """The models under one folder. Nothing is created before something is added."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls) -> Store:
        """The user's own: under MINICHAT_HOME, else in the platform's folder for application data."""
        return cls(home() / "models")

    def models(self) -> list[Manifest]:
        """All manifests by name and tag; a damaged one is left out."""
        return [found for _, found in self._entries() if isinstance(found, Manifest)]

    def damaged(self) -> dict[Path, str]:
        """The manifests that cannot be used, each with what is wrong with it."""
        return {path: found for path, found in self._entries() if isinstance(found, str)}

    def find(self, wanted: ModelName) -> Manifest | None:
        """The manifest of a name. Without a tag: q4_K_M, else the only tag that there is."""
        same = [m for m in self.models() if m.name == wanted.name]
        tag = (wanted.tag or DEFAULT_TAG).lower()
        exact = next((m for m in same if m.tag.lower() == tag), None)
        if exact is None and wanted.tag is None and len(same) == 1:
            return same[0]
        return exact

    def get(self, wanted: ModelName) -> Manifest:
        """As `find`, but raises DataError with the nearest names where there is none."""
        found = self.find(wanted)
        if found is None:
            raise DataError(f"no model {str(wanted)!r} here{self._suggestion(wanted)}; `minichat list` shows them all")
        return found

    def path(self, manifest: Manifest) -> Path:
        """The GGUF file. Raises DataError if it is gone, or is a link that the manifest does not tell of."""
        if (problem := self.problem(manifest)) is not None:
            raise DataError(f"{manifest.full_name}: {problem}; convert, pull or import it again")
        return self._blob(manifest.blob)

    def has_file(self, manifest: Manifest) -> bool:
        return self.problem(manifest) is None

    def problem(self, manifest: Manifest) -> str | None:
        """What is wrong with the file of a model at first sight, without reading it; None if nothing is."""
        blob = self._blob(manifest.blob)
        try:
            if not blob.is_symlink():
                return None if stat.S_ISREG(blob.lstat().st_mode) else f"{blob} is no file"
            if (linked := str(blob.readlink())) != manifest.linked:
                return f"its file is a link that the store has not made: {blob}"
            found = blob.stat()
        except FileNotFoundError:
            if manifest.linked is not None and blob.is_symlink():
                return f"it is used in place, and {manifest.linked} is gone"
            return f"its file is missing from {blob.parent}"
        except (OSError, RuntimeError) as error:
            return f"{blob} cannot be used: {getattr(error, 'strerror', None) or error}"
        if not stat.S_ISREG(found.st_mode) or found.st_size != manifest.size_bytes:
            return f"it is used in place, and {linked} is another file now"
        return None

    def linked(self, manifest: Manifest) -> str | None:
        """Where another program keeps the file that is used in place; None for a file of the store's own."""
        return manifest.linked if self._blob(manifest.blob).is_symlink() else None

    @contextlib.contextmanager
    def incoming(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder to write the file of `name` in, on the same disk; gone afterwards. Raises StorageError.

        Whoever else makes that model is waited for, as long as it takes; `on_wait` is called once, before.
        """
        with self._working("incoming", name, on_wait) as claim:
            folder = claim.path.with_suffix("")
            try:
                with self._translated():
                    remove_tree(folder)
                    folder.mkdir()
                yield folder
            finally:
                remove_tree(folder)

    @contextlib.contextmanager
    def partial(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder for work on `name` that goes on where an earlier process was killed or met an error.

        It is there, with all that was in it, until a block ends that has emptied it (`discard`), or one that the disk
        was too full for: StorageError takes everything with it. Others who work on that name are waited for, as with
        `incoming`. Where the file system knows no locks, the folder is a new one each time, and gone afterwards.
        """
        with self._working("partial", name, on_wait) as claim:
            folder = claim.path.with_suffix("")
            with self._translated():
                if folder.is_symlink() or not folder.is_dir():
                    remove_tree(folder)
                    make_folder(folder)
            try:
                yield folder
            except StorageError:
                self.discard(folder)
                raise
            finally:
                if not claim.is_exclusive:
                    self.discard(folder)
                with contextlib.suppress(OSError):
                    folder.rmdir()

    @staticmethod
    def discard(folder: Path) -> None:
        """Empties a folder that `partial` or `incoming` gave: what it holds is in the store, or is wanted no more."""
        for path in listed(folder):
            remove_tree(path)

    def partials(self) -> list[Partial]:
        """The work that waits for somebody to take it up, or is under way, by name."""
        folders = [path for path in listed(self.root / "partial") if path.is_dir() and not path.is_symlink()]
        return [Partial(path.name, path, disk_bytes(path), newest_change_s(path)) for path in folders]

    def add(self, file: Path, manifest: Manifest) -> Path:
        """Moves `file` into the store under `manifest.blob`, synced and read-only, and names it. Returns its path.

        A symbolic link is moved as a link: the file that it leads to is used in place, unless the store has its own
        with this content. `manifest.linked` is set to what is true.
        """
        blob = self._blob(manifest.blob)
        with self._changing():
            make_folder(blob.parent)
            manifest = self._settle(file, blob, manifest)
            try:
                for other in self.models():
                    if other.blob == manifest.blob and other.linked != manifest.linked:
                        self._write(replace(other, linked=manifest.linked))
                self._name(manifest)
            except BaseException:
                self._drop_blob(manifest.blob)
                raise
        return blob

    def copy(self, source: ModelName, destination: ModelName) -> Manifest:
        """Gives a model a second name; its file is not copied. Without a tag, the new name keeps the old tag."""
        self.get(source)
        with self._changing():
            found = self.get(source)
            named = replace(found, name=destination.name, tag=destination.tag or found.tag)
            self._name(named)
        return named

    def remove(self, wanted: ModelName) -> Removed:
        """Forgets a name, a damaged manifest too, and deletes its file if no other name stands for it.

        Raises DataError if there is no such model.
        """
        damaged = self.manifest_path(wanted)
        if damaged not in self.damaged():
            self.get(wanted)
        with self._changing():
            if damaged in self.damaged():
                self._forget(damaged)
                return Removed(str(wanted), 0)
            found = self.get(wanted)
            linked = self.linked(found)
            self._forget(self.manifest_path(ModelName(found.name, found.tag)))
            shared_with = tuple(m.full_name for m in self.models() if m.blob == found.blob)
            return Removed(found.full_name, self._drop_blob(found.blob), shared_with, linked)

    def touch_used(self, manifest: Manifest) -> None:
        """Writes down that a model is being used now, if that can be written."""
        path = self._used(manifest)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            handle = os.open(path, flags, 0o666)
            os.close(handle)
            os.utime(path)

    def used(self, manifest: Manifest) -> datetime | None:
        """When a model was last used; None if that is not known."""
        try:
            return datetime.fromtimestamp(self._used(manifest).lstat().st_mtime, timezone.utc)
        except (OSError, ValueError, OverflowError):
            return None

    def manifest_path(self, name: ModelName) -> Path:
        """Where the manifest of a name is, or would be."""
        return self.root / "manifests" / name.name / f"{(name.tag or DEFAULT_TAG).lower()}.json"

    @contextlib.contextmanager
    def _working(self, kind: str, name: ModelName, on_wait: Callable[[], None] | None) -> Iterator[Claim]:
        """The claim on the working folder of a name, after what killed processes left has been swept."""
        parent = self.root / kind
        with contextlib.ExitStack() as held:
            with self._translated():
                make_folder(parent)
                claim = held.enter_context(in_turn(parent / f"{_key(name.name, name.tag)}.lock", on_wait))
                with self._changing() as change:
                    if change.is_exclusive:
                        with contextlib.suppress(OSError):  # another time
                            self._sweep()
            yield claim

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Claim]:
        """Inside, no other process changes names or removes files. Raises StorageError for the block's OSErrors."""
        with self._translated():
            make_folder(self.root)
            with in_turn(self.root / "lock") as claim:
                yield claim

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot write to {self.root}: {error.strerror or error}") from error

    def _entries(self) -> Iterator[tuple[Path, Manifest | str]]:
        """Every manifest's path with what it holds, or with what is wrong with it, by name and tag."""
        for folder in listed(self.root / "manifests"):
            if folder.is_symlink():
                yield folder, "it is a symbolic link"
                continue
            for path in listed(folder):
                if path.suffix == ".json":
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        yield path, self._read(path)

    def _read(self, path: Path) -> Manifest | str:
        try:
            if path.is_symlink():
                return "it is a symbolic link"
            manifest = Manifest.from_json(read_plain(path, _MAX_MANIFEST_BYTES).decode())
        except FileNotFoundError:
            raise
        except OSError as error:
            return error.strerror or str(error)
        except ManifestError as error:
            return f"it is no manifest: {error}"
        except (ValueError, RecursionError):
            return "it is no manifest"
        if self.manifest_path(ModelName(manifest.name, manifest.tag)) != path:
            return f"it says that it is {manifest.full_name}"
        return manifest

    def _settle(self, file: Path, blob: Path, manifest: Manifest) -> Manifest:
        """Puts a file or link in its place among the blobs. The manifest, with what it now says of the link."""
        if not file.is_symlink():
            _seal(file)
            manifest = replace(manifest, linked=None)
        elif self._is_whole(blob, manifest.size_bytes):
            unlink(file)
            return replace(manifest, linked=str(blob.readlink()) if blob.is_symlink() else None)
        else:
            manifest = replace(manifest, linked=str(file.readlink()))
        if sys.platform == "win32" and blob.exists():
            blob.chmod(stat.S_IWRITE)  # or it could not be replaced there
        file.replace(blob)
        sync_folder(blob.parent)
        return manifest

    def _is_whole(self, blob: Path, size_bytes: int) -> bool:
        """Whether a blob, or the file that a link leads to which some manifest tells of, is as long as it should be."""
        try:
            if not blob.is_file() or blob.stat().st_size != size_bytes:
                return False
            return not blob.is_symlink() or str(blob.readlink()) in {m.linked for m in self.models()}
        except (OSError, RuntimeError):
            return False

    def _name(self, manifest: Manifest) -> None:
        """Lets a name stand for a file that is there, and drops what it stood for before."""
        before = self.find(ModelName(manifest.name, manifest.tag))
        self._write(manifest)
        if before is not None:
            self._drop_blob(before.blob)

    def _write(self, manifest: Manifest) -> None:
        path = self.manifest_path(ModelName(manifest.name, manifest.tag))
        make_folder(path.parent)
        with published(path) as out:
            out.write(json.dumps(asdict(manifest), indent=1).encode())

    def _forget(self, path: Path) -> None:
        """Removes a manifest, its folder if that is empty now, and when its model was used."""
        path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        with contextlib.suppress(OSError):
            unlink(self.root / "used" / _key(path.parent.name, path.stem))

    def _drop_blob(self, blob: str) -> int:
        """Deletes a file unless a name stands for it, or a manifest that cannot be read might. The bytes freed."""
        path = self._blob(blob)
        if path not in self.unnamed_blobs():
            return 0
        size_bytes = disk_bytes(path)
        try:
            unlink(path)
        except OSError:
            return 0
        return size_bytes

    def unnamed_blobs(self) -> list[Path]:
        """The files that no name stands for; none, while there is a manifest that cannot be read."""
        named = set()
        for _, found in self._entries():
            if not isinstance(found, Manifest):
                return []
            named.add(self._blob(found.blob))
        return [blob for blob in listed(self.root / "blobs") if blob.name.startswith("sha256-") and blob not in named]

    def _blob(self, name: str) -> Path:
        return self.root / "blobs" / Path(name).name

    def _used(self, manifest: Manifest) -> Path:
        return self.root / "used" / _key(manifest.name, manifest.tag)

    def _sweep(self) -> None:
        """Removes what killed processes have left: half-written files, and files that have no name any more.

        OSError for what cannot be removed.
        """
        incoming = self.root / "incoming"
        for key in keys(incoming):
            remove_unheld(incoming, key)
        for part in self.half_written():
            part.unlink()
        for blob in self.unnamed_blobs():
            unlink(blob)
        known = {_key(path.parent.name, path.stem) for path, _ in self._entries()}
        for record in listed(self.root / "used"):
            if record.name not in known:
                unlink(record)

    def half_written(self) -> list[Path]:
        """The manifests that were being written; by nobody any more, for who holds the lock of the names."""
        folders = [folder for folder in listed(self.root / "manifests") if not folder.is_symlink()]
        return [part for folder in folders for part in listed(folder) if part.suffix == ".part"]

    def _suggestion(self, wanted: ModelName) -> str:
        known = [m.full_name for m in self.models()]
        if tags := [name for name in known if name.startswith(f"{wanted.name}:")]:
            return f" (there is {', '.join(tags)})"
        names = {name.partition(":")[0] for name in known} | {"demo"}
        near = difflib.get_close_matches(wanted.name, names - {wanted.name}, n=1)
        return f" (did you mean {near[0]!r}?)" if near else ""


def home() -> Path:
    """The folder of everything that minichat keeps for this user: MINICHAT_HOME, else the platform's own."""
    if chosen := os.environ.get("MINICHAT_HOME"):
        return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111  (unlike Path's, it never fails)
    import platformdirs

    return platformdirs.user_data_path("minichat", appauthor=False)


def _key(name: str, tag: str | None) -> str:
    """What the working folder of a name is called.

    >>> _key("mistral-small", "24b-q4_K_M")
    'mistral-small@24b-q4_k_m'
    """
    return f"{name}@{(tag or DEFAULT_TAG).lower()}"


def _seal(file: Path) -> None:
    """Makes a whole file read-only, unless another program's name leads to it too, and syncs it. OSError passes."""
    handle = os.open(file, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | getattr(os, "O_NOFOLLOW", 0))
    try:
        if os.fstat(handle).st_nlink == 1:
            file.chmod(_READ_ONLY)
        os.fsync(handle)
    finally:
        os.close(handle)
