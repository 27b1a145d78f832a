"""The files of the models, each once, named by their content: BLOBS/sha256-<hex>.

A file of the store's own is read-only. A symbolic link leads to another program's file that is used in place, and is
followed only where a manifest tells that this link was made: a blob that somebody has put there leads nowhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from convert.publish import sync_folder
from minichat.folders import disk_bytes, listed, make_folder, unlink
from minichat.manifest import KeptFile

_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


class Blobs:
    """The files in one folder. OSError passes, but where it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, blob: str) -> Path:
        """Where a file of this name is, or would be: always in the folder."""
        return self.folder / Path(blob).name

    def problem(self, kept: KeptFile) -> str | None:
        """What is wrong with a file at first sight, unread; None if nothing is. Never raises."""
        blob = self.path(kept.blob)
        try:
            if not blob.is_symlink():
                return None if stat.S_ISREG(blob.lstat().st_mode) else f"{blob} is no file"
            if str(blob.readlink()) != kept.linked:
                return f"its file is a link that the store has not made: {blob}"
            found = blob.stat()
        except FileNotFoundError:
            if kept.linked is not None and blob.is_symlink():
                return f"it is used in place, and {kept.linked} is gone"
            return f"its file is missing from {self.folder}"
        except (OSError, RuntimeError) as error:
            return f"{blob} cannot be used: {getattr(error, 'strerror', None) or error}"
        if not stat.S_ISREG(found.st_mode) or found.st_size != kept.size_bytes:
            return f"it is used in place, and {kept.linked} is another file now"
        return None

    def settle(self, file: Path, kept: KeptFile, known_links: Collection[str | None]) -> KeptFile:
        """Puts a file, synced and read-only, or a link in its place. What is kept, with where the link now leads.

        A link gives way to a whole file of the store's own, and to one of `known_links` that leads to one. A file
        keeps the name that it had too, where the disk can, until somebody removes that: whoever is killed before the
        blob has got its manifest finds the work of hours where it was.
        """
        make_folder(self.folder)
        blob = self.path(kept.blob)
        if not file.is_symlink():
            _publish(file, blob)
            kept = replace(kept, linked=None)
        elif _is_whole(blob, kept.size_bytes, known_links):
            unlink(file)
            return replace(kept, linked=str(blob.readlink()) if blob.is_symlink() else None)
        else:
            kept = replace(kept, linked=str(file.readlink()))
            file.replace(blob)
        sync_folder(self.folder)
        return kept

    def take_up(self, folder: Path, blobs: Collection[str]) -> None:
        """Readies the files that a killed process has left in a folder of partial work.

        One that was being settled, and that no model has, may be written again; one that is a model's file now, one
        of `blobs`, is gone from there, and is not to be touched.
        """
        named = [self.path(blob) for blob in blobs]
        for path in listed(folder):
            with contextlib.suppress(OSError):
                found = path.lstat()
                if not stat.S_ISREG(found.st_mode):
                    continue
                if found.st_nlink == 1:
                    path.chmod(found.st_mode | stat.S_IWUSR)
                elif any(os.path.samestat(found, blob.lstat()) for blob in named if os.path.lexists(blob)):
                    path.unlink()

    def half_named(self) -> list[Path]:
        """Second names that were not given to the end; by nobody any more, for who may change names."""
        return [path for path in listed(self.folder) if path.name.startswith(".sha256-")]

    def others(self, named: Collection[str]) -> list[Path]:
        """The files that are none of `named`, by name."""
        blobs = [path for path in listed(self.folder) if path.name.startswith("sha256-")]
        return [path for path in blobs if path.name not in named]

    def drop(self, blob: str) -> int:
        """Deletes a file. The bytes that the disk has got back; 0 if it cannot be deleted."""
        path = self.path(blob)
        size_bytes = disk_bytes(path)
        try:
            unlink(path)
        except OSError:
            return 0
        return size_bytes


def _is_whole(blob: Path, size_bytes: int, known_links: Collection[str | None]) -> bool:
    """Whether a blob is there, as long as it should be, and no link that nobody knows of."""
    try:
        if not blob.is_file() or blob.stat().st_size != size_bytes:
            return False
        return not blob.is_symlink() or str(blob.readlink()) in known_links
    except (OSError, RuntimeError):
        return False


def _publish(file: Path, blob: Path) -> None:
    """Makes a whole file read-only, syncs it, and lets `blob` be a second name of it, else its only one."""
    beside = blob.with_name(f".{blob.name}")
    try:
        beside.unlink(missing_ok=True)
        os.link(file, beside)
    except OSError:
        beside = file
    try:
        _seal(beside, names=1 if beside == file else 2)
        if sys.platform == "win32" and blob.exists():
            blob.chmod(stat.S_IWRITE)  # or it could not be replaced there
        beside.replace(blob)
    finally:
        if beside != file:  # a rename of one name of a file to another one of it does nothing
            with contextlib.suppress(OSError):
                unlink(beside)


def _seal(file: Path, names: int) -> None:
    """Makes a whole file read-only and syncs it. OSError passes.

    One with more than `names` names belongs to another program too, and keeps its mode.
    """
    handle = os.open(file, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | getattr(os, "O_NOFOLLOW", 0))
    try:
        if os.fstat(handle).st_nlink <= names:
            file.chmod(_READ_ONLY)
        os.fsync(handle)
    finally:
        os.close(handle)
