"""Model files on disk: names, manifests, blobs.

    ROOT/manifests/mistral-small/24b-q4_k_m.json    what a name stands for
    ROOT/blobs/sha256-4f1c…                         the GGUF files, each once, named by their content
    ROOT/incoming/mistral-small@24b-q4_k_m/…        what somebody is writing under that name, and beside it the lock
    ROOT/lock                                       there for the moment in which names change

A name is `name[:tag]`, without regard to case. Names with the same content share a blob. Every file is written aside,
synced and renamed into place, so that a kill in the middle loses nothing; what a killed process left behind is removed
by the next one that writes. One process at a time makes a model of one name, and one changes names; the locks die with
their owners (`convert.lock`). Standard library only, but for where the user's data folder is.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from convert.lock import Claim, LockedError, claimed
from convert.publish import published, sync_folder
from minichat.manifest import DEFAULT_TAG, Manifest, ModelName
from quant.errors import DataError, StorageError

_POLL_S = 0.1
_MAX_MANIFEST_BYTES = 1 << 20


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
        """The GGUF file. Raises DataError if it is gone."""
        if not self.has_file(manifest):
            folder = self.root / "blobs"
            raise DataError(f"{manifest.full_name}: its file is missing from {folder}; convert it again")
        return self._blob(manifest.blob)

    def has_file(self, manifest: Manifest) -> bool:
        return self._blob(manifest.blob).is_file()

    @contextlib.contextmanager
    def incoming(self, name: ModelName, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
        """A folder to write the file of `name` in, on the same disk; gone afterwards. Raises StorageError.

        Whoever else makes that model is waited for, as long as it takes; `on_wait` is called once, before.
        """
        parent = self.root / "incoming"
        with contextlib.ExitStack() as held:
            try:
                parent.mkdir(parents=True, exist_ok=True)
                lock = parent / f"{name.name}@{(name.tag or DEFAULT_TAG).lower()}.lock"
                claim = held.enter_context(_claimed_in_turn(lock, on_wait))
                with self._changing() as change:
                    if change.is_exclusive:
                        with contextlib.suppress(OSError):  # another time
                            self._sweep()
                folder = claim.path.with_suffix("")
                held.callback(shutil.rmtree, folder, ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            except OSError as error:
                raise StorageError(f"cannot write to {self.root}: {error.strerror}") from error
            yield folder

    def add(self, file: Path, manifest: Manifest) -> Path:
        """Moves `file`, complete and synced, into the store under `manifest.blob`, and names it. Returns its path."""
        blob = self._blob(manifest.blob)
        with self._changing():
            blob.parent.mkdir(parents=True, exist_ok=True)
            file.replace(blob)
            sync_folder(blob.parent)
            try:
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

    def remove(self, wanted: ModelName) -> str:
        """Forgets a name, a damaged manifest too, and deletes its file if no other name stands for it.

        Returns the full name. Raises DataError if there is no such model.
        """
        damaged = self.manifest_path(wanted)
        if damaged not in self.damaged():
            self.get(wanted)
        with self._changing():
            if damaged in self.damaged():
                name, path, blob = str(wanted), damaged, None
            else:
                found = self.get(wanted)
                name, path, blob = found.full_name, self.manifest_path(ModelName(found.name, found.tag)), found.blob
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()
            if blob is not None:
                self._drop_blob(blob)
        return name

    def manifest_path(self, name: ModelName) -> Path:
        """Where the manifest of a name is, or would be."""
        return self.root / "manifests" / name.name / f"{(name.tag or DEFAULT_TAG).lower()}.json"

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Claim]:
        """Inside, no other process changes names or removes files. Raises StorageError for the block's OSErrors."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with _claimed_in_turn(self.root / "lock") as claim:
                yield claim
        except OSError as error:
            raise StorageError(f"cannot write to {self.root}: {error.strerror}") from error

    def _entries(self) -> Iterator[tuple[Path, Manifest | str]]:
        """Every manifest's path with what it holds, or with what is wrong with it, by name and tag."""
        for folder in _listed(self.root / "manifests"):
            for path in _listed(folder):
                if path.suffix == ".json":
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        yield path, self._read(path)

    def _read(self, path: Path) -> Manifest | str:
        try:
            with path.open("rb") as file:
                manifest = Manifest.from_json(file.read(_MAX_MANIFEST_BYTES).decode())
        except FileNotFoundError:
            raise
        except OSError as error:
            return error.strerror or str(error)
        except (ValueError, TypeError, RecursionError):
            return "it is no manifest"
        if self.manifest_path(ModelName(manifest.name, manifest.tag)) != path:
            return f"it says that it is {manifest.full_name}"
        return manifest

    def _name(self, manifest: Manifest) -> None:
        """Lets a name stand for a file that is there, and drops what it stood for before."""
        name = ModelName(manifest.name, manifest.tag)
        before = self.find(name)
        path = self.manifest_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with published(path) as out:
            out.write(json.dumps(asdict(manifest), indent=1).encode())
        if before is not None:
            self._drop_blob(before.blob)

    def _drop_blob(self, blob: str) -> None:
        """Deletes a file that no name stands for any more, unless a manifest that cannot be read might."""
        if all(isinstance(m, Manifest) and m.blob != blob for _, m in self._entries()):
            with contextlib.suppress(OSError):
                self._blob(blob).unlink()

    def _blob(self, name: str) -> Path:
        return self.root / "blobs" / Path(name).name

    def _sweep(self) -> None:
        """Removes what killed processes have left: half-written files, and files that have no name any more."""
        incoming = self.root / "incoming"
        for key in {path.name.removesuffix(".lock") for path in _listed(incoming)}:
            with contextlib.suppress(LockedError), claimed(incoming / f"{key}.lock"):
                shutil.rmtree(incoming / key, ignore_errors=True)
        for folder in _listed(self.root / "manifests"):
            for part in _listed(folder):
                if part.suffix == ".part":
                    part.unlink()
        for blob in _listed(self.root / "blobs"):
            if blob.name.startswith("sha256-"):
                self._drop_blob(blob.name)

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


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing if it is none. OSError if it cannot be told."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _claimed_in_turn(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[Claim]:
    """The claim on `path` once it is free; `on_wait` is called once, if that is not at once."""
    tries = 0
    with contextlib.ExitStack() as held:
        while True:
            try:
                claim = held.enter_context(claimed(path))
                break
            except LockedError:
                tries += 1
                if tries == 2 and on_wait is not None:  # at the first, it may be a sweep
                    on_wait()
                time.sleep(_POLL_S if tries > 1 else _POLL_S / 10)
        yield claim
