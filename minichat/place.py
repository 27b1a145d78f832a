"""Give a file of another program a place in the store, as cheaply as the disk allows.

    reflink     a file of its own that shares the blocks (btrfs, xfs, APFS): nothing is copied, neither harms the other
    hardlink    a second name of the file; only of one that is read-only already, for its mode is shared too
    symlink     the file is used in place: it is gone when that program removes it
    copy        all bytes, where nothing else works or when it is asked for

The source is never changed, neither its bytes nor its mode. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

Way = Literal["reflink", "hardlink", "symlink", "copy"]
ALL_WAYS: tuple[Way, ...] = ("reflink", "hardlink", "symlink", "copy")
OWN_BYTES: tuple[Way, ...] = ("reflink", "copy")  # the ways to a file that the other program cannot touch

_FICLONE = 0x40049409  # Linux, fs.h: _IOW(0x94, 9, int)
_PART_BYTES = 1 << 20
_MAY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def place(
    source: Path, destination: Path, ways: Sequence[Way] = ALL_WAYS, on_bytes: Callable[[int], None] | None = None
) -> Way:
    """Makes `destination`, which is not there yet, stand for the file `source`, by the first of `ways` that works.

    `source` is absolute and no link itself. `on_bytes` is told of the parts of a copy. Returns the way; raises OSError
    with the reason of the last one, and leaves nothing.
    """
    for way in ways[:-1]:
        with contextlib.suppress(OSError):
            _go(way, source, destination, on_bytes)
            return way
    _go(ways[-1], source, destination, on_bytes)
    return ways[-1]


def _go(way: Way, source: Path, destination: Path, on_bytes: Callable[[int], None] | None) -> None:
    match way:
        case "reflink":
            _clone(source, destination)
        case "hardlink":
            if source.stat().st_mode & _MAY_WRITE:
                raise PermissionError(None, "it may be written by its owner", str(source))
            os.link(source, destination)
        case "symlink":
            destination.symlink_to(source)
        case "copy":
            _copy(source, destination, on_bytes)


def _clone(source: Path, destination: Path) -> None:
    if sys.platform == "darwin":
        clonefile = ctypes.CDLL(None, use_errno=True).clonefile
        if clonefile(os.fsencode(source), os.fsencode(destination), ctypes.c_uint32(0)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(source))
    elif sys.platform == "linux":
        import fcntl

        with source.open("rb") as file, _new_file(destination) as handle:
            fcntl.ioctl(handle, _FICLONE, file.fileno())
    else:
        raise OSError(None, "this system knows no reflinks", str(source))


def _copy(source: Path, destination: Path, on_bytes: Callable[[int], None] | None) -> None:
    buffer = memoryview(bytearray(_PART_BYTES))
    with source.open("rb", buffering=0) as file, _new_file(destination) as handle:
        while count := file.readinto(buffer):
            place = 0
            while place < count:
                place += os.write(handle, buffer[place:count])
            if on_bytes is not None:
                on_bytes(count)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """A new file's handle; the file is removed after an error."""
    handle = os.open(path, _NEW, 0o666)
    try:
        yield handle
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(handle)
