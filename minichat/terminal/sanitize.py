"""Text that a terminal would obey, made visible.

Models, file names and metadata may contain anything: an escape sequence can move the cursor, change the title, or type
into the shell; a bidirectional override can show a command as another one. Every character is judged alone, so a
sequence that is split over two chunks is disarmed as surely as a whole one.
"""

from __future__ import annotations

import re

# C0 but tab and newline, DEL, C1, bidirectional embeddings, overrides and isolates, lone surrogates.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LAYOUT = re.compile("[\t\n]")


def clean(text: str) -> str:
    r"""`text` with everything but newline and tab that a terminal would obey shown by a visible sign.

    >>> clean("\x1b[31mred\x07")
    '␛[31mred␇'
    >>> clean("a\u202eb\x9bc")
    'a<U+202E>b<U+009B>c'
    """
    return UNSAFE.sub(_visible, text) if UNSAFE.search(text) else text


def clean_line(text: str) -> str:
    r"""`clean`, for a place that holds one line: newlines and tabs are made visible as well.

    >>> clean_line("a\tb\n")
    'a␉b␊'
    """
    return _LAYOUT.sub(_visible, clean(text))


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # control pictures: ␀ … ␟
    if code == 0x7F:
        return "␡"
    if 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"  # half a character: it could not even be encoded
    return f"<U+{code:04X}>"
