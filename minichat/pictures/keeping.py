"""The pictures of the conversations that are kept: FOLDER/<sha256 of the bytes>, once each, beside the sessions.

With them a session goes on though the files that were attached are gone, or are others by now. They tell as much as the
session itself does: the folder is the user's alone (0700), and so is each file (0600). One that no session names any
more goes with the last session that did, or with `minichat prune`.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minichat.folders import listed, unlink
from quant.errors import StorageError

_NAME = re.compile(r"[0-9a-f]{64}")
_SOURCE = re.compile(rb"picture:([0-9a-f]{64})")
_PART = ".part"
_YOUNG_S = 3600  # so long a session may not have been written yet that names it


@dataclass(frozen=True)
class KeptPicture:
    """One file. digest: "" for one that was never finished. changed_s: since 1970."""

    digest: str
    path: Path
    size_bytes: int
    changed_s: float

    @property
    def is_young(self) -> bool:
        """Whether a chat may be about to name it."""
        return time.time() - self.changed_s < _YOUNG_S


class KeptPictures:
    """The pictures in one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def among(cls, sessions: Path) -> KeptPictures:
        """Those of the sessions in that folder."""
        return cls(sessions / "pictures")

    def path_of(self, digest: str) -> Path:
        """Where the bytes of that hash are, or would be."""
        return self.folder / digest

    def keep(self, digest: str, content: bytes) -> None:
        """Keeps the bytes of that hash; they are not written again if they are there. Raises StorageError."""
        path = self.path_of(digest)
        try:
            if path.is_file() and path.read_bytes() == content:
                os.utime(path)  # young again: the session that is to name it now is yet to be written
                return
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(_PART, digest, self.folder)  # 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(part, path)  # noqa: PTH105
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(f"a picture cannot be kept in {self.folder}: {error.strerror or error}") from error

    def all(self) -> list[KeptPicture]:
        """What is in the folder, by name; also what was never finished. Other files are left alone."""
        found = []
        with suppress(OSError):
            for path in listed(self.folder):
                is_whole = _NAME.fullmatch(path.name) is not None
                if is_whole or path.name.endswith(_PART):
                    with suppress(OSError):
                        status = path.lstat()
                        digest = path.name if is_whole else ""
                        found.append(KeptPicture(digest, path, status.st_size, status.st_mtime))
        return found

    def remove(self, digests: Iterable[str]) -> None:
        """Removes pictures; those that are not there, or cannot be removed, are passed over."""
        for digest in digests:
            with suppress(OSError):
                unlink(self.path_of(digest))


def named_in(content: bytes) -> set[str]:
    """The hashes of the pictures that a session's file names.

    >>> named_in(b'{"source": "picture:' + b"0f" * 32 + b'/cat.png"}') == {"0f" * 32}
    True
    """
    return {match.decode("ascii") for match in _SOURCE.findall(content)}
