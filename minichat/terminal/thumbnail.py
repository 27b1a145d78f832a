"""A small picture on the screen: kitty's graphics, iTerm2's inline pictures, or sixels.

Its rows are made first, so that nothing scrolls while it is drawn; afterwards the cursor stands below them, wherever
the terminal has left it.
"""

from __future__ import annotations

import re
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.terminal.sixel import sixels

if TYPE_CHECKING:
    from minichat.terminal.graphics import Graphics

_MOST_COLUMNS, _MOST_ROWS = 40, 10
_SHARE = 3  # a picture takes at most this part of the screen's height
_INDENT = 4  # cells, as the messages above have
_USUAL_HEIGHT = 20  # pixels of a row, where a picture is shown as large as it is
_MAX_SIDE = 1024  # pixels
_PPM = re.compile(rb"P6\s(\d{1,4})\s(\d{1,4})\s255\s")
_CHUNK = 4096  # characters that kitty takes at a time


@dataclass(frozen=True)
class Thumbnail:
    """A small picture. rgb: height x width x 3 bytes."""

    width: int
    height: int
    rgb: bytes


def read_thumbnail(path: Path) -> Thumbnail | None:
    """A PPM (P6); None for what cannot be read or is none."""
    try:
        with path.open("rb") as file:
            data = file.read(3 * _MAX_SIDE * _MAX_SIDE + 100)
    except OSError:
        return None
    head = _PPM.match(data)
    if head is None:
        return None
    width, height = int(head[1]), int(head[2])
    is_whole = 0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE and len(data) - head.end() == 3 * width * height
    return Thumbnail(width, height, data[head.end() :]) if is_whole else None


def drawing(picture: Thumbnail, graphics: Graphics, columns: int, rows: int) -> str:
    """What to write at the start of a line so that the picture stands there; "" if the screen is too small.

    columns, rows: of the screen.
    """
    most_columns, most_rows = min(_MOST_COLUMNS, columns - _INDENT - 1), min(_MOST_ROWS, rows // _SHARE)
    if most_columns < 1 or most_rows < 1:
        return ""
    cell = graphics.cell_width, graphics.cell_height
    width, height = _fitted(picture, most_columns * cell[0], most_rows * cell[1], max(cell[1] / _USUAL_HEIGHT, 1.0))
    wide, high = -(-width // cell[0]), -(-height // cell[1])
    if graphics.way == "kitty":
        body = _kitty(picture, wide, high)
    elif graphics.way == "iterm2":
        body = _iterm2(picture, wide, high)
    else:
        body = sixels(width, height, resized(picture, width, height).rgb)
    return "\n" * high + f"\x1b[{high}A\r\x1b[{_INDENT}C\x1b7{body}\x1b8\x1b[{high}B\r"


def _fitted(picture: Thumbnail, width: int, height: int, most: float) -> tuple[int, int]:
    """The size that fits, in pixels, at most so many times as large."""
    scale = min(width / picture.width, height / picture.height, most)
    return max(int(picture.width * scale), 1), max(int(picture.height * scale), 1)


def resized(picture: Thumbnail, width: int, height: int) -> Thumbnail:
    """The picture in another size, of the pixels nearest.

    >>> resized(Thumbnail(2, 1, b"abcdef"), 1, 2)
    Thumbnail(width=1, height=2, rgb=b'defdef')
    """
    if (width, height) == (picture.width, picture.height):
        return picture
    across = [(2 * x + 1) * picture.width // (2 * width) for x in range(width)]
    rows: dict[int, bytes] = {}
    lines = []
    for y in range(height):
        down = (2 * y + 1) * picture.height // (2 * height)
        if down not in rows:
            line = memoryview(picture.rgb)[3 * down * picture.width :]
            rows[down] = b"".join(bytes(line[3 * x : 3 * x + 3]) for x in across)
        lines.append(rows[down])
    return Thumbnail(width, height, b"".join(lines))


def _kitty(picture: Thumbnail, columns: int, rows: int) -> str:
    """Sent in chunks; the terminal is to say nothing (q=2), and to leave the cursor (C=1)."""
    data = b64encode(zlib.compress(picture.rgb)).decode()
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    first = f"a=T,q=2,f=24,o=z,s={picture.width},v={picture.height},c={columns},r={rows},C=1,"
    last = len(chunks) - 1
    return "".join(f"\x1b_G{first if not n else ''}m={int(n < last)};{chunk}\x1b\\" for n, chunk in enumerate(chunks))


def _iterm2(picture: Thumbnail, columns: int, rows: int) -> str:
    data = png(picture)
    return f"\x1b]1337;File=inline=1;size={len(data)};width={columns};height={rows}:{b64encode(data).decode()}\x07"


def png(picture: Thumbnail) -> bytes:
    """The picture as a PNG file, of RGB with 8 bits."""
    stride = 3 * picture.width
    lines = b"".join(b"\0" + picture.rgb[at : at + stride] for at in range(0, len(picture.rgb), stride))
    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
