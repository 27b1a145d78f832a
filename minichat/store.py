"""Model files on disk: names, manifests, blobs.

    ROOT/manifests/mistral-small/24b-q4_k_m.json    what a name stands for
    ROOT/blobs/sha256-4f1c…                         the GGUF files, each once, named by their content
    ROOT/incoming/12345/…                           what process 12345 is writing

A name is `name[:tag]`, without regard to case. Names with the same content share a blob. Every file is written aside,
synced and renamed into place, so that a kill in the middle loses nothing; what a dead process left in `incoming` is
removed by the next one that writes. Standard library only, but for where the user's data folder is.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from convert.publish import sync_folder
from quant.errors import DataError, StorageError, UsageError

DEFAULT_TAG = "q4_K_M"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class ModelName:
    """`name` in lower case, and a tag as it was written; None where none was given."""

    name: str
    tag: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises UsageError for what can be no name.

        >>> ModelName.parse("Demo:q8_0")
        ModelName(name='demo', tag='q8_0')
        """
        name, colon, tag = text.partition(":")
        if not _NAME.fullmatch(name) or (colon and not _NAME.fullmatch(tag)):
            raise UsageError(f"{text[:100]!r} is no model name: name[:tag], made of letters, digits, '.', '_' and '-'")
        return cls(name.lower(), tag or None)

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else self.name


@dataclass(frozen=True)
class Manifest:
    """What a name in the store stands for. size_bytes and parameters count; context_length in tokens.

    source: where the model came from. source_stamp: a fingerprint of that, to see whether it has changed since.
    """

    name: str
    tag: str
    blob: str
    size_bytes: int
    target: str
    architecture: str
    template: str | None
    parameters: int
    context_length: int
    source: str
    source_stamp: str
    created: str

    @property
    def full_name(self) -> str:
        return f"{self.name}:{self.tag}"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises ValueError or TypeError for what is no manifest."""
        manifest = cls(**json.loads(text))
        for field in fields(cls):
            value = getattr(manifest, field.name)
            if not isinstance(value, int if field.type == "int" else str) and (field.type, value) != (
                "str | None",
                None,
            ):
                raise TypeError(field.name)
        return manifest


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
        found = []
        for path in sorted(self.root.glob("manifests/*/*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(Manifest.from_json(path.read_text("utf-8")))
        return found

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
        path = self.root / "blobs" / Path(manifest.blob).name
        if not path.is_file():
            raise DataError(f"{manifest.full_name}: its file is missing from {path.parent}; convert or pull it again")
        return path

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder to write a new file in, on the same disk; gone afterwards. Raises StorageError."""
        parent = self.root / "incoming"
        folder = parent / str(os.getpid())
        try:
            self._sweep(parent)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write to {self.root}: {error.strerror}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, file: Path, manifest: Manifest) -> Path:
        """Moves `file`, complete and synced, into the store under `manifest.blob`, and names it. Returns its path."""
        blob = self.root / "blobs" / manifest.blob
        try:
            blob.parent.mkdir(parents=True, exist_ok=True)
            file.replace(blob)
            sync_folder(blob.parent)
            before = self.find(ModelName(manifest.name, manifest.tag))
            self._write_manifest(manifest)
        except OSError as error:
            raise StorageError(f"cannot write to {self.root}: {error.strerror}") from error
        if before is not None:
            self._drop_blob(before.blob)
        return blob

    def copy(self, source: ModelName, destination: ModelName) -> Manifest:
        """Gives a model a second name; its file is not copied. Without a tag, the new name keeps the old tag."""
        found = self.get(source)
        named = replace(found, name=destination.name, tag=destination.tag or found.tag)
        before = self.find(ModelName(named.name, named.tag))
        try:
            self._write_manifest(named)
        except OSError as error:
            raise StorageError(f"cannot write to {self.root}: {error.strerror}") from error
        if before is not None:
            self._drop_blob(before.blob)
        return named

    def remove(self, wanted: ModelName) -> Manifest:
        """Forgets a name, and deletes its file if no other name stands for it."""
        found = self.get(wanted)
        try:
            self._manifest_path(found).unlink()
            with contextlib.suppress(OSError):
                self._manifest_path(found).parent.rmdir()
        except OSError as error:
            raise StorageError(f"cannot remove {found.full_name}: {error.strerror}") from error
        self._drop_blob(found.blob)
        return found

    def _manifest_path(self, manifest: Manifest) -> Path:
        return self.root / "manifests" / manifest.name / f"{manifest.tag.lower()}.json"

    def _write_manifest(self, manifest: Manifest) -> None:
        path = self._manifest_path(manifest)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("w", encoding="utf-8") as out:
            json.dump(asdict(manifest), out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
        sync_folder(path.parent)

    def _drop_blob(self, blob: str) -> None:
        if all(m.blob != blob for m in self.models()):
            with contextlib.suppress(OSError):
                (self.root / "blobs" / Path(blob).name).unlink()

    def _sweep(self, parent: Path) -> None:
        """Removes what processes that are gone have left."""
        for folder in parent.glob("[0-9]*"):
            if folder.name.isdecimal() and not _alive(int(folder.name)):
                shutil.rmtree(folder, ignore_errors=True)

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


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True
