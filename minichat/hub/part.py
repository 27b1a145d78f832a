"""What is on the disk of a large file that is being fetched: a part, and a note of what it is a beginning of.

The note is written before the first byte, so that bytes of two contents never meet in one part.
"""

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from minichat.hub.listing import RemoteFile


def discard(part: Path) -> None:
    """Removes a part of `download` and its note. OSError is ignored: what cannot be removed is found later."""
    for path in (part, _note_of(part)):
        with contextlib.suppress(OSError):
            path.unlink()


class Digest:
    """The hashes of a content as it comes, to be compared with what the hub told."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._n_bytes = 0
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.sha256 is None and file.git_oid is not None:
            self._git = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._n_bytes += len(data)
        self._sha256.update(data)
        if self._git is not None:
            self._git.update(data)

    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def fits(self) -> bool:
        """Whether it is the content that was looked up, as far as the hub has told of it."""
        file = self._file
        if self._git is not None and self._git.hexdigest() != file.git_oid:
            return False
        return self._n_bytes == file.size_bytes and file.sha256 in (None, self.sha256())


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def open_part(part: Path, file: RemoteFile) -> int:
    """The part, open for reading and for writing at its end. A part of another content is emptied first."""
    content = {"size_bytes": file.size_bytes, "sha256": file.sha256, "git_oid": file.git_oid}
    note = _note_of(part)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    if not _is_of(part, content):
        flags |= os.O_TRUNC
        discard(part)
        beside = note.with_name(note.name + ".new")
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(note)
    return os.open(part, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_of(part: Path, content: dict[str, Any]) -> bool:
    """Whether `part` is a beginning of `content`, as the note beside it says. Without any hash nobody could tell."""
    try:
        status = part.lstat()
        note = _note_of(part).read_bytes()[:4096]
        is_noted = json.loads(note) == content and (content["sha256"] or content["git_oid"])
    except (OSError, ValueError, RecursionError):
        return False
    return bool(is_noted) and stat.S_ISREG(status.st_mode) and status.st_size <= content["size_bytes"]


def write_all(handle: int, data: bytes) -> None:
    """OSError if it finds no place."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
