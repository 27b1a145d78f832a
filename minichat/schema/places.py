"""Places in a schema, and errors that name them.

A place is a JSON Pointer in a fragment (RFC 6901, section 6, left readable): `#/properties/age`.
"""

from __future__ import annotations

from typing import NoReturn

from quant.errors import SchemaError

_SHOWN = 60  # characters


def below(place: str, *keys: str | int) -> str:
    """The place of a value inside another.

    >>> below("#", "properties", "a/b")
    '#/properties/a~1b'
    """
    return "/".join([place, *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)])


def shown(text: str, limit: int = _SHOWN) -> str:
    """A text from outside, on one line and not too long.

    >>> shown("a" * 100, 10), shown("two\\nlines")
    ('aaaaaaaaa…', 'two lines')
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def refuse(place: str, why: str) -> NoReturn:
    """Raises SchemaError: `at #/properties/age: 'not' is not supported`."""
    raise SchemaError(f"at {shown(place, 160)}: {why}")
