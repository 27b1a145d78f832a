"""V2, with a SentencePiece vocabulary of 32,768: V1 with control tokens and tools.

    <s>[INST] question[/INST] answer</s>[AVAILABLE_TOOLS] [...][/AVAILABLE_TOOLS]
    [INST] system prompt\\n\\nquestion[/INST]
    [TOOL_CALLS] [{"name": "f", "arguments": {}}]</s>[TOOL_RESULTS] [{"name": "f", "content": 22}][/TOOL_RESULTS]

The spaces are SentencePiece's own, part of the first token of each text; the template puts none. The system prompt is
no turn of its own: it stands before the last question, and so it moves on with every turn. The calls and results of
earlier questions are left out, and the last one's calls can have one result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minichat.template import v1
from minichat.template.json_text import dumps, value_of
from minichat.template.messages import Call, Content, ImagePart, Message, Part, TextPart
from minichat.template.pieces import Control, Piece, Text
from minichat.template.version import between, written


def question(system: str, content: Content) -> list[Piece]:
    """[INST] content [/INST]; the system's text is one with a content that is a text, else a text by itself."""
    if isinstance(content, str):
        return between("[INST]", system + content, "[/INST]")
    return [Control("[INST]"), *written(system), *written(_image_first(content)), Control("[/INST]")]


def _image_first(content: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts, with the picture first if they are one text and one picture after it."""
    if [type(part) for part in content] == [TextPart, ImagePart]:
        return content[::-1]
    return content


def _calls(calls: Sequence[Call]) -> list[Piece]:
    values = [{"name": call.name, "arguments": value_of(call.arguments)} for call in calls]
    return [Control("[TOOL_CALLS]"), Text(dumps(values))]


def _result(turn: Message) -> list[Piece]:
    value = [{"name": turn.name, "content": value_of(turn.text)}]
    return between("[TOOL_RESULTS]", dumps(value), "[/TOOL_RESULTS]")


VERSION = replace(
    v1.VERSION,
    name="v2",
    rules=replace(v1.VERSION.rules, version="v2", tools=True, one_result=True),
    system="last",
    question=question,
    strips=True,
    calls=_calls,
    result=_result,
    call_syntax="list",
    forgets_calls=True,
)
