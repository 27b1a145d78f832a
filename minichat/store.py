"""Model files on disk: names, manifests, blobs.

    ROOT/manifests/mistral-small/24b-q4_k_m.json    what a name stands for
    ROOT/blobs/sha256-4f1c…                         the GGUF files, each once, named by their content, read-only
    ROOT/incoming/mistral-small@24b-q4_k_m/…        what somebody is writing under that name, and beside it the lock
    ROOT/partial/mistral-small@24b-q4_k_m/…         the same, of work that goes on after a kill or an error
    ROOT/used/mistral-small@24b-q4_k_m              empty; its time is when the model was last used
    ROOT/NOTICE                                     what licences want to travel with the models
    ROOT/lock                                       there for the moment in which names change

A name is `name[:tag]`, without regard to case. Names with the same content share a blob. Every file is written aside,
synced and renamed into place, so that a kill in the middle loses nothing; what a killed process left behind is removed
by the next one that writes, but for partial work, which waits for who takes it up (or for `minichat.housekeeping`).
One process at a time makes a model of one name, and one changes names; the locks die with their owners.

A blob may be a symbolic link to another program's file that is used in place; then its manifest says so. No other link
is followed: neither a manifest nor a blob that somebody has put there leads out of the store. A store that cannot be
written can be used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from convert.lock import Claim
from convert.publish import storage_errors
from minichat.blobs import Blobs
from minichat.folders import make_folder, unlink
from minichat.home import home
from minichat.last_used import LastUsed
from minichat.manifest import KeptFile, Manifest, ModelName
from minichat.names import Names
from minichat.notices import Notices
from minichat.working import Partial, empty, fresh_folder, in_turn, kept_folder, partials, remove_unheld
from quant.errors import DataError, StorageError


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
        self._names = Names(root / "manifests")
        self._notices = Notices(root, self._names)
        self._last_used = LastUsed(root / "used")

    @classmethod
    def default(cls) -> Store:
        """The user's own: under MINICHAT_HOME, else in the platform's folder for application data."""
        return cls(home() / "models")

    def models(self) -> list[Manifest]:
        """All manifests by name and tag; a damaged one is left out."""
        return self._names.models()

    def damaged(self) -> dict[Path, str]:
        """The manifests that cannot be used, each with what is wrong with it."""
        return self._names.damaged()

    def find(self, wanted: ModelName) -> Manifest | None:
        """The manifest of a name. Without a tag: q4_K_M, else the only tag that there is."""
        return self._names.find(wanted)

    def get(self, wanted: ModelName) -> Manifest:
        """As `find`, but raises DataError with the nearest names where there is none."""
        return self._names.get(wanted)

    def path(self, manifest: Manifest) -> Path:
        """The GGUF file. Raises DataError if it is gone, or is a link that the manifest does not tell of."""
        return self._checked(manifest, manifest.file)

    def projector(self, manifest: Manifest) -> Path | None:
        """The file that the model reads pictures with; None for a model of text alone. DataError as `path`."""
        return self._checked(manifest, kept) if (kept := manifest.projector_file) is not None else None

    def has_file(self, manifest: Manifest) -> bool:
        """Whether all that the model is made of is here."""
        return self.problem(manifest) is None

    def problem(self, manifest: Manifest) -> str | None:
        """What is wrong with the files of a model at first sight, without reading them; None if nothing is."""
        return next(filter(None, (self._problem(manifest, kept) for kept in manifest.files)), None)

    def problem_of(self, file: KeptFile) -> str | None:
        """The same of one file alone."""
        return self._blobs.problem(file)

    def blob(self, file: Manifest | KeptFile) -> Path:
        """Where the file of a model is, or should be; nothing is looked at."""
        return self._blobs.path(file.blob)

    def linked(self, file: Manifest | KeptFile) -> str | None:
        """Where another program keeps the file that is used in place; None for a file of the store's own."""
        return file.linked if self.blob(file).is_symlink() else None

    def file_of(self, blob: str) -> Path | None:
        """The file of this content, if a model here has it: the store's own, or the one that it links to."""
        kept = next((kept for m in self.models() for kept in m.files if kept.blob == blob), None)
        if kept is None or self._blobs.problem(kept) is not None:
            return None
        return Path(self.linked(kept) or self.blob(kept))

    @contextlib.contextmanager
    def incoming(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder to write the file of `name` in, on the same disk; gone afterwards. Raises StorageError.

        Whoever else makes that model is waited for, as long as it takes; `on_wait` is called once, before.
        """
        self._names.check_place(name)
        with self._entered(fresh_folder(self.root / "incoming", name.key, on_wait, self._sweep_in_turn)) as folder:
            yield folder

    @contextlib.contextmanager
    def partial(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder for work on `name` that goes on where an earlier process was killed or met an error.

        It is there, with all that was in it, until a block ends that has emptied it (`discard`), or one that the disk
        was too full for: DiskFullError takes everything with it. Others who work on that name are waited for, as with
        `incoming`. Where the file system knows no locks, the folder is a new one each time, and gone afterwards.
        """
        self._names.check_place(name)
        with self._entered(kept_folder(self.root / "partial", name.key, on_wait, self._sweep_in_turn)) as folder:
            self._blobs.take_up(folder, [kept.blob for m in self.models() for kept in m.files])
            yield folder

    @staticmethod
    def discard(folder: Path) -> None:
        """Empties a folder that `partial` or `incoming` gave: what it holds is in the store, or is wanted no more."""
        empty(folder)

    def partials(self) -> list[Partial]:
        """The work that waits for somebody to take it up, or is under way, by name."""
        return partials(self.root / "partial")

    def add(self, file: Path, manifest: Manifest, projector: Path | None = None) -> Path:
        """Moves `file` into the store under `manifest.blob`, synced and read-only, and names it. Returns its path.
        So with `projector`, under `manifest.projector`: the name stands for both, or for neither.

        A symbolic link is moved as a link: the file that it leads to is used in place, unless the store has its own
        with this content. What the manifest says of links is set to what is true. Raises StorageError.
        """
        with self.changing():
            try:
                manifest = self._settled(file, projector, manifest)
                self._name(manifest)
            except BaseException:
                for kept in manifest.files:
                    self._drop_blob(kept.blob)
                raise
            for path in filter(None, (file, projector)):
                with contextlib.suppress(OSError):  # it is gone already where a file can have no two names
                    unlink(path)
            self._notices.write()
        return self._blobs.path(manifest.blob)

    def copy(self, source: ModelName, destination: ModelName) -> Manifest:
        """Gives a model a second name; its file is not copied. Without a tag, the new name keeps the old tag."""
        self.get(source)
        with self.changing():
            found = self.get(source)
            named = replace(found, name=destination.name, tag=destination.tag or found.tag)
            self._name(named)
            self._notices.write()
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
            freed_bytes = sum(self._drop_blob(kept.blob) for kept in found.files)
            self._notices.write()
            return Removed(found.full_name, freed_bytes, shared_with, linked)

    def mend_notices(self) -> None:
        """Writes the notices of the licences once more, if they are not there as they should be, and can be."""
        with contextlib.suppress(StorageError), self.changing():
            self._notices.write()

    def touch_used(self, manifest: Manifest) -> None:
        """Writes down that a model is being used now, if that can be written."""
        self._last_used.touch(manifest.key)

    def used(self, manifest: Manifest) -> datetime | None:
        """When a model was last used; None if that is not known."""
        return self._last_used.when(manifest.key)

    def manifest_path(self, name: ModelName) -> Path:
        """Where the manifest of a name is, or would be."""
        return self._names.path(name)

    @contextlib.contextmanager
    def changing(self) -> Iterator[Claim]:
        """Inside, no other process changes names or removes files. Raises StorageError for the block's OSErrors."""
        with storage_errors(self.root):
            make_folder(self.root)
            with in_turn(self.root / "lock") as claim:
                yield claim

    def unnamed(self) -> list[Path]:
        """The files that no name stands for; none, while there is a manifest that cannot be read."""
        entries = [found for _, found in self._names.entries()]
        models = [found for found in entries if isinstance(found, Manifest)]
        named = [kept.blob for model in models for kept in model.files]
        return self._blobs.others(named) if len(models) == len(entries) else []

    def half_written(self) -> list[Path]:
        """Manifests, names of blobs, notices that were being written; by nobody any more, for who is in `changing`."""
        return self._names.half_written() + self._blobs.half_named() + self._notices.half_written()

    def sweep(self) -> None:
        """Removes what killed processes have left, but for partial work. Only inside `changing`; OSError passes."""
        remove_unheld(self.root / "incoming")
        for path in (*self.half_written(), *self.unnamed()):
            unlink(path)
        self._last_used.keep({f"{path.parent.name}@{path.stem}" for path, _ in self._names.entries()})

    def _sweep_in_turn(self) -> None:
        with self.changing() as change:
            if change.is_exclusive:
                with contextlib.suppress(OSError):  # another time
                    self.sweep()

    @contextlib.contextmanager
    def _entered(self, folder: AbstractContextManager[Path]) -> Iterator[Path]:
        """Inside `folder`, with StorageError for the OSErrors of getting there, and none for those of the block."""
        with contextlib.ExitStack() as held:
            with storage_errors(self.root):
                path = held.enter_context(folder)
            yield path

    def _checked(self, manifest: Manifest, kept: KeptFile) -> Path:
        if (problem := self._problem(manifest, kept)) is not None:
            raise DataError(f"{manifest.full_name}: {problem}; convert, pull or import it again")
        return self._blobs.path(kept.blob)

    def _problem(self, manifest: Manifest, kept: KeptFile) -> str | None:
        problem = self._blobs.problem(kept)
        return f"what it reads pictures with: {problem}" if problem and kept != manifest.file else problem

    def _settled(self, file: Path, projector: Path | None, manifest: Manifest) -> Manifest:
        """The manifest of files that are in their places now; and so the others' that have one of them, too."""
        models = self.models()
        settled = manifest
        if projector is not None and (kept := manifest.projector_file) is not None:
            known = {m.projector_linked for m in models if m.projector == kept.blob}
            settled = replace(settled, projector_linked=self._blobs.settle(projector, kept, known).linked)
        known = {m.linked for m in models if m.blob == manifest.blob}
        settled = replace(settled, linked=self._blobs.settle(file, manifest.file, known).linked)
        for other in models:
            told = replace(
                other,
                linked=settled.linked if other.blob == settled.blob else other.linked,
                projector_linked=settled.projector_linked if _share(other, settled) else other.projector_linked,
            )
            if told != other:
                self._names.write(told)
        return settled

    def _name(self, manifest: Manifest) -> None:
        """Lets a name stand for a file that is there, and drops what it stood for before."""
        before = self.find(ModelName(manifest.name, manifest.tag))
        self._names.write(manifest)
        for kept in before.files if before is not None else ():
            self._drop_blob(kept.blob)

    def _forget(self, path: Path) -> None:
        """Removes a manifest, and when its model was used."""
        self._names.forget(path)
        self._last_used.forget(f"{path.parent.name}@{path.stem}")

    def _drop_blob(self, blob: str) -> int:
        """Deletes a file unless a name stands for it, or a manifest that cannot be read might. The bytes freed."""
        return self._blobs.drop(blob) if self._blobs.path(blob) in self.unnamed() else 0


def _share(one: Manifest, other: Manifest) -> bool:
    """Whether two models read pictures with the same file."""
    return one.projector is not None and one.projector == other.projector
