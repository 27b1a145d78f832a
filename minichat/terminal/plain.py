"""Text as it comes: an answer into a pipe or a file, thoughts on a terminal, an answer for a screen reader."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import IO

from minichat.terminal.output import styled, write
from minichat.terminal.sanitize import clean

_SENTENCE_END = re.compile(r"""[.!?…]["'”’»)\]*_`]*\s|[。！？]["”’」』）]*|\n""")
_LONGEST_END = 8  # characters
_WORDS = re.compile(r".*\s", re.DOTALL)
_PATIENCE_S = 1.0  # a sentence that takes longer comes in parts


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


class SentenceStream:
    """Writes whole sentences, for a screen reader that would spell out a flow of tokens; `label` before the first.

    A sentence that takes longer than a second comes in parts, cut between words where there are any.
    """

    def __init__(self, stream: IO[str], label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = PlainStream(stream)
        self._label = label
        self._clock = clock
        self._held = ""
        self._since_s = 0.0  # when the first of it came

    def feed(self, text: str) -> None:
        now_s = self._clock()
        if not self._held:
            self._since_s = now_s
        searched = max(0, len(self._held) - _LONGEST_END)  # a full stop and the blank after it may come in two pieces
        self._held += text
        end = max((match.end() for match in _SENTENCE_END.finditer(self._held, searched)), default=0)
        if not end and now_s - self._since_s >= _PATIENCE_S:
            words = _WORDS.match(self._held)
            end = words.end() if words else len(self._held)
        if end:
            self._write(end)
            self._since_s = now_s

    def close(self) -> None:
        """Shows the rest; the cursor is then at the start of a line."""
        if self._held:
            self._write(len(self._held))
        self._out.close()

    def _write(self, end: int) -> None:
        self._out.feed(self._label + self._held[:end])
        self._label, self._held = "", self._held[end:]
