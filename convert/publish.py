"""Put a new file in its place whole or not at all.

The file is written beside its destination under a hidden name (".<name>.part"), synced, and renamed over it. Whatever
goes wrong before, even Ctrl-C, removes the part and leaves what was there as it was. Whoever writes holds the part's
lock (`convert.lock`): a second writer of the same file is refused, and a part that a killed process left is removed by
the next one.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from convert.lock import Claim, LockedError, claimed
from quant.errors import DiskFullError, StorageError

# What must stay free beside the new file: a disk filled to its last byte breaks other programs.
_SPARE_BYTES = 16 << 20
_MAX_NAME_BYTES = 200  # of 255, to leave room for what a part's name has more
_KEEP_SIZE = 1  # Linux, falloc.h


@contextlib.contextmanager
def published(destination: Path, size_bytes: int = 0) -> Iterator[BinaryIO]:
    """A file open for writing, anywhere in it, that becomes `destination` when the block ends without an exception.

    `size_bytes`, if known, are taken from the disk at once, where the system can; the file grows only as it is
    written. StorageError if another process is writing the same destination, if the disk is full, or if a write, the
    sync or the rename fails.
    """
    with storage_errors(destination), _part_of(destination, size_bytes) as (claim, file):
        yield file
        _finish(claim, file)
        claim.move_to(destination)
        sync_folder(destination.parent)


@contextlib.contextmanager
def published_together(files: Sequence[tuple[Path, int]]) -> Iterator[list[BinaryIO]]:
    """Several (destination, size in bytes) as `published`: all are whole and synced before the first gets its name.

    The first destination gets its own last: where that is, the others are. If a name cannot be given, those given
    before are taken back, unless there was an older file of that name.
    """
    (first, _), others = files[0], files[1:]
    with contextlib.ExitStack() as stack:
        parts = []
        for destination, size_bytes in files:
            stack.enter_context(storage_errors(destination))
            parts.append(stack.enter_context(_part_of(destination, size_bytes)))
        with storage_errors(first):
            yield [file for _, file in parts]
        for (destination, _), (claim, file) in zip(files, parts, strict=True):
            with storage_errors(destination):
                _finish(claim, file)
        new = [destination for destination, _ in others if not destination.exists()]
        with taken_back(new, unless_gone=parts[0][0].path):
            for (destination, _), (claim, _) in reversed(list(zip(files, parts, strict=True))):
                with storage_errors(destination):
                    claim.move_to(destination)
        for folder in {destination.parent for destination, _ in files}:
            sync_folder(folder)


@contextlib.contextmanager
def taken_back(new: Iterable[Path], unless_gone: Path) -> Iterator[None]:
    """Removes these files if the block ends with an exception, but not once `unless_gone` has got its name."""
    try:
        yield
    except BaseException:
        for path in new if unless_gone.exists() else ():
            with contextlib.suppress(OSError):
                path.unlink()
        raise


@contextlib.contextmanager
def _part_of(destination: Path, size_bytes: int) -> Iterator[tuple[Claim, BinaryIO]]:
    """A new part, open for writing; it is removed at the end, unless it was moved away."""
    with claimed(hidden_name(destination, "part")) as claim:
        reserve(claim.handle, size_bytes)
        file = open(claim.handle, "wb", closefd=False)  # noqa: SIM115  (the claim closes it)
        try:
            yield claim, file
        finally:
            with contextlib.suppress(OSError):  # bytes that found no place: said already, or in vain
                file.close()


def _finish(claim: Claim, file: BinaryIO) -> None:
    """All that was written is on the disk."""
    file.flush()
    os.fsync(claim.handle)
    with contextlib.suppress(OSError):
        file.close()


@contextlib.contextmanager
def storage_errors(destination: Path) -> Iterator[None]:
    """What goes wrong while `destination` is written, as a StorageError of one line: DiskFullError for want of room."""
    try:
        yield
    except LockedError:
        raise StorageError(
            f"{destination} is being written by another minichat; wait for it, or choose another name"
        ) from None
    except OSError as error:
        problem = f"{destination} cannot be written: {error.strerror or error}"
        if is_full(error):
            raise DiskFullError(f"{problem}; free some space or choose another place") from error
        raise StorageError(f"{problem}; choose another place") from error


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room: of the disk, of the user's share of it, or of one file on it.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.EACCES, "Permission denied"))
    (True, False)
    """
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_place(destination: Path) -> None:
    """StorageError if `destination` cannot be a file."""
    folder = destination.parent
    if not folder.is_dir():
        raise StorageError(f"the folder {folder} does not exist: make it, or choose another place")
    if destination.exists() and not destination.is_file():  # a folder, or a device that would be renamed over
        raise StorageError(f"{destination} is no file: name a file to write")


def check_room(destination: Path, size_bytes: int) -> None:
    """DiskFullError if the disk of `destination` has less than `size_bytes` free; StorageError if it cannot be told."""
    folder = destination.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror or error}") from error
    if free < size_bytes + _SPARE_BYTES:
        need, have = (size_bytes + _SPARE_BYTES) / 1e6, free / 1e6
        raise DiskFullError(f"{folder} has {have:,.1f} MB free, and {need:,.1f} MB are needed: free some space")


def check_rooms(files: Sequence[tuple[Path, int]]) -> None:
    """`check_room` for several (destination, size in bytes): those of one folder share its disk."""
    needed: dict[Path, int] = {}
    for destination, size_bytes in files:
        needed[destination.parent] = needed.get(destination.parent, 0) + size_bytes
    for destination, _ in files:
        check_room(destination, needed[destination.parent])


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can.

    Windows cannot, nor can some file systems; the file is whole and in its place in any case.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def hidden_name(destination: Path, kind: str) -> Path:
    """Where what belongs to an unfinished file stands, beside its destination.

    >>> hidden_name(Path("models/a.gguf"), "part").as_posix()
    'models/.a.gguf.part'
    """
    name = destination.name
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return destination.with_name(f".{name}.{kind}")


def reserve(handle: int, size_bytes: int) -> None:
    """Take `size_bytes` of disk for a file, whose length stays as it is. OSError if there is not so much.

    Linux's own call: `os.posix_fallocate` makes the file longer at once, and where a file system cannot reserve, it
    writes to every block instead.
    """
    if sys.platform != "linux" or size_bytes <= 0 or sys.maxsize < 1 << 32:
        return
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError):
        return
    if fallocate(ctypes.c_int(handle), ctypes.c_int(_KEEP_SIZE), ctypes.c_int64(0), ctypes.c_int64(size_bytes)):
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if is_full(error):  # otherwise the file system cannot reserve
            raise error
