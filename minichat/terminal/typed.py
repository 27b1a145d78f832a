'''What was typed, and the message that it stands for: a block between """ and """ is sent without them.

A block begins with the first thing that is typed and goes on until the last. Text that merely has such quotes in it,
as a Python file that is pasted has, is no block and is sent as it is.
'''

from __future__ import annotations

import re

QUOTES = '"""'


def is_open(text: str) -> bool:
    r'''Whether a block was begun that has not been closed: Enter then makes a new line.

    >>> is_open('"""one'), is_open('"""one\ntwo"""'), is_open('say """'), is_open('"""doc"""\nimport os')
    (True, False, False, False)
    '''
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) % 2 == 1


def message_of(text: str) -> str:
    r'''The message, without the quotes of a block and the line ends next to them. All of it can be encoded.

    A block that begins with a slash is no command, so it gets a space before it, as a person would type it.

    >>> message_of('"""\none\ntwo\n"""'), message_of('"""one"""'), message_of('"""\n/clear"""')
    ('one\ntwo', 'one', ' /clear')
    >>> message_of('"""doc"""\nx = """y"""')
    '"""doc"""\nx = """y"""'
    '''
    text = _encodable(text)
    inside = _inside(text.strip())
    if inside is None:
        return text
    inside = re.sub(r"\A[ \t]*\n|\n[ \t]*\Z", "", inside)
    return " " + inside if inside.startswith("/") else inside


def _inside(text: str) -> str | None:
    """What stands between the quotes of a block; None if there is none.

    With more than two triple quotes, those of the block must have a line to themselves: else the text is somebody's
    code that begins and ends with a string.
    """
    if len(text) < 2 * len(QUOTES) or not (text.startswith(QUOTES) and text.endswith(QUOTES)):
        return None
    lines = text.split("\n")
    has_own_line = QUOTES in (lines[0].rstrip(), lines[-1].lstrip())
    count = text.count(QUOTES)
    return text[3:-3] if count % 2 == 0 and (count == 2 or has_own_line) else None


def _encodable(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # bytes that were no UTF-8
    except UnicodeEncodeError:  # half of a character, which no keyboard types
        return text.encode("utf-8", "replace").decode()
