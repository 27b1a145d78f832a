"""What was typed before, for prompt_toolkit: the entries of the file, and those of this chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prompt_toolkit.history import History

from minichat.terminal.history_file import HistoryFile, open_file

if TYPE_CHECKING:
    from pathlib import Path


class TypedHistory(History):
    """In memory where there is no file. A message that was typed and not sent is there as long as the chat lasts."""

    def __init__(self, file: HistoryFile | None) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterator[str]:
        """The entries, the newest first."""
        return reversed(self._file.entries() if self._file is not None else [])

    def store_string(self, string: str) -> None:
        if self._file is not None:
            self._file.add(string)

    def remember(self, string: str) -> None:
        if string.strip() and self._loaded_strings[:1] != [string]:
            self._loaded_strings.insert(0, string)


def open_history(path: Path | None) -> TypedHistory:
    """History in a file that only its owner may read; in memory where there is no such place."""
    return TypedHistory(open_file(path))
