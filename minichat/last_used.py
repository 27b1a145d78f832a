"""When models were last used: FOLDER/mistral-small@24b-q4_k_m, an empty file each, whose time it is.

Nothing here is needed: what cannot be written or read is not known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

from minichat.folders import listed, unlink


class LastUsed:
    """The records in one folder, by the key of a model's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def touch(self, key: str) -> None:
        """Writes down that a model is being used now, if that can be written."""
        path = self.folder / key
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with contextlib.suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            os.close(os.open(path, flags, 0o666))
            os.utime(path)

    def when(self, key: str) -> datetime | None:
        """When a model was last used; None if that is not known."""
        try:
            return datetime.fromtimestamp((self.folder / key).lstat().st_mtime, timezone.utc)
        except (OSError, ValueError, OverflowError):
            return None

    def forget(self, key: str) -> None:
        with contextlib.suppress(OSError):
            unlink(self.folder / key)

    def keep(self, keys: Collection[str]) -> None:
        """Removes the records of all other models. OSError passes."""
        for record in listed(self.folder):
            if record.name not in keys:
                unlink(record)
