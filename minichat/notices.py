"""The lines that licences want to travel with every copy, beside the models: ROOT/NOTICE.

It is written anew at each change of names, by whoever may change them. Each file carries its notice, too, so that a
NOTICE that cannot be written is no obstacle: the next change writes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from convert.publish import hidden_name, published
from minichat.folders import read_plain
from minichat.manifest import Manifest
from minichat.names import Names
from minichat.terminal.sanitize import clean_line
from quant.errors import StorageError


class Notices:
    """The file of a store whose folder is `root`; to be written by who is inside `Store.changing`."""

    def __init__(self, root: Path, names: Names) -> None:
        self.path = root / "NOTICE"
        self._names = names

    def write(self) -> None:
        """The notices, each with the models that it is of; no file if no model has one.

        Never raises: what was changed is changed all the same.
        """
        with contextlib.suppress(OSError, StorageError):
            text = notice_text(self._names.models()).encode()
            if not text:
                self.path.unlink(missing_ok=True)
            elif not self._holds(text):
                with published(self.path) as out:
                    out.write(text)

    def half_written(self) -> list[Path]:
        """What a killed process was writing."""
        part = hidden_name(self.path, "part")
        return [part] if os.path.lexists(part) else []

    def _holds(self, text: bytes) -> bool:
        try:
            return read_plain(self.path, len(text) + 1) == text
        except OSError:
            return False


def notice_text(models: Iterable[Manifest]) -> str:
    """What the file says; nothing if no model has a notice."""
    by_notice: dict[str, list[str]] = {}
    for model in models:
        if model.notice:
            files = ", ".join(f"blobs/{kept.blob}" for kept in model.files)
            by_notice.setdefault(clean_line(model.notice), []).append(f"    {model.full_name}  {files}\n")
    return "\n".join("".join((f"{notice}\n\n", *sorted(names))) for notice, names in sorted(by_notice.items()))
