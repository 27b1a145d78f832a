"""What a prompt is made of before it becomes token ids.

A piece is a control token by name, a text, an image, or token ids that the model itself wrote. Only a `Control` and an
`Image` become control tokens: a text is never searched for their names, so that `[INST]` typed by a user stays text.

    Control("[INST]")      {"control": "[INST]"}
    Text("Hello")          {"text": "Hello"}
    Image("cat.png")       {"image": "cat.png"}
    Tokens((22177, 1033))  {"tokens": [22177, 1033]}

The JSON forms cross the pipe between the program and its engine. Pure; standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quant.errors import TemplateError


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
    """A picture's place: one control token [IMG]. source: a path or a URL, which no token is made of."""

    source: str


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
        return {"image": piece.source}
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
        if kind == "image" and isinstance(content, str):
            return Image(content)
        if kind == "tokens" and isinstance(content, list) and all(type(i) is int for i in content):
            return Tokens(tuple(content))
    raise TemplateError('a piece must be {"control": NAME}, {"text": TEXT}, {"image": SOURCE} or {"tokens": [IDS]}')
