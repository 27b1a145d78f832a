"""What a prompt is made of before it becomes token ids.

A piece is a control token by name, a text, a picture, or token ids that the model itself wrote. Only a `Control` and an
`Image` become control tokens: a text is never searched for their names, so that `[INST]` typed by a user stays text.

    Control("[INST]")      {"control": "[INST]"}
    Text("Hello")          {"text": "Hello"}
    Image("cat.png")       {"image": {"source": "cat.png", "columns": 0, "rows": 0, "pixels": "", "key": ""}}
    Tokens((22177, 1033))  {"tokens": [22177, 1033]}

The JSON forms cross the pipe between the program and its engine. Pure; standard library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from quant.errors import TemplateError

MAX_SIDE = 4096  # columns or rows of a picture; a model's limit is far below


@dataclass(frozen=True)
class Control:
    """A control token by its name, such as `[INST]` or `</s>`."""

    name: str


@dataclass(frozen=True)
class Text:
    """Ordinary text. Two texts in a row are tokenized apart: nothing is merged over their border."""

    text: str


@dataclass(frozen=True)
class Image:
    """A picture's place: rows of [IMG], with [IMG_BREAK] behind each but the last, and [IMG_END] behind that.

    source: a path, a URL or what else it goes by; no token is made of it. A template knows no more than that; who reads
        the picture fills in the rest (`minichat.pictures.album`, through `minichat.engine.client`).
    columns, rows: its [IMG] tokens; 0 as long as nobody has looked at the picture.
    pixels: the path of its pixels, scaled, as a PPM (P6) of columns and rows times the pixels of a patch.
    key: what tells these pixels from all others: the SHA-256 of that file, in hexadecimal.
    """

    source: str
    columns: int = 0
    rows: int = 0
    pixels: str = ""
    key: str = ""

    @property
    def tokens(self) -> int:
        """How many tokens it is.

        >>> Image("cat.png", columns=4, rows=3).tokens
        15
        """
        return self.rows * (self.columns + 1)


@dataclass(frozen=True)
class Tokens:
    """Token ids that go to the model as they are."""

    ids: tuple[int, ...]


Piece = Control | Text | Image | Tokens


def to_json(piece: Piece) -> dict[str, Any]:
    """The piece as an object for `json.dumps`.

    >>> to_json(Control("[INST]"))
    {'control': '[INST]'}
    """
    if isinstance(piece, Control):
        return {"control": piece.name}
    if isinstance(piece, Text):
        return {"text": piece.text}
    if isinstance(piece, Image):
        return {"image": asdict(piece)}
    return {"tokens": list(piece.ids)}


def from_json(value: object) -> Piece:
    """The piece that `to_json` wrote. Raises TemplateError for anything else.

    >>> from_json({"tokens": [7, 8]})
    Tokens(ids=(7, 8))
    """
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "control" and isinstance(content, str):
            return Control(content)
        if kind == "text" and isinstance(content, str):
            return Text(content)
        if kind == "image" and isinstance(content, dict) and _is_image(content):
            return Image(**content)
        if kind == "tokens" and isinstance(content, list) and all(type(i) is int for i in content):
            return Tokens(tuple(content))
    raise TemplateError('a piece must be {"control": NAME}, {"text": TEXT}, {"image": {...}} or {"tokens": [IDS]}')


def _is_image(fields: dict[str, Any]) -> bool:
    texts, numbers = ("source", "pixels", "key"), ("columns", "rows")
    return (
        set(fields) == {*texts, *numbers}
        and all(isinstance(fields[name], str) for name in texts)
        and all(type(fields[name]) is int and 0 <= fields[name] <= MAX_SIDE for name in numbers)
    )
