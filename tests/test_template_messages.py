"""Messages from JSON in OpenAI's shape, and pieces as JSON."""

from __future__ import annotations

import json

import pytest

from minichat.template.messages import (
    MAX_JSON_CHARACTERS,
    Call,
    ImagePart,
    Message,
    TextPart,
    ThinkPart,
    parse_messages,
)
from minichat.template.pieces import Control, Image, Piece, Text, Tokens, from_json, to_json
from quant.errors import TemplateError


def test_messages_from_json() -> None:
    text = """[{"role": "system", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "a"},
        {"type": "text", "text": ""}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c",
        "tool_calls": null, "prefix": true}]"""
    assert parse_messages(text) == [
        Message("system", ""),
        Message("user", "a\n\nb"),
        Message("assistant", "c", prefix=True),
    ]
    assert parse_messages("[]") == []


def test_calls_and_results_from_json() -> None:
    calls = [
        {"id": "D681PevKs", "type": "function", "function": {"name": "f", "arguments": '{"a":  1}'}},
        {"function": {"name": "g", "arguments": {"é": [1.0, None]}}},
        {"id": None, "function": {"name": "h", "arguments": None}},
    ]
    result = {"role": "tool", "tool_call_id": "D681PevKs", "name": "f", "content": "22"}
    bare = {"role": "tool", "content": [{"type": "text", "text": "x"}]}
    messages = [{"role": "assistant", "content": None, "tool_calls": calls}, result, bare]
    assert parse_messages(json.dumps(messages)) == [
        Message(
            "assistant",
            "",
            calls=(Call("f", '{"a":  1}', "D681PevKs"), Call("g", '{"é": [1.0, null]}'), Call("h", "{}")),
        ),
        Message("tool", "22", call_id="D681PevKs", name="f"),
        Message("tool", "x"),
    ]


def test_parts_from_json() -> None:
    content = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": "data:x"},
        {"type": "image_url", "image_url": {"url": "cat.png", "detail": "high"}},
        {"type": "image", "image": "aGk="},
        {"type": "thinking", "thinking": "b"},
        {"type": "thinking", "thinking": "c", "closed": False},
    ]
    parts = (ImagePart("data:x"), ImagePart("cat.png"), ImagePart("aGk="), ThinkPart("b"), ThinkPart("c", closed=False))
    (message,) = parse_messages(json.dumps([{"role": "user", "content": content}]))
    assert message == Message("user", (TextPart("a"), *parts))
    assert message.text == "a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"not valid JSON: Expecting value \(line 1, column 1\)"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ("1" * 10_000, "not valid JSON: a number"),
        ("[{'role': 'user'}]", "not valid JSON"),
        ('{"role": "user", "content": "a"}', "must be a JSON list"),
        ('["a"]', "message 1 must be an object"),
        ("[[]]", "message 1 must be an object"),
        ('[{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]', 'message 2 has the role "robot"'),
        ('[{"role": ["user"], "content": "a"}]', "message 1 has the role that is no string"),
        ('[{"role": {}, "content": "a"}]', "message 1 has the role"),
        ('[{"content": "a"}]', "message 1 has the role null"),
        ('[{"role": "user", "content": "a", "na\\nme": "b"}]', r'message 1 has a field that mini.* "na\\nme"'),
        ('[{"role": "user", "content": "a", "tokens": [1]}]', 'does not know: "tokens"'),
        ('[{"role": "user", "content": "a", "prefix": false}]', 'only a message of the role assistant has: "prefix"'),
        ('[{"role": "user", "content": "a", "name": "b"}]', 'only a message of the role tool has: "name"'),
        ('[{"role": "user", "content": "a", "tool_calls": []}]', 'the role assistant has: "tool_calls"'),
        ('[{"role": "user"}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": null}]', 'message 1 needs "content"'),
        ('[{"role": "tool", "content": null}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": 7}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": {"type": "text", "text": "a"}}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": ["a"]}]', "content of the type null"),
        ('[{"role": "user", "content": [{"type": "audio_url", "audio_url": "x"}]}]', 'the type "audio_url"; known: t'),
        ('[{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]', "type that is no string"),
        ('[{"role": "user", "content": [{"type": "text"}]}]', "message 1: a chunk of the type text is"),
        (
            '[{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]',
            "message 1: a chunk of the type text",
        ),
        ('[{"role": "user", "content": [{"type": "text", "text": "a", "closed": true}]}]', "a chunk of the type text"),
        ('[{"role": "user", "content": [{"type": "image_url", "image_url": {"uri": "x"}}]}]', '{"url": "..."}} and no'),
        ('[{"role": "user", "content": [{"type": "image_url", "image_url": {"detail": "x"}}]}]', "type image_url is"),
        ('[{"role": "assistant", "content": [{"type": "thinking", "thinking": [1]}]}]', "type thinking is"),
        (
            '[{"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "closed": 1}]}]',
            "type thinking is",
        ),
        ('[{"role": "assistant", "content": "a", "prefix": 1}]', "is true or false"),
        ('[{"role": "assistant", "content": "a", "tool_calls": {"a": 1}}]', '"tool_calls" is a list'),
        ('[{"role": "assistant", "tool_calls": [{"id": "1"}]}]', "message 1: a call is"),
        ('[{"role": "assistant", "tool_calls": ["f"]}]', "message 1: a call is"),
        ('[{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]', "message 1: a call is"),
        (
            '[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}]',
            "message 1: a call is",
        ),
        (
            '[{"role": "assistant", "tool_calls": [{"function": {"name": 1, "arguments": "{}"}}]}]',
            "message 1: a call is",
        ),
        (
            '[{"role": "assistant", "tool_calls": [{"type": "tool", "function": {"name": "f", "arguments": "{}"}}]}]',
            "a call is",
        ),
        (
            '[{"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "f", "arguments": "{}"}}]}]',
            '"id" is a string',
        ),
        ('[{"role": "tool", "content": "a", "tool_call_id": 123456789}]', '"tool_call_id" is a string'),
    ],
    ids=range(41),
)
def test_messages_that_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason) as caught:
        parse_messages(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_messages_are_bounded() -> None:
    with pytest.raises(TemplateError, match="longer than 64 million characters"):
        parse_messages(" " * (MAX_JSON_CHARACTERS + 1))


def test_pieces_as_json() -> None:
    seen = Image("cat.png", 55, 42, "/tmp/x.ppm", "0f")
    pieces: list[Piece] = [
        Control("[INST]"),
        Text("[INST] é"),
        Text(""),
        Image("cat.png"),
        seen,
        Tokens((1, 2)),
        Tokens(()),
    ]
    assert [from_json(json.loads(json.dumps(to_json(piece)))) for piece in pieces] == pieces
    assert to_json(Control("</s>")) == {"control": "</s>"}


SEEN = {"source": "x", "columns": 1, "rows": 1, "pixels": "", "key": ""}
NO_PIECES = [
    *(None, [], {}, "a", {"image": 1}, {"picture": "x"}, {"text": "a", "control": "b"}, {"control": 1}, {"text": None}),
    *({"tokens": 1}, {"tokens": ["1"]}, {"tokens": [True]}, {"tokens": [1.0]}),
    *({"image": "cat.png"}, {"image": {"source": "x"}}, {"image": {**SEEN, "more": 1}}, {"image": {**SEEN, "key": 1}}),
    *({"image": {**SEEN, "rows": -1}}, {"image": {**SEEN, "rows": True}}, {"image": {**SEEN, "columns": 10**9}}),
]


@pytest.mark.parametrize("value", NO_PIECES)
def test_json_that_is_no_piece(value: object) -> None:
    with pytest.raises(TemplateError, match="a piece must be"):
        from_json(value)
