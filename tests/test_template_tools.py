"""Lists of tools: how they are read, and the JSON text that a model is shown."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import random_conversations
from mistral_common.protocol.instruct.tool_calls import Tool as TheirTool

from minichat.template.tools import Tool, parse_tools, tools_json
from quant.errors import TemplateError

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}


def test_tools_from_json() -> None:
    function: dict[str, Any] = WEATHER["function"]  # type: ignore[assignment]
    bare = {"command": ["./now"], "function": {"name": "now", "description": None, "parameters": None, "strict": True}}
    inside = {"function": {"command": ["./now"], "name": "n"}, "type": "function"}
    assert parse_tools([WEATHER, bare, inside]) == (
        Tool("get_current_weather", function["description"], function["parameters"]),
        Tool("now"),
        Tool("n"),
    )
    assert parse_tools([]) == ()


def test_the_text_is_mistral_commons() -> None:
    """Key order, spaces, letters of all scripts, numbers: as its model_dump and json.dumps write them."""
    rng = random.Random("tools")
    for _ in range(300):
        values = random_conversations.tools(rng) or []
        theirs = [
            TheirTool.model_validate(value).model_dump(exclude={"function": {"strict": True}}) for value in values
        ]
        assert tools_json(parse_tools(values)) == json.dumps(theirs, ensure_ascii=False)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "tools.json must be a JSON list"),
        (None, "tools.json must be a JSON list"),
        (["f"], "tools.json: tool 1 must be"),
        ([{"name": "f"}], "tools.json: tool 1 must be"),
        ([{"type": "retrieval", "function": {"name": "f"}}], "tools.json: tool 1 must be"),
        ([WEATHER, {"function": {}}], 'tools.json: tool 2 has no "name"'),
        ([{"function": {"name": 7}}], 'has no "name"'),
        ([{"function": {"name": "f", "description": 7}}], '"description" is a string'),
        ([{"function": {"name": "f", "parameters": []}}], '"parameters" is a JSON Schema'),
        ([{"function": {"name": "f", "returns": {}}}], "a field that minichat does not know: 'returns'"),
        ([{"function": {"name": "f"}, "x\n\x1b": 1}], r"does not know: 'x\\n\\x1b'"),
        ([{"function": {"name": "a b"}}], "tools.json: a tool's name is 1 to 64 .* not 'a b'"),
        ([{"function": {"name": "f\n"}}], "a tool's name is"),
        ([{"function": {"name": "é"}}], "a tool's name is"),
        ([{"function": {"name": "x" * 65}}], "a tool's name is"),
        ([{"function": {"name": ""}}], "a tool's name is"),
        (
            [{"function": {"name": "f", "parameters": {"type": "objekt"}}}],
            "the parameters of f are no JSON Schema: 'obj",
        ),
        ([{"function": {"name": "f", "parameters": {"required": "a"}}}], "the parameters of f are no JSON Schema"),
        ([{"function": {"name": "f", "parameters": {"pattern": "("}}}], "the parameters of f are no JSON Schema"),
    ],
    ids=range(19),
)
def test_tools_that_cannot_be_read(value: object, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason) as caught:
        parse_tools(value, "tools.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
