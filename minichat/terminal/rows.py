"""Up and down in text that is wrapped: by the rows that are seen, not by the lines that were typed."""

from __future__ import annotations

from bisect import bisect_right

from prompt_toolkit.utils import get_cwidth


def row_starts(line: str, columns: int) -> list[int]:
    """The character that each row of a line begins with, in rows of `columns` cells.

    >>> row_starts("abcdef", 4), row_starts("日本語", 5), row_starts("", 4)
    ([0, 4], [0, 2], [0])
    """
    starts, used = [0], 0
    for index, char in enumerate(line):
        width = get_cwidth(char)
        if used + width > max(columns, 2):
            starts.append(index)
            used = 0
        used += width
    return starts


def move(text: str, cursor: int, columns: int, rows: int, cell: int | None = None) -> tuple[int, int] | None:
    r"""Where the cursor stands one row up (`rows` -1) or down (1), and the cell it aims at; None beyond the text.

    cell: what the last move aimed at, so that a way through short rows keeps to its column.

    >>> move("abcdefgh\nxy", 5, 4, -1), move("abcdefgh\nxy", 7, 4, 1), move("ab", 1, 4, 1)
    ((1, 1), (11, 3), None)
    """
    begin = text.rfind("\n", 0, cursor) + 1
    line = _line(text, begin)
    starts = row_starts(line, columns)
    row = bisect_right(starts, cursor - begin) - 1
    if cell is None:
        cell = get_cwidth(line[starts[row] : cursor - begin])
    row += rows
    if row < 0:
        if begin == 0:
            return None
        begin = text.rfind("\n", 0, begin - 1) + 1
        line = _line(text, begin)
        starts = row_starts(line, columns)
        row = len(starts) - 1
    elif row == len(starts):
        begin += len(line) + 1
        if begin > len(text):
            return None
        line = _line(text, begin)
        starts, row = row_starts(line, columns), 0
    return begin + _column(line, starts, row, cell), cell


def _line(text: str, begin: int) -> str:
    end = text.find("\n", begin)
    return text[begin:] if end < 0 else text[begin:end]


def _column(line: str, starts: list[int], row: int, cell: int) -> int:
    """The character of a row that covers `cell`; in a row that goes on, never the place after its last."""
    is_last = row + 1 == len(starts)
    end = len(line) if is_last else starts[row + 1] - 1
    column, used = starts[row], 0
    while column < end and used + (width := get_cwidth(line[column])) <= cell:
        used += width
        column += 1
    return column
