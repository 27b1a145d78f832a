"""V7, with a SentencePiece vocabulary: Mistral Large (2411), Pixtral Large. A system message is a turn of its own.

    <s>[SYSTEM_PROMPT] system prompt[/SYSTEM_PROMPT][INST] question[/INST] text[TOOL_CALLS] [{...}]</s>
    [TOOL_RESULTS] D681PevKs[TOOL_CONTENT] 22[/TOOL_RESULTS] answer</s>[INST] question[/INST]

It stands where it was said. A result is the tool's own text, behind its id. An answer can hold a text and calls; one
without either is let through beside another answer: mistral-common joins them before it looks.
"""

from __future__ import annotations

from dataclasses import replace

from minichat.template import v3_tekken
from minichat.template.messages import Message
from minichat.template.pieces import Control, Piece, Text
from minichat.template.version import between


def _result(turn: Message) -> list[Piece]:
    call_id: list[Piece] = [Text(turn.call_id)] if turn.call_id else []
    return [Control("[TOOL_RESULTS]"), *call_id, *between("[TOOL_CONTENT]", turn.content, "[/TOOL_RESULTS]")]


VERSION = replace(
    v3_tekken.VERSION,
    name="v7",
    rules=replace(v3_tekken.VERSION.rules, version="v7", text_and_calls=True),
    system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    result=_result,
)
