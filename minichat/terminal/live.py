"""Rows at the bottom of the screen: some printed for good, the last ones redrawn until they are good as well.

A row is a string with colours that ends as it began, in no style, and is no wider than the screen. An update rewrites
from the first row that changed, in one write, so that nothing flickers: what stays is not touched.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

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
    """The cursor stands in the last live row, or, if there is none, at the start of an empty line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: list[str] = []  # the rows on the screen that may still change
        self._width = console.size.width

    def update(self, final: list[str], live: list[str], width: int) -> bool:
        """Puts `final`, for good, and then `live` in the place of the live rows before.

        Of `live` only the end is shown, as much as the screen holds. `width` is what the rows were made for: if the
        screen has another one by now, nothing is drawn, and the answer is False.
        """
        size = self._console.size
        live = live[-max(size.height - 1, 1) :]
        before = self._rows_before(size.width, size.height)
        same = 0
        if width == self._width and before == len(self._live):
            most = min(before, len(final) + len(live)) - 1  # the last one anew: the cursor ends in it
            for row in (final + live)[: max(most, 0)]:
                # A live row was cut where the terminal thought it wider than we do: for good, it has to be whole.
                if row != self._live[same] or (same < len(final) and not row.isascii()):
                    break
                same += 1
        rows = final[same:], live[max(0, same - len(final)) :]
        sequence = _sequence(*rows, before - same, width) if final or live or before else ""
        if self._console.size != size or size.width != width:
            return False
        if sequence:
            write(self._console.file, sequence)
        # Rows that were under way when the screen was resized may have been cut: then all of them come anew.
        self._live, self._width = live, width if self._console.size == size else 0
        return True

    def _rows_before(self, width: int, height: int) -> int:
        """How many rows of the screen the live rows take now. Most terminals break them anew when they get narrower.

        What has left the screen that way stays in the scrollback, and comes once more when it is good: better twice
        than not at all.
        """
        if width >= self._width or not _breaks_anew(os.environ):
            count = len(self._live)
        else:
            count = sum(max(1, -(-row_cells(row) // width)) for row in self._live)
        return min(count, height)


def _breaks_anew(environment: Mapping[str, str]) -> bool:
    """Whether the terminal breaks rows anew when it gets narrower, rather than cut them.

    >>> _breaks_anew({"TERM": "xterm-256color"}), _breaks_anew({"TERM": "linux"})
    (True, False)
    """
    if environment.get("TMUX"):
        return True
    return not environment.get("XTERM_VERSION") and not environment.get("TERM", "").startswith(("linux", "screen"))


def _sequence(final: list[str], live: list[str], before: int, width: int) -> str:
    """What draws `final` and `live` over the last `before` rows, the cursor being in the last of them."""
    parts = ["\r"]
    if before > 1:
        parts.append(f"\x1b[{before - 1}A")
    if before > len(final) + len(live):
        parts.append("\x1b[J")
    drawn = [_drawn(row, width, "\x1b[J") for row in final] + [_drawn(row, width, "\x1b[K") for row in live]
    parts += [row + "\n" for row in drawn[: len(final)]]
    if live:
        # A row that the terminal thinks wider than we do is cut for now, lest we lose count of the rows.
        parts += ["\x1b[?7l", "\n".join(drawn[len(final) :]), "\x1b[?7h"]
    return "".join(parts)


def _drawn(row: str, width: int, erase: str) -> str:
    """A row, and what takes away the rest of the one that was there.

    After a full row the cursor is still in its last cell, which erasing behind it would take with it. And a terminal
    may think a row full, or even break it, that we do not (emoji): where that may be, `erase` comes first.
    """
    if not row.isascii():
        return erase + row
    return row + "\x1b[K" * (row_cells(row) < width)
