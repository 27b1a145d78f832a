"""Mistral's chat templates: messages -> pieces.

    render([Message("user", "Hello")], "v7-tekken")  ->  <s> [INST] Hello [/INST]

The ids that the tokenizer makes of the pieces equal mistral-common's. Pure; standard library only, but for lists of
tools, whose schemas `jsonschema` looks at.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from quant.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minichat.template.messages import Message
    from minichat.template.pieces import Piece
    from minichat.template.tools import Tool
    from minichat.template.version import Version

__all__ = ["VERSIONS", "TemplateError", "render"]


class _Versions(Mapping[str, "Version"]):
    """The versions by name, in the order of their coming. One is imported when it is asked for."""

    _NAMES = ("v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11", "v13")

    def __getitem__(self, name: str) -> Version:
        if name not in self._NAMES:
            raise KeyError(name)
        version: Version = importlib.import_module(f"minichat.template.{name.replace('-', '_')}").VERSION
        return version

    def __contains__(self, name: object) -> bool:
        return name in self._NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)


VERSIONS = _Versions()


def render(messages: Sequence[Message], version: str, tools: Sequence[Tool] = ()) -> list[Piece]:
    """The pieces that a model of this version is shown for a conversation, `<s>` included.

    tools: what the model may call.

    Raises TemplateError for an unknown version and for what the version cannot express: an empty conversation, roles
    out of order, an answer at the end that is no prefix, a result without its call (see minichat.template.rules).

    >>> from minichat.template.messages import Message
    >>> render([Message("user", "Hi")], "v7-tekken")
    [Control(name='<s>'), Control(name='[INST]'), Text(text='Hi'), Control(name='[/INST]')]
    """
    if version not in VERSIONS:
        raise TemplateError(f"unknown template {version[:60]!r}; known templates: {', '.join(VERSIONS)}")
    return VERSIONS[version].render(messages, tools)
