"""A message that is taller than the screen, as it stays in the scrollback once it has been sent.

The editor draws one screenful and no more. So what does not fit is taken off the screen and written as lines, which
the terminal breaks and scrolls; of a message without end, its beginning and its end.
"""

from __future__ import annotations

from itertools import islice

from minichat.terminal.display import LONGEST_LINE
from minichat.terminal.rows import row_starts
from minichat.terminal.sanitize import clean

_FIRST, _NEXT = ">>> ", "... "
_TAB = 4
_CHARACTERS, _LINES = 100_000, 2000  # that are written whole


def is_tall(text: str, columns: int, rows: int) -> bool:
    r"""Whether the editor, on a screen of so many cells, has not shown all of a text when it is left.

    >>> is_tall("a\n" * 9, 80, 12), is_tall("a\n" * 19, 80, 12), is_tall("a" * 80, 20, 5)
    (False, True, True)
    """
    lines = text.split("\n")
    if len(lines) >= rows or len(text) >= columns * rows or max(map(len, lines)) > LONGEST_LINE:
        return True
    places = (line.expandtabs(_TAB) + " " for line in lines)  # behind each line there is a place for the cursor
    return sum(len(row_starts(line, columns - len(_FIRST))) for line in places) >= rows


def as_sent(text: str, columns: int, rows: int) -> str:
    r"""The lines that stand for a message in the scrollback, disarmed. Of one too long, a screenful at each end.

    >>> as_sent("one\ntwo", 80, 24)
    '>>> one\n... two\n'
    """
    if len(text) <= _CHARACTERS and text.count("\n") < _LINES:
        return _marked(text)
    cells = columns * rows // 2  # a character may take two
    head = "\n".join(islice(text[:cells].split("\n"), rows))
    tail = "\n".join(text[-cells:].split("\n")[-rows:])
    between = text[len(head) : len(text) - len(tail)]
    lines = between.count("\n")
    left_out = f"({len(between):,} more characters" + (f", in {lines:,} lines)" if lines else ")")
    return f"{_marked(head)}{left_out}\n{_NEXT}{_marked(tail).removeprefix(_FIRST)}"


def _marked(text: str) -> str:
    return _FIRST + clean(text.expandtabs(_TAB)).replace("\n", f"\n{_NEXT}") + "\n"
