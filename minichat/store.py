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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from convert.lock import Claim
from convert.publish import published
from minichat.blobs import Blobs
from minichat.folders import listed, make_folder, read_plain, unlink
from minichat.manifest import DEFAULT_TAG, Manifest, ManifestError, ModelName
from minichat.working import Partial, empty, fresh_folder, in_turn, kept_folder, partials, remove_unheld
from quant.errors import DataError, StorageError

_MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Removed:
    """What `remove` did. shared_with: names that still stand for the file; linked: where another program keeps it."""

    name: str
    freed_bytes: int
    shared_with: tuple[str, ...] = ()
    linked: str | None = None


class Store:
    """The models under one folder. Nothing is created before something is added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = Blobs(root / "blobs")

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
        return self._blobs.path(manifest.blob)

    def has_file(self, manifest: Manifest) -> bool:
        return self.problem(manifest) is None

    def problem(self, manifest: Manifest) -> str | None:
        """What is wrong with the file of a model at first sight, without reading it; None if nothing is."""
        return self._blobs.problem(manifest)

    def blob(self, manifest: Manifest) -> Path:
        """Where the file of a model is, or should be; nothing is looked at."""
        return self._blobs.path(manifest.blob)

    def linked(self, manifest: Manifest) -> str | None:
        """Where another program keeps the file that is used in place; None for a file of the store's own."""
        return manifest.linked if self.blob(manifest).is_symlink() else None

    @contextlib.contextmanager
    def incoming(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder to write the file of `name` in, on the same disk; gone afterwards. Raises StorageError.

        Whoever else makes that model is waited for, as long as it takes; `on_wait` is called once, before.
        """
        with self._entered(fresh_folder(self.root / "incoming", _key(name), on_wait, self._sweep_in_turn)) as folder:
            yield folder

    @contextlib.contextmanager
    def partial(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder for work on `name` that goes on where an earlier process was killed or met an error.

        It is there, with all that was in it, until a block ends that has emptied it (`discard`), or one that the disk
        was too full for: StorageError takes everything with it. Others who work on that name are waited for, as with
        `incoming`. Where the file system knows no locks, the folder is a new one each time, and gone afterwards.
        """
        with self._entered(kept_folder(self.root / "partial", _key(name), on_wait, self._sweep_in_turn)) as folder:
            self._take_up(folder)
            yield folder

    @staticmethod
    def discard(folder: Path) -> None:
        """Empties a folder that `partial` or `incoming` gave: what it holds is in the store, or is wanted no more."""
        empty(folder)

    def partials(self) -> list[Partial]:
        """The work that waits for somebody to take it up, or is under way, by name."""
        return partials(self.root / "partial")

    def add(self, file: Path, manifest: Manifest) -> Path:
        """Moves `file` into the store under `manifest.blob`, synced and read-only, and names it. Returns its path.

        A symbolic link is moved as a link: the file that it leads to is used in place, unless the store has its own
        with this content. `manifest.linked` is set to what is true. Raises StorageError.
        """
        with self.changing():
            same = [m for m in self.models() if m.blob == manifest.blob]
            manifest = self._blobs.settle(file, manifest, {m.linked for m in same})
            try:
                for other in same:
                    if other.linked != manifest.linked:
                        self._write(replace(other, linked=manifest.linked))
                self._name(manifest)
            except BaseException:
                self._drop_blob(manifest.blob)
                raise
            with contextlib.suppress(OSError):  # it is gone already where a file can have no two names
                unlink(file)
        return self._blobs.path(manifest.blob)

    def copy(self, source: ModelName, destination: ModelName) -> Manifest:
        """Gives a model a second name; its file is not copied. Without a tag, the new name keeps the old tag."""
        self.get(source)
        with self.changing():
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
        with self.changing():
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
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            os.close(os.open(path, flags, 0o666))
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
    def changing(self) -> Iterator[Claim]:
        """Inside, no other process changes names or removes files. Raises StorageError for the block's OSErrors."""
        with self._translated():
            make_folder(self.root)
            with in_turn(self.root / "lock") as claim:
                yield claim

    def unnamed(self) -> list[Path]:
        """The files that no name stands for; none, while there is a manifest that cannot be read."""
        entries = [found for _, found in self._entries()]
        named = [found.blob for found in entries if isinstance(found, Manifest)]
        return self._blobs.others(named) if len(named) == len(entries) else []

    def half_written(self) -> list[Path]:
        """Manifests and names of blobs that were being written; by nobody any more, for who is inside `changing`."""
        folders = [folder for folder in listed(self.root / "manifests") if not folder.is_symlink()]
        parts = [part for folder in folders for part in listed(folder) if part.suffix == ".part"]
        return parts + self._blobs.half_named()

    def sweep(self) -> None:
        """Removes what killed processes have left, but for partial work. Only inside `changing`; OSError passes."""
        remove_unheld(self.root / "incoming")
        for path in (*self.half_written(), *self.unnamed()):
            unlink(path)
        known = {path.relative_to(self.root / "manifests") for path, _ in self._entries()}
        for record in listed(self.root / "used"):
            name, _, tag = record.name.partition("@")
            if Path(name, f"{tag}.json") not in known:
                unlink(record)

    def _sweep_in_turn(self) -> None:
        with self.changing() as change:
            if change.is_exclusive:
                with contextlib.suppress(OSError):  # another time
                    self.sweep()

    def _take_up(self, folder: Path) -> None:
        """Readies what a killed process has left in a folder of partial work.

        A file that it was adding, and that has got no name, may be written again; one that has got its name, and is
        the store's now, is not to be touched from here.
        """
        named = [self.blob(manifest) for manifest in self.models()]
        for path in listed(folder):
            with contextlib.suppress(OSError):
                found = path.lstat()
                if not stat.S_ISREG(found.st_mode):
                    continue
                if found.st_nlink == 1:
                    path.chmod(found.st_mode | stat.S_IWUSR)
                elif any(os.path.samestat(found, blob.lstat()) for blob in named if os.path.lexists(blob)):
                    path.unlink()

    @contextlib.contextmanager
    def _entered(self, folder: AbstractContextManager[Path]) -> Iterator[Path]:
        """Inside `folder`, with StorageError for the OSErrors of getting there, and none for those of the block."""
        with contextlib.ExitStack() as held:
            with self._translated():
                path = held.enter_context(folder)
            yield path

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

    def _name(self, manifest: Manifest) -> None:
        """Lets a name stand for a file that is there, and drops what it stood for before."""
        before = self.find(ModelName(manifest.name, manifest.tag))
        self._write(manifest)
        if before is not None:
            self._drop_blob(before.blob)

    def _write(self, manifest: Manifest) -> None:
        path = self.manifest_path(ModelName(manifest.name, manifest.tag))
        if path.parent.is_symlink():
            raise StorageError(f"{path.parent} is a symbolic link, which may lead anywhere: remove it")
        make_folder(path.parent)
        with published(path) as out:
            out.write(json.dumps(asdict(manifest), indent=1).encode())

    def _forget(self, path: Path) -> None:
        """Removes a manifest, its folder if that is empty now, and when its model was used."""
        path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        with contextlib.suppress(OSError):
            unlink(self.root / "used" / f"{path.parent.name}@{path.stem}")

    def _drop_blob(self, blob: str) -> int:
        """Deletes a file unless a name stands for it, or a manifest that cannot be read might. The bytes freed."""
        return self._blobs.drop(blob) if self._blobs.path(blob) in self.unnamed() else 0

    def _used(self, manifest: Manifest) -> Path:
        return self.root / "used" / _key(ModelName(manifest.name, manifest.tag))

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


def _key(name: ModelName) -> str:
    """What the working folder of a name is called.

    >>> _key(ModelName("mistral-small", "24b-q4_K_M"))
    'mistral-small@24b-q4_k_m'
    """
    return f"{name.name}@{(name.tag or DEFAULT_TAG).lower()}"
