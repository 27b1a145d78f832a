"""Put a new file in its place whole or not at all.

The file is written beside its destination under a hidden name (".<name>.<random>.part"), synced, and renamed over it.
Whatever goes wrong before, even Ctrl-C, removes the part and leaves what was there as it was. A process that is killed
outright leaves its part behind, unlocked: the next one that writes the same file removes it.
"""

import contextlib
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from quant.errors import StorageError

# What must stay free beside the new file: a disk filled to its last byte breaks other programs.
_SPARE_BYTES = 16 << 20


@contextlib.contextmanager
def published(destination: Path) -> Iterator[BinaryIO]:
    """A file open for writing that becomes `destination` when the block ends without an exception.

    StorageError if a write, the sync or the rename fails.
    """
    prefix = f".{destination.name[:200]}."
    part = destination.with_name(f"{prefix}{secrets.token_hex(4)}.part")
    try:
        _remove_abandoned(destination.parent, prefix)
        with part.open("xb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(destination)
        sync_folder(destination.parent)
    except BrokenPipeError:  # whoever was told of the progress has left
        raise
    except OSError as error:
        raise StorageError(
            f"{destination} cannot be written: {error.strerror or error}; free some space or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_destination(destination: Path, size_bytes: int) -> None:
    """StorageError if `destination` cannot be a file, or its disk has less than `size_bytes` free."""
    folder = destination.parent
    if not folder.is_dir():
        raise StorageError(f"the folder {folder} does not exist: make it, or choose another place")
    if destination.exists() and not destination.is_file():  # a folder, or a device that would be renamed over
        raise StorageError(f"{destination} is no file: name a file to write")
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror or error}") from error
    if free < size_bytes + _SPARE_BYTES:
        need, have = (size_bytes + _SPARE_BYTES) / 1e6, free / 1e6
        raise StorageError(f"{folder} has {have:,.1f} MB free, and {need:,.1f} MB are needed: free some space")


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{glob.escape(prefix)}{'[0-9a-f]' * 8}.part"):
        with contextlib.suppress(OSError), path.open("rb+") as file:
            if _lock(file):
                path.unlink()


def _lock(file: BinaryIO) -> bool:
    """Marks a file as being written, until it is closed; False if it is marked already, or marks are not known here."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut, where the system can (Windows cannot)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
