"""An answer into a pipe or a file: its text as it comes, and nothing else."""

from __future__ import annotations

from typing import IO

from minichat.terminal.output import write
from minichat.terminal.sanitize import clean


class PlainStream:
    """Writes and flushes each piece. BrokenPipeError is passed on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._last = "\n"

    def feed(self, text: str) -> None:
        if text:
            write(self._stream, clean(text))
            self._last = text[-1]

    def close(self) -> None:
        """Ends the last line, if the answer did not."""
        if self._last != "\n":
            write(self._stream, "\n")
            self._last = "\n"
