"""What was typed before, kept for the next time in a file that only its owner may read.

Each entry is a line `# time` and its lines with a `+` before each, so a message of many lines comes back as one. Every
entry is one write to the end of the file, so several chats at once do not mix theirs; each chat begins with what all of
them had typed. The file is bounded: when it has grown to twice as much as is read, its older half goes. A file that
cannot be read or written keeps nobody from chatting.
"""

from __future__ import annotations

import contextlib
import os
import time
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from convert.lock import LockedError, claimed

MAX_BYTES = 2 << 20  # of the file's end, that are read
MAX_ENTRIES = 10_000
MAX_ENTRY = 64 << 10  # bytes; a longer message is remembered while the chat lasts
_FLAGS = os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)


class HistoryFile:
    """The entries of one file. Raises OSError, when it is made, where there is no place for it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path.resolve()
        _append(self.path, b"")

    def entries(self) -> list[str]:
        """The newest entries, the oldest of them first; of equal ones that follow one another, one."""
        return [entry for entry, _ in groupby(parse(_end_of(self.path))[-MAX_ENTRIES:])]

    def add(self, entry: str) -> None:
        """One more at the end, as far as it and the disk allow."""
        content = written(entry, time.strftime("%Y-%m-%d %H:%M:%S"))
        if len(content) > MAX_ENTRY:
            return
        with contextlib.suppress(OSError):
            if _append(self.path, content) > 2 * MAX_BYTES:
                _shorten(self.path)


def open_file(path: Path | None) -> HistoryFile | None:
    """None where nothing is to be kept, or there is no place for it."""
    if path is None:
        return None
    try:
        return HistoryFile(path)
    except OSError:
        return None


def written(entry: str, when: str) -> bytes:
    r"""An entry as it stands in the file.

    >>> written("one\ntwo", "2025-01-31 12:00:00")
    b'\n# 2025-01-31 12:00:00\n+one\n+two\n'
    """
    lines = "".join(f"+{line}\n" for line in entry.split("\n"))
    return f"\n# {when}\n{lines}".encode("utf-8", "replace")


def parse(content: bytes) -> list[str]:
    r"""The entries of a file, the oldest first. What has no form is passed over.

    >>> parse(b"+cut\n\n# 2025-01-31 12:00:00\n+one\n+two\n\n# 2025-01-31 12:01:00\n+three\n")
    ['one\ntwo', 'three']
    """
    entries: list[str] = []
    lines: list[str] | None = None  # of the entry under way; None before the first head
    for line in content.decode("utf-8", "replace").split("\n"):
        if line.startswith("+"):
            if lines is not None:
                lines.append(line[1:])
        else:
            if lines:
                entries.append("\n".join(lines))
            lines = []
    if lines:
        entries.append("\n".join(lines))
    return entries


def _append(path: Path, content: bytes) -> int:
    """One write to the file's end; its size afterwards, in bytes."""
    handle = os.open(path, _FLAGS, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(handle, 0o600)
        if content:
            os.write(handle, content)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def _end_of(path: Path) -> bytes:
    """The last MAX_BYTES, from the beginning of a line on; nothing from a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return _read_end(file)
    except OSError:
        return b""


def _read_end(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_BYTES))
    content = file.read(MAX_BYTES)
    return content if size <= MAX_BYTES else content[content.find(b"\n") + 1 :]


def _shorten(path: Path) -> None:
    """Keeps the newest entries. Another chat that does the same at this moment is left to it."""
    new = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError, LockedError), claimed(new) as claim, path.open("rb") as old:
        if os.fstat(old.fileno()).st_size <= 2 * MAX_BYTES:
            return  # somebody has just done it
        if hasattr(os, "fchmod"):
            os.fchmod(claim.handle, 0o600)
        rest = memoryview(_read_end(old))
        while rest:
            rest = rest[os.write(claim.handle, rest) :]
        claim.move_to(path)
        if late := old.read():  # what another chat wrote meanwhile
            _append(path, late)
