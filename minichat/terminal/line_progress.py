"""How far work on lines has come: one dim line on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO

from minichat.terminal.progress import StatusLine
from minichat.terminal.units import format_duration


class LineProgress:
    """`with LineProgress(total_bytes) as progress: progress.update(done_lines, read_bytes, is_new=True)`

    noun: what a line is called. total_bytes: of the input; None where nobody knows, then there is no time left to
    tell. Lines that are not new, whose answers were there before, say nothing about how fast the work is.
    """

    def __init__(
        self,
        total_bytes: int | None,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        noun: str = "line",
    ) -> None:
        self._status = StatusLine(stream or sys.stderr, clock)
        self._clock, self._total, self._noun = clock, total_bytes, noun
        self._start_s = clock()
        self._done = self._read = self._new = self._new_bytes = 0

    def __enter__(self) -> LineProgress:
        self._start_s = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def update(self, done: int, read_bytes: int, is_new: bool) -> None:
        """`done` lines are answered, and `read_bytes` of the input are behind them."""
        if is_new:
            self._new += 1
            self._new_bytes += read_bytes - self._read
        else:
            self._start_s = self._clock() if not self._new else self._start_s
        self._done, self._read = done, read_bytes
        self._status.show(self._line())

    def clear(self) -> None:
        """Takes the line away, so that something can be written in its place."""
        self._status.clear()

    def _line(self) -> str:
        took_s = self._clock() - self._start_s
        parts = [f"{self._done:,} {self._noun}{'s' * (self._done != 1)}"]
        if self._total:
            parts.append(f"{min(self._read / self._total, 1):.0%}")
        if self._new and took_s > 0:
            rate = self._new / took_s
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min")
            left = (self._total or 0) - self._read
            if left > 0 and self._new_bytes:
                parts.append(f"{format_duration(left * took_s / self._new_bytes)} left")
        return "  ".join(parts)
