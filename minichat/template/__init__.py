"""Mistral's chat templates: messages -> pieces.

    render([Message("user", "Hello")], "v7-tekken")  ->  <s> [INST] Hello [/INST]

The ids that the tokenizer makes of the pieces equal mistral-common's. Pure; standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.template import v3, v3_tekken, v7_tekken
from quant.errors import TemplateError

if TYPE_CHECKING:
    from minichat.template.messages import Message
    from minichat.template.pieces import Piece
    from minichat.template.version import Version

__all__ = ["VERSIONS", "TemplateError", "render"]

VERSIONS: dict[str, Version] = {v.name: v for v in (v3.VERSION, v3_tekken.VERSION, v7_tekken.VERSION)}


def render(messages: list[Message], version: str) -> list[Piece]:
    """The pieces that a model of this version is shown for a conversation, `<s>` included.

    Raises TemplateError for an unknown version and for messages that the version cannot express: an empty
    conversation, roles out of order, an answer at the end that is no prefix.

    >>> from minichat.template.messages import Message
    >>> render([Message("user", "Hi")], "v7-tekken")
    [Control(name='<s>'), Control(name='[INST]'), Text(text='Hi'), Control(name='[/INST]')]
    """
    if version not in VERSIONS:
        raise TemplateError(f"unknown template {version[:60]!r}; known templates: {', '.join(VERSIONS)}")
    return VERSIONS[version].render(messages)
