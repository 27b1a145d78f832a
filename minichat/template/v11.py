"""V11, Tekken only: Mistral Small 3.2 and others of mid-2025. V7-Tekken with calls in control tokens, not in one list.

    [TOOL_CALLS]f[CALL_ID]D681PevKs[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]8OtiR4NcS[ARGS]{}</s>

Results are put in the order of their calls, and each call has at most one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minichat.template import v7_tekken
from minichat.template.json_text import dumps, value_of
from minichat.template.messages import Call
from minichat.template.pieces import Control, Piece, Text


def _calls(calls: Sequence[Call]) -> list[Piece]:
    pieces: list[Piece] = []
    for call in calls:
        pieces += [Control("[TOOL_CALLS]"), Text(call.name), Control("[CALL_ID]"), Text(call.id or "")]
        pieces += [Control("[ARGS]"), Text(dumps(value_of(call.arguments)))]
    return pieces


VERSION = replace(
    v7_tekken.VERSION,
    name="v11",
    rules=replace(v7_tekken.VERSION.rules, version="v11", unique_ids=True),
    calls=_calls,
    call_syntax="marks",
    sorts_results=True,
)
