"""Text as it comes: an answer into a pipe or a file, a model's thoughts on a terminal."""

from __future__ import annotations

from typing import IO

from minichat.terminal.output import styled, write
from minichat.terminal.sanitize import clean


class PlainStream:
    """Writes and flushes each piece, in some `styles` where the stream can show them. BrokenPipeError is passed on."""

    def __init__(self, stream: IO[str], *styles: str) -> None:
        self._stream, self._styles = stream, styles
        self._last = "\n"

    def feed(self, text: str) -> None:
        if text:
            write(self._stream, styled(self._stream, clean(text), *self._styles) if self._styles else clean(text))
            self._last = text[-1]

    def close(self) -> None:
        """Ends the last line, if the answer did not."""
        if self._last != "\n":
            write(self._stream, "\n")
            self._last = "\n"
