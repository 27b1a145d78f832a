"""A terminal in memory: just the sequences that minichat sends, anything else is an error."""

from __future__ import annotations

import io
import re

from rich.cells import cell_len

_TOKEN = re.compile("\x1b\\[(\\??[0-9;]*)([A-Za-z])|([^\x1b])", re.DOTALL)


class Screen(io.TextIOBase):
    """`rows` holds the scrollback and the screen, each row a list of cells (character, style); wide ones take two."""

    encoding = "utf-8"

    def __init__(self, width: int, height: int, tty: bool = True) -> None:
        self.width, self.height, self.tty = width, height, tty
        self.rows: list[list[tuple[str, str]]] = [[]]
        self.top = self.y = self.x = 0  # first row on the screen; the cursor, y in `rows`
        self.style = ""
        self.wraps = True

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            assert match, f"an unknown sequence: {text[at : at + 10]!r}"
            at = match.end()
            if match[3]:
                self._put(match[3])
            else:
                self._obey(match[1], match[2])
        return len(text)

    def text(self) -> list[str]:
        """All rows without blanks at their ends, and without empty rows after the last one."""
        lines = ["".join(char for char, _ in row).rstrip() for row in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def styled(self) -> list[list[tuple[str, str]]]:
        """All rows as cells, without plain blanks at their ends."""
        rows = []
        for row in self.rows:
            cells = [cell for cell in row if cell[0]]
            while cells and cells[-1] == (" ", ""):
                cells.pop()
            rows.append(cells)
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def resize(self, width: int, height: int) -> None:
        """As terminals do that break long rows anew; a row that was broken is not joined again."""
        rows: list[list[tuple[str, str]]] = []
        for y, row in enumerate(self.rows):
            if y == self.y:
                cursor = (len(rows), self.x)
            while True:
                end = width - 1 if len(row) > width and not row[width][0] else width
                rows.append(row[:end])
                row = row[end:]
                if not row:
                    break
        y, x = cursor
        self.y, self.x = y + max(0, x - 1) // width, (x - 1) % width + 1 if x else 0
        self.rows, self.width, self.height = rows, width, height
        self.top = max(0, len(rows) - height)

    def _put(self, char: str) -> None:
        if char == "\n":
            self._down()
            self.x = 0
        elif char == "\r":
            self.x = 0
        else:
            assert char >= " " and char != "\x7f", f"a control character: {char!r}"
            cells = cell_len(char)
            row = self.rows[self.y]
            if not cells:  # joins the one before
                if row and self.x:
                    row[self.x - 1] = (row[self.x - 1][0] + char, row[self.x - 1][1])
                return
            if self.x + cells > self.width:
                if self.wraps:
                    self._down()
                    self.x = 0
                else:
                    self.x = self.width - cells
            row = self.rows[self.y]
            row.extend([(" ", "")] * (self.x - len(row)))
            row[self.x : self.x + cells] = [(char, self.style), *[("", "")] * (cells - 1)]
            self.x += cells

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append([])
        self.top = max(self.top, self.y - self.height + 1)

    def _obey(self, arguments: str, final: str) -> None:
        match final, arguments:
            case "m", "0":
                self.style = ""
            case "m", _:
                self.style += f";{arguments}"
            case "A", _:
                self.y = max(self.top, self.y - int(arguments))
            case "K", "":
                del self.rows[self.y][min(self.x, self.width - 1) :]
            case "J", "":
                del self.rows[self.y][min(self.x, self.width - 1) :]
                del self.rows[self.y + 1 :]
            case "l" | "h", "?7":
                self.wraps = final == "h"
            case _:
                raise AssertionError(f"an unknown sequence: ESC [ {arguments} {final}")
