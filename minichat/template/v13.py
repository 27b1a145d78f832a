"""V13, Tekken only: Magistral (2507), Devstral (2507) and others. V11 without ids, and with thinking.

    <s>[AVAILABLE_TOOLS][...][/AVAILABLE_TOOLS][INST]question[/INST][THINK]thoughts[/THINK]answer
    [TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}</s>[TOOL_RESULTS]22[/TOOL_RESULTS]

The tools stand before the first question, and so they do not move on. Calls and results need ids, of any length, but
these only put the results in the order of their calls. Beside thinking, an answer keeps the spaces at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minichat.template import v11
from minichat.template.json_text import dumps, value_of
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Piece, Text
from minichat.template.version import between


def _calls(calls: Sequence[Call]) -> list[Piece]:
    pieces: list[Piece] = []
    for call in calls:
        pieces += [Control("[TOOL_CALLS]"), Text(call.name), Control("[ARGS]"), Text(dumps(value_of(call.arguments)))]
    return pieces


def _result(turn: Message) -> list[Piece]:
    return between("[TOOL_RESULTS]", turn.content, "[/TOOL_RESULTS]")


VERSION = replace(
    v11.VERSION,
    name="v13",
    rules=replace(v11.VERSION.rules, version="v13", call_ids="any", thinking=True),
    tools_with="first",
    calls=_calls,
    result=_result,
)
