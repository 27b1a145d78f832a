"""Rows at the bottom of the screen: some printed for good, the last ones redrawn until they are good as well.

A row is a string with colours that ends as it began, in no style, and is no wider than the screen. An update rewrites
from the first row that changed, in one write, so that nothing flickers: what stays is not touched.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from minichat.terminal.continuing import marks, rest
from minichat.terminal.output import write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_SGR = re.compile("\x1b\\[[0-9;]*m")


def row_cells(row: str) -> int:
    """Width on the screen, in cells."""
    from rich.cells import cell_len

    return cell_len(_SGR.sub("", row))


class LiveArea:
    """The cursor stands in the last live row, or, if there is none, at the start of an empty line.

    Each live row is a line of its own to the terminal, so how many rows of the screen it takes follows from the size
    that the screen has now, whatever sizes it had since. Rows that a smaller screen pushed out at the top cannot be
    taken back: they stay as they are, and what comes next goes on behind them.

    Two things cannot be known. A screen that is resized between the last look at its size and the moment in which it
    draws (microseconds, as the look comes right before the write; but tmux, while a window is dragged, tells a size up
    to a quarter of a second late) moves the cursor to a wrong row: when it got narrower, rows of the unfinished block
    stay above it and come again; when it got wider right after it had got narrower, rows above it may be drawn over.
    And of a block that is higher than the screen, only the end is live: the rows of it that a smaller screen pushes out
    come again, as those before them had not been printed yet.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: list[str] = []  # the rows on the screen that may still change
        self._is_whole = True  # whether they are all that is unfinished, not only the end of it
        self._width = console.size.width
        self._above = ""  # the marks of what is unfinished and stands above the live rows for good

    def update(self, final: list[str], live: list[str], width: int, is_whole: bool = True) -> bool:
        """Puts `final`, for good, and then `live` in the place of the live rows before.

        Of `live` only the end is shown, as much as the screen holds; is_whole: it begins where `final` ends. `width` is
        what the rows were made for: if the screen has another one by now, nothing is drawn, and the answer is False.
        """
        size = self._console.size
        if size.width != width:
            return False
        kept, before, above = self._on_screen(size.width, size.height)
        starts_below = bool(self._live) and not before
        if final:
            final, above = rest(final, above)
        if is_whole:
            live, _ = rest(live, above)
        room = max(size.height - 1, 1)
        if above and is_whole and len(live) > room:  # what stands above cannot change any more: no need to wait
            final, live, above = final + live[:-room], live[-room:], above + marks(live[:-room])
        shown = live[-room:]
        same = 0
        as_drawn = width == self._width and before == len(kept)
        if as_drawn:
            most = min(before, len(final) + len(shown)) - 1  # the last one anew: the cursor ends in it
            for row in (final + shown)[: max(most, 0)]:
                # A live row was cut where the terminal thought it wider than we do: for good, it has to be whole.
                if row != kept[same] or (same < len(final) and not row.isascii()):
                    break
                same += 1
        rows = final[same:], shown[max(0, same - len(final)) :]
        sequence = "\n" if starts_below else ""
        if final or shown or before:
            sequence += _sequence(*rows, before - same, width, not as_drawn)
        if self._console.size != size:
            return False
        if sequence:
            write(self._console.file, sequence)
        self._live, self._is_whole, self._above = shown, is_whole and shown == live, above
        # Rows that were under way when the screen was resized may have been cut: then all of them come anew.
        self._width = width if self._console.size == size else 0
        return True

    def _on_screen(self, width: int, height: int) -> tuple[list[str], int, str]:
        """The live rows that are all on the screen, how many rows of it they take, and the marks of all above them.

        Most terminals break rows anew when they get narrower; some cut them.
        """
        breaks, below = _breaks_anew(os.environ), 0
        for n in range(len(self._live) - 1, -1, -1):
            count = rows_of(self._live[n], width) if breaks else 1
            if below + count > height:
                if not self._is_whole:
                    return self._live[n + 1 :], height, self._above
                return self._live[n + 1 :], below, self._above + marks(self._live[: n + 1])
            below += count
        return self._live, below, self._above


def rows_of(row: str, width: int) -> int:
    """How many rows of the screen a row takes where it is broken; a wide character is never cut in two.

    >>> rows_of("a" * 80, 40), rows_of("a" * 81, 40), rows_of("日本", 3), rows_of("", 40)
    (2, 3, 2, 1)
    """
    cells = row_cells(row)
    if cells <= width or row.isascii():
        return max(1, -(-cells // width))
    from rich.cells import cell_len

    count, used = 1, 0
    for char in _SGR.sub("", row):
        cells = cell_len(char)
        if used + cells > width:
            count, used = count + 1, 0
        used += cells
    return count


def _breaks_anew(environment: Mapping[str, str]) -> bool:
    """Whether the terminal breaks rows anew when it gets narrower, rather than cut them.

    >>> _breaks_anew({"TERM": "xterm-256color"}), _breaks_anew({"TERM": "linux"})
    (True, False)
    """
    if environment.get("TMUX"):
        return True
    return not environment.get("XTERM_VERSION") and not environment.get("TERM", "").startswith(("linux", "screen"))


def _sequence(final: list[str], live: list[str], before: int, width: int, is_broken: bool) -> str:
    """What draws `final` and `live` over the last `before` rows, the cursor being in the last of them.

    is_broken: the terminal may have broken those. tmux remembers of a row that it goes on in the next one until the
    whole of it is erased, and would join the two, whatever was written over them.
    """
    parts = ["\r"]
    if before > 1:
        parts.append(f"\x1b[{before - 1}A")
    if is_broken or before > len(final) + len(live):
        parts.append("\x1b[J")
    drawn = [_drawn(row, width, "\x1b[J") for row in final] + [_drawn(row, width, "\x1b[K") for row in live]
    parts += [row + "\n" for row in drawn[: len(final)]]
    for n, row in enumerate(drawn[len(final) :]):
        parts.append("\n" * (n > 0))
        # A row that the terminal thinks wider than we do is cut for now, lest we lose count of the rows. Others
        # are not: a screen that has just got narrower breaks them, as it does with those that it had before.
        parts.append(row if row.isascii() else f"\x1b[?7l{row}\x1b[?7h")
    return "".join(parts)


def _drawn(row: str, width: int, erase: str) -> str:
    """A row, and what takes away the rest of the one that was there.

    After a full row the cursor is still in its last cell, which erasing behind it would take with it. And a terminal
    may think a row full, or even break it, that we do not (emoji): where that may be, `erase` comes first.
    """
    if not row.isascii():
        return erase + row
    return row + "\x1b[K" * (row_cells(row) < width)
