"""Pixels as sixels, the pictures of DEC's terminals: bands of six rows, for each colour in one the dots that have it.

The colours are 252 that never change, 6 x 7 x 6 levels of red, green and blue, with ordered dithering between them: a
small picture needs no better, and no library.
"""

from __future__ import annotations

import re

_LEVELS = (6, 7, 6)  # of red, green, blue; the eye sees green best
_BAYER = ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5))
_RUN = re.compile(r"(.)\1{3,}")
_LETTERS = bytes((63 + value) % 256 for value in range(256))


def sixels(width: int, height: int, rgb: bytes) -> str:
    """The sequence that draws a picture with its upper left corner at the cursor. rgb: height x width x 3 bytes.

    Where the cursor is afterwards differs between terminals.

    >>> sixels(1, 1, bytes([255, 255, 255])).encode()
    b'\\x1bP0;1;0q"1;1;1;1#251;2;100;100;100#251@\\x1b\\\\'
    """
    bands, tables = [], _tables()
    used: set[int] = set()
    for top in range(0, height, 6):
        colours = _band(width, rgb[3 * width * top : 3 * width * min(top + 6, height)], top, tables)
        used.update(colours)
        bands.append("$".join(f"#{colour}{_packed(colours[colour])}" for colour in sorted(colours)))
    palette = "".join(map(_definition, sorted(used)))
    return f'\x1bP0;1;0q"1;1;{width};{height}{palette}{"-".join(bands)}\x1b\\'


def _band(width: int, rgb: bytes, top: int, tables: list[list[bytes]]) -> dict[int, bytearray]:
    """For each colour in up to six rows, the dots that have it: of each column a bit for each row, the first lowest."""
    colours: dict[int, bytearray] = {}
    _, greens, blues = _LEVELS
    for row in range(len(rgb) // (3 * width)):
        line = rgb[3 * width * row : 3 * width * (row + 1)]
        bit = 1 << row
        for phase in range(4):  # the columns that share a threshold
            table = tables[_BAYER[(top + row) % 4][phase]]
            red, green, blue = (line[3 * phase + n :: 12].translate(table[n]) for n in range(3))
            for place, (r, g, b) in enumerate(zip(red, green, blue, strict=True)):
                colour = (r * greens + g) * blues + b
                dots = colours.get(colour)
                if dots is None:
                    dots = colours[colour] = bytearray(width)
                dots[4 * place + phase] |= bit
    return colours


def _tables() -> list[list[bytes]]:
    """For each of the 16 thresholds, and each of red, green and blue, the level that a byte becomes."""
    return [
        [
            bytes(min((32 * value * (n - 1) + 255 * (2 * threshold + 1)) // 8160, n - 1) for value in range(256))
            for n in _LEVELS
        ]
        for threshold in range(16)
    ]


def _definition(colour: int) -> str:
    """A colour in percent of red, green and blue."""
    rest, blue = divmod(colour, _LEVELS[2])
    red, green = divmod(rest, _LEVELS[1])
    parts = (round(100 * level / (n - 1)) for level, n in zip((red, green, blue), _LEVELS, strict=True))
    return f"#{colour};2;{';'.join(map(str, parts))}"


def _packed(dots: bytearray) -> str:
    """Dots as letters, with runs of one letter counted.

    >>> _packed(bytearray([63, 0, 0, 0, 0, 0, 1, 0]))
    '~!5?@'
    """
    letters = bytes(dots).translate(_LETTERS).decode().rstrip("?")
    return _RUN.sub(lambda run: f"!{len(run[0])}{run[1]}", letters)
