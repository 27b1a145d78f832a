"""V3, with a SentencePiece vocabulary: Mistral 7B v0.3, Mixtral 8x22B, Mistral Small 2 (2409). V2 with ids of calls.

    <s>[INST] question[/INST][TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "D681PevKs"}]</s>
    [TOOL_RESULTS] {"content": 22, "call_id": "D681PevKs"}[/TOOL_RESULTS] answer</s>
    [INST] system prompt\\n\\nquestion[/INST]

All calls and results stay in the prompt, however many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minichat.template import v2
from minichat.template.json_text import dumps, value_of
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Piece, Text
from minichat.template.version import between


def _calls(calls: Sequence[Call]) -> list[Piece]:
    values = [{"name": call.name, "arguments": value_of(call.arguments), "id": call.id} for call in calls]
    return [Control("[TOOL_CALLS]"), Text(dumps(values))]


def _result(turn: Message) -> list[Piece]:
    value = {"content": value_of(turn.text), "call_id": turn.call_id}
    return between("[TOOL_RESULTS]", dumps(value), "[/TOOL_RESULTS]")


VERSION = replace(
    v2.VERSION,
    name="v3",
    rules=replace(v2.VERSION.rules, version="v3", call_ids="nine", one_result=False),
    calls=_calls,
    result=_result,
    forgets_calls=False,
)
