"""Folders that other processes work in at the same time, and files in them that others may have made.

What is read is bounded, and is a plain file: no link out of the folder, no device, no pipe that would never answer.
A process holds a working folder by the lock beside it (`convert.lock`), which dies with it; others wait in turn.

    PARENT/KEY/        what is being written
    PARENT/KEY.lock    there as long as somebody writes
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from convert.lock import Claim, LockedError, claimed
from convert.publish import sync_folder

_POLL_S = 0.1
_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's own are
_RESERVED_BYTES = 1 << 20  # so much more than a file's length was reserved for it, and is no rounding
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of a regular file. OSError for anything else, a symbolic link too."""
    handle = os.open(path, os.O_RDONLY | _PLAIN | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(number, os.strerror(number), str(path))
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


@contextlib.contextmanager
def in_turn(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[Claim]:
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


def is_held(lock: Path) -> bool:
    """Whether somebody is at work beside this lock. Nothing is written where there is none."""
    if not os.path.lexists(lock):
        return False
    try:
        with claimed(lock):
            return False
    except LockedError:
        return True
    except OSError:  # a disk that cannot be written: who would hold it?
        return False


def remove_unheld(parent: Path, key: str) -> bool:
    """Removes the working folder of `key` unless somebody holds it, or nobody can tell. Whether it is gone."""
    with contextlib.suppress(LockedError), claimed(parent / f"{key}.lock") as claim:
        if claim.is_exclusive:
            remove_tree(parent / key)
    return not os.path.lexists(parent / key)


def keys(parent: Path) -> list[str]:
    """The keys of the working folders and locks in `parent`."""
    return sorted({path.name.removesuffix(".lock") for path in listed(parent)})
