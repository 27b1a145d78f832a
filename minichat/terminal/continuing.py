"""Where to go on when the first rows of a block stand above the screen already, broken for another width.

Rows are compared by their marks: the characters that say something, not blanks and not the lines of tables and
quotations, whose number depends on the width. No mark of what is taken away is missing in what stands above, so that
nothing is lost; where the Markdown was read in another way meanwhile (`**` that was closed), a few may stand twice.
"""

from __future__ import annotations

import re
from collections import Counter

_PART = re.compile("(\x1b\\[[0-9;]*m)|([^\x1b])")
_NO_MARK = re.compile("\x1b\\[[0-9;]*m|[\\s\u2500-\u259f]")  # box drawing and block elements


def marks(rows: list[str]) -> str:
    r"""
    >>> marks(["one \x1b[1mtwo\x1b[0m", "", "───", "▌ x"])
    'onetwox'
    """
    return "".join(_NO_MARK.sub("", row) for row in rows)


def rest(rows: list[str], above: str) -> tuple[list[str], str]:
    r"""`rows` without what begins them and stands above (`above` are its marks), and the marks that go beyond `rows`.

    >>> rest(["one two", "\x1b[1mthree four\x1b[0m", "five"], "onetwothree")
    (['\x1b[1mfour\x1b[0m', 'five'], '')
    >>> rest(["one two"], "onetwothree")
    ([], 'three')
    """
    if not above:
        return rows, ""
    count = max(_in_order(rows, above), _whole_rows(rows, above))
    for n, row in enumerate(rows):
        found = len(marks([row]))
        if found > count or not count:
            return [_without(row, count), *rows[n + 1 :]], ""
        count -= found
    return [], above[len(marks(rows)) :]


def _in_order(rows: list[str], above: str) -> int:
    """How many marks of `rows` come one after the other in `above`, between whatever else is there."""
    count, at = 0, 0
    for mark in marks(rows):
        at = above.find(mark, at) + 1
        if not at:
            break
        count += 1
    return count


def _whole_rows(rows: list[str], above: str) -> int:
    """The marks of the first rows that `above` holds in any order: cells of a table are broken beside one another."""
    left, count, whole = Counter(above), 0, 0
    for row in rows:
        held = marks([row])
        left.subtract(held)
        if any(left[mark] < 0 for mark in held):
            break
        count += len(held)
        whole = count
    return whole


def _without(row: str, count: int) -> str:
    """A row without its first marks and the blanks after them; its styles stay."""
    if not count:
        return row
    kept = ""
    for part in _PART.finditer(row):
        style, char = part.groups()
        if style:
            kept += style
        elif count:
            count -= not _NO_MARK.match(char)
        elif not char.isspace():
            return kept + row[part.start() :]
    return kept
