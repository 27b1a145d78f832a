"""What the names in a store stand for: FOLDER/mistral-small/24b-q4_k_m.json, a manifest each.

A name is looked for without regard to case. No symbolic link is followed. A manifest that makes no sense is told of,
and is otherwise as if it were not there.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from convert.publish import published
from minichat.demos import demos
from minichat.folders import listed, make_folder, read_plain
from minichat.manifest import DEFAULT_TAG, Manifest, ManifestError, ModelName
from quant.errors import DataError, StorageError

_MAX_MANIFEST_BYTES = 1 << 20


class Names:
    """The manifests in one folder. OSError passes, but where it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: ModelName) -> Path:
        """Where the manifest of a name is, or would be."""
        return self.folder / name.name / f"{(name.tag or DEFAULT_TAG).lower()}.json"

    def entries(self) -> Iterator[tuple[Path, Manifest | str]]:
        """Every manifest's path with what it holds, or with what is wrong with it, by name and tag."""
        for folder in listed(self.folder):
            if folder.is_symlink():
                yield folder, "it is a symbolic link"
                continue
            for path in listed(folder):
                if path.suffix == ".json":
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        yield path, self._read(path)

    def models(self) -> list[Manifest]:
        return [found for _, found in self.entries() if isinstance(found, Manifest)]

    def damaged(self) -> dict[Path, str]:
        return {path: found for path, found in self.entries() if isinstance(found, str)}

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

    def check_place(self, name: ModelName) -> None:
        """StorageError if a manifest of this name would not be written here, but where a link leads."""
        folder = self.path(name).parent
        if folder.is_symlink():
            raise StorageError(f"{folder} is a symbolic link, which may lead anywhere: remove it")

    def write(self, manifest: Manifest) -> None:
        """Lets a name stand for what the manifest says, whole and at once. StorageError if that cannot be written."""
        name = ModelName(manifest.name, manifest.tag)
        self.check_place(name)
        path = self.path(name)
        make_folder(path.parent)
        with published(path) as out:
            out.write(json.dumps(asdict(manifest), indent=1).encode())

    def forget(self, path: Path) -> None:
        """Removes a manifest, and its folder if that is empty now."""
        path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def half_written(self) -> list[Path]:
        """Manifests that were being written; by nobody any more, for who may change names."""
        folders = [folder for folder in listed(self.folder) if not folder.is_symlink()]
        return [part for folder in folders for part in listed(folder) if part.suffix == ".part"]

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
        if self.path(ModelName(manifest.name, manifest.tag)) != path:
            return f"it says that it is {manifest.full_name}"
        return manifest

    def _suggestion(self, wanted: ModelName) -> str:
        known = [m.full_name for m in self.models()]
        if tags := [name for name in known if name.startswith(f"{wanted.name}:")]:
            return f" (there is {', '.join(tags)})"
        names = {name.partition(":")[0] for name in known}.union(demos())
        near = difflib.get_close_matches(wanted.name, names - {wanted.name}, n=1)
        return f" (did you mean {near[0]!r}?)" if near else ""
