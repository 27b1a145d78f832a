"""How far long work has come, on stderr: a moving line on a terminal, now and then a line in a pipe.

One line that is redrawn in place: it must not cost the prompt's start an import of rich's own progress bars.

Work goes on when nobody can be shown it any more: a terminal that went away or a log on a full disk (any OSError but a
BrokenPipeError, which says that whoever reads has left) is written to no more.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO

from minichat.terminal.output import columns, is_accessible, is_moving, is_terminal, say, styled, write
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_bytes, format_duration

_REDRAW_S = 0.1
_PIPE_S = 10.0  # between two lines in a pipe
_WINDOW_S = 15.0  # the rate is that of the last seconds
_WORTH_TELLING_S = 2.0
_BETWEEN_LINES_S = 15.0  # where they stay
_BAR_CELLS = 24
_LEAST_TITLE = 16  # cells of it that say what is going on


class _Writer:
    """A stream that is written to until it fails. BrokenPipeError is passed on."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream: IO[str] | None = stream

    def write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            write(self._stream, text)
        except BrokenPipeError:
            raise
        except OSError:
            self._stream = None


class StatusLine:
    """A dim line that is there while something lasts, and then gone. Nothing at all where no person reads it.

    plain: the line does not move, for a screen reader, as on a terminal that cannot move its cursor: what lasts long
    gets a line that stays, and now and then another one.
    """

    def __init__(
        self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic, plain: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._writer = _Writer(self._stream)
        self._clock = clock
        self.moves = is_moving(self._stream) and not plain and not is_accessible()
        self._tells = is_terminal(self._stream) and not self.moves
        self._told_s: float | None = None  # when the last line that stays was written, or would have been too early
        self._shown = ""
        self._next_s = 0.0

    def show(self, text: str) -> None:
        """Puts `text` in the place of the line before; a change too soon after the last one is left out."""
        now = self._clock()
        if self._tells:
            self._tell(text, now)
        elif self.moves and text != self._shown and not (self._shown and now < self._next_s):
            self._draw(text, now)

    def clear(self) -> None:
        self._told_s = None
        if self._shown:
            self._writer.write("\r\x1b[K")
            self._shown = ""

    def _tell(self, text: str, now: float) -> None:
        if self._told_s is None:
            self._told_s = now - _BETWEEN_LINES_S + _WORTH_TELLING_S
        elif now - self._told_s >= _BETWEEN_LINES_S:
            self._writer.write(f"({clean_line(text)})\n")
            self._told_s = now

    def _draw(self, text: str, now: float) -> None:
        from rich.cells import set_cell_size

        self._next_s = now + _REDRAW_S
        line = clean_line(text)
        width = columns(self._stream) - 1
        line = set_cell_size(line, width).rstrip() if len(line) * 2 > width else line
        self._writer.write("\r" + styled(self._stream, line, "dim") + "\x1b[K")
        self._shown = text


class WorkProgress:
    """`with WorkProgress("converting demo to q4_K_M") as progress: progress.update(done_bytes, total_bytes, "blk.0…")`

    Work that took long enough to be worth telling ends with a line that says how much it was and how long it took.
    """

    def __init__(self, title: str, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = clean_line(title)
        self._stream = stream or sys.stderr
        self._writer = _Writer(self._stream)
        self._clock = clock
        self._status = StatusLine(self._stream, clock)
        self._moves = self._status.moves
        self._start_s = self._said_s = clock()
        self._said = False
        self._samples: deque[tuple[float, int]] = deque()
        self._done = self._found = 0

    @staticmethod
    def note(text: str) -> None:
        """A remark on a line of its own, before the work begins or after it."""
        try:
            say(text, "dim", stream=sys.stderr)
        except BrokenPipeError:
            raise
        except OSError:
            pass

    def __enter__(self) -> WorkProgress:
        self._start_s = self._said_s = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.clear()
        took_s = self._clock() - self._start_s
        done = self._done - self._found
        if kind is None and done and (self._said or (self._moves and took_s >= _WORTH_TELLING_S)):
            rate = f" ({format_bytes(done / took_s)}/s)" if took_s > 0 else ""
            self._writer.write(f"{self._title}: {format_bytes(done)} in {format_duration(took_s)}{rate}\n")

    def found(self, done_bytes: int, total_bytes: int, detail: str = "") -> None:
        """As `update`, with what was there before: rate and time left are told of what comes after it."""
        self._samples.clear()
        self._found = done_bytes
        self.update(done_bytes, total_bytes, detail)

    def update(self, done_bytes: int, total_bytes: int, detail: str = "") -> None:
        """May be called as often as you like. Without a total, only the title is shown."""
        now = self._clock()
        self._done = done_bytes
        if not self._samples or now - self._samples[-1][0] >= _REDRAW_S:
            self._samples.append((now, done_bytes))
            while now - self._samples[0][0] > _WINDOW_S:
                self._samples.popleft()
        if self._moves:
            self._status.show(self._line(done_bytes, total_bytes, detail, columns(self._stream) - 1))
        elif now - self._said_s >= _PIPE_S:
            self._writer.write(self._line(done_bytes, total_bytes, "", 200, bar=False) + "\n")
            self._said_s, self._said = now, True

    def _line(self, done: int, total: int, detail: str, width: int, *, bar: bool = True) -> str:
        """As much as fits. The detail goes first, then the bar, the title's end, the sizes, the rate, the time left."""
        from rich.cells import cell_len

        if total <= 0:
            return _cut(self._title, width)
        share = min(done / total, 1.0)
        rate = self._rate()
        left = format_duration((total - done) / rate) + " left" if rate > 0 and total > done else ""
        full = int(share * _BAR_CELLS)
        parts = {
            "bar": "━" * full + "╌" * (_BAR_CELLS - full) if bar else "",
            "share": f"{share:.0%}",
            "sizes": f"{format_bytes(done)} of {format_bytes(total)}",
            "rate": f"{format_bytes(rate)}/s" if rate > 0 else "",
            "left": left,
            "detail": clean_line(detail),
        }
        for name in ("", "detail", "bar", "sizes", "rate", "left"):
            parts.pop(name, None)
            rest = "  ".join(part for part in parts.values() if part)
            room = width - cell_len(rest) - 2
            if room >= cell_len(self._title) or ("bar" not in parts and room >= _LEAST_TITLE):
                break
        return f"{_cut(self._title, room)}  {rest}".strip()

    def _rate(self) -> float:
        """Bytes a second over the last seconds; 0 while that is not known."""
        if len(self._samples) < 2:
            return 0.0
        (start_s, before), (end_s, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end_s - start_s)


def _cut(text: str, cells: int) -> str:
    """
    >>> _cut("converting a long name", 12), _cut("short", 12), _cut("short", 1)
    ('converting …', 'short', '')
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1) + "…" if cells > 1 else ""
