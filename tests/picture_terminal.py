"""A terminal that shows pictures, for the tests: what reads kitty's graphics, iTerm2's inline pictures and sixels back.

    found, rest = pictures_in(text)        # the pictures in what a program wrote, and what else it wrote

`PictureTty` is a terminal of `pseudo_terminal` that answers what a program asks of it, and takes such pictures out of
what its screen is given.
"""

from __future__ import annotations

import io
import re
import zlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pseudo_terminal import Tty

_PICTURE = re.compile(
    r"\x1bP[\d;]*q(?P<sixel>.*?)\x1b\\|(?P<kitty>(?:\x1b_G.*?\x1b\\)+)|\x1b\]1337;File=(?P<iterm2>.*?)\x07", re.DOTALL
)
_OPEN = re.compile(rb"\x1b(?:[P_\]][^\x07]*|\[[>\d]*)?\Z", re.DOTALL)
_SIXEL = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([$-])|([?-~])")
QUESTIONS = {b"\x1b[>0q": "name", b"\x1b[16t": "cell", b"\x1b[c": "attributes"}


@dataclass(frozen=True)
class Shown:
    """A picture as a terminal shows it: in which way; its pixels; the cells that it was told to take, if it was."""

    way: str
    pixels: Image.Image
    cells: tuple[int, int] | None = None


def pictures_in(text: str) -> tuple[list[Shown], str]:
    found = [_shown(match) for match in _PICTURE.finditer(text)]
    return found, _PICTURE.sub("", text)


def _shown(match: re.Match[str]) -> Shown:
    if match["sixel"] is not None:
        return Shown("sixel", _of_sixels(match["sixel"]))
    return _of_kitty(match["kitty"]) if match["kitty"] is not None else _of_iterm2(match["iterm2"])


def _of_sixels(text: str) -> Image.Image:
    head = re.match(r'"1;1;(\d+);(\d+)', text)
    assert head
    width, height = int(head[1]), int(head[2])
    picture = Image.new("RGBA", (width, -(-height // 6) * 6), (0, 0, 0, 0))
    palette: dict[int, tuple[int, int, int]] = {}
    x = y = colour = 0
    at = head.end()
    while at < len(text):
        match = _SIXEL.match(text, at)
        assert match, text[at : at + 10]
        at = match.end()
        if match[1]:
            palette[int(match[1])] = (_percent(match[2]), _percent(match[3]), _percent(match[4]))
        elif match[5]:
            colour = int(match[5])
        elif match[8]:
            x, y = 0, y + 6 * (match[8] == "-")
        else:
            count, dots = int(match[6] or 1), ord(match[7] or match[9]) - 63
            for place in ((x + n, y + row) for n in range(count) for row in range(6) if dots >> row & 1):
                assert picture.getpixel(place) == (0, 0, 0, 0), "a dot that is drawn twice"
                picture.putpixel(place, (*palette[colour], 255))
            x += count
    whole = picture.crop((0, 0, width, height))
    assert whole.getchannel("A").getextrema() == (255, 255), "a dot that is not drawn"
    assert picture.crop((0, height, width, picture.height)).getbbox() is None
    return whole.convert("RGB")


def _percent(text: str) -> int:
    return round(int(text) * 255 / 100)


def _of_kitty(text: str) -> Shown:
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    fields = dict(pair.split("=") for pair in chunks[0][0].split(","))
    assert (fields["a"], fields["f"], fields["o"], fields["q"], fields["C"]) == ("T", "24", "z", "2", "1")
    assert all(len(data) <= 4096 for _, data in chunks)
    assert [keys.rpartition("m=")[2] for keys, _ in chunks] == ["1"] * (len(chunks) - 1) + ["0"]
    rgb = zlib.decompress(b64decode("".join(data for _, data in chunks), validate=True))
    size = int(fields["s"]), int(fields["v"])
    return Shown("kitty", Image.frombytes("RGB", size, rgb), (int(fields["c"]), int(fields["r"])))


def _of_iterm2(text: str) -> Shown:
    head, data = text.split(":")
    fields = dict(pair.split("=") for pair in head.split(";"))
    content = b64decode(data, validate=True)
    assert fields["inline"] == "1" and int(fields["size"]) == len(content)
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return Shown("iterm2", picture, (int(fields["width"]), int(fields["height"])))


class PictureTty(Tty):
    """shown: each picture, and the row of the screen that its top is in. asked: the questions that came.

    answers: what is sent for a question, by its name; `typed` comes with the last one, as if it was typed meanwhile.
    """

    def __init__(self, *arguments: Any, answers: Callable[[str], str], **options: Any) -> None:
        self.shown: list[tuple[Shown, int]] = []
        self.asked: list[str] = []
        self._told, self._pending = answers, b""
        super().__init__(*arguments, **options)

    def __enter__(self) -> PictureTty:
        return self

    def _show(self, data: bytes) -> None:
        self._pending += data
        tail = _OPEN.search(self._pending)
        end = tail.start() if tail and b"\x1b\\" not in tail[0] else len(self._pending)
        now, self._pending = self._pending[:end], self._pending[end:]
        for question, name in QUESTIONS.items():
            if question in now:
                self.asked.append(name)
                self._answers.append(self._told(name))
                now = now.replace(question, b"")
        text = self._decoder.decode(now)
        at = 0
        for match in _PICTURE.finditer(text):
            self._stream.feed(text[at : match.start()])
            self.shown.append((_shown(match), self._screen.cursor.y))
            at = match.end()
        self._stream.feed(text[at:])
