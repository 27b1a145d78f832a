"""The sha256 of files of any size, in little memory."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

_PART_BYTES = 1 << 20


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The sha256 of a file, 64 hex digits. `on_bytes` is told the number of bytes of each part. OSError passes."""
    with path.open("rb", buffering=0) as file:
        return _digest(file, on_bytes)


def sha256_of_descriptor(descriptor: int) -> str:
    """The sha256 of all of an open file that may be read; its place is at the end afterwards. OSError passes."""
    with io.FileIO(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return _digest(file, None)


def _digest(file: io.FileIO, on_bytes: Callable[[int], None] | None) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PART_BYTES))
    while count := file.readinto(buffer):
        digest.update(buffer[:count])
        if on_bytes is not None:
            on_bytes(count)
    return digest.hexdigest()
