"""Folders that other processes change at the same time, and files in them that anybody may have made.

What is read is bounded, and is a plain file: no link out of the folder, no device, no pipe that would never answer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from convert.publish import sync_folder

_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's own are
_RESERVED_BYTES = 1 << 20  # so much more than a file's length was reserved for it, and is no rounding
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of a regular file. OSError for anything else, a symbolic link too."""
    handle = os.open(path, os.O_RDONLY | _PLAIN | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(max_bytes)
    finally:
        os.close(handle)


def listed(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing if it is none. OSError if it cannot be told."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, such that they last through a power cut. OSError passes."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def disk_bytes(path: Path) -> int:
    """What the disk gets back when a file, a link or all of a folder goes; 0 for what is not there.

    A file's length, more where more is reserved for it; nothing for one that has another name elsewhere.
    """
    try:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            return sum(map(disk_bytes, path.iterdir()))
    except OSError:
        return 0
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        return 0
    taken = getattr(found, "st_blocks", 0) * _BLOCK_BYTES
    return taken if taken > found.st_size + _RESERVED_BYTES else found.st_size


def newest_change_s(path: Path) -> float:
    """When something in a folder, or the file, was last changed: seconds since 1970; 0 if it is not there."""
    try:
        found = path.lstat()
        inside = path.iterdir() if stat.S_ISDIR(found.st_mode) else ()
        return max([found.st_mtime, *map(newest_change_s, inside)])
    except OSError:
        return 0.0


def remove_tree(path: Path) -> None:
    """Removes a folder with all that is in it, or whatever else has its name; leaves what cannot be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            unlink(path)


def unlink(path: Path) -> None:
    """Removes a file, one that is read-only too, which Windows does not do at once. OSError passes."""
    try:
        path.unlink()
    except PermissionError:
        if os.name != "nt":
            raise
        path.chmod(stat.S_IWRITE)
        path.unlink()
