"""Answers read: texts, thoughts and calls, and what is told of those that are malformed."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
import random_conversations
from mistral_oracle import VERSIONS, oracle
from random_text import hostile_text, random_text
from template_checks import vocabulary

from minichat.template import render
from minichat.template.answers import MAX_CALLS, MAX_CHARACTERS, ReadAnswer, read_answer
from minichat.template.messages import Call, Message, parse_messages
from minichat.template.pieces import Control, Piece, Text

LISTS = ("v2", "v3", "v3-tekken", "v7", "v7-tekken")
MARKS = ("v11", "v13")
Spans = list[tuple[str, bool]]


def spans(*parts: str) -> Spans:
    """Each part by itself: what has the form of a control token's name is one."""
    return [(part, re.fullmatch(r"\[/?[A-Z_]+\]", part) is not None) for part in parts]


def calls(*items: object) -> Spans:
    return spans("[TOOL_CALLS]", json.dumps(items))


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_what_is_rendered_is_read_again(version: str) -> None:
    """The pieces of an answer, as if the model had written them."""
    rng = random.Random(f"answers {version}")
    for _ in range(300):
        content: Any = random_text(rng, longest=2) + "." if version in MARKS or version.startswith("v7") else ""
        text, thinking = content, ""
        if version == "v13" and rng.random() < 0.5:
            thinking = random_text(rng, longest=2)
            content = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": content}]
        said = [
            {
                "id": random_conversations.call_id(rng, "v3"),
                "function": {
                    "name": "f",
                    "arguments": json.dumps({random_text(rng, 2): random_text(rng, 2), "n": 1.50}),
                },
            }
            for _ in range(1 if version == "v2" else rng.randint(1, 3))
        ]
        answer = {"role": "assistant", "content": content, "tool_calls": said, "prefix": True}
        messages = parse_messages(json.dumps([{"role": "user", "content": "q"}, answer]))
        pieces = render(messages, version)[4:]
        found = read_answer([_span(piece) for piece in pieces], version)
        expected = tuple(
            Call(
                "f",
                json.dumps(json.loads(call["function"]["arguments"]), ensure_ascii=False),
                None if version in ("v2", "v13") else call["id"],
            )
            for call in said
        )
        assert found == ReadAnswer(text, thinking, expected, None)


def _span(piece: Piece) -> tuple[str, bool]:
    if isinstance(piece, Control):
        return piece.name, True
    assert isinstance(piece, Text)
    return piece.text, False


def test_only_the_control_token_begins_a_call() -> None:
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}] [THINK]'
    for version in VERSIONS:
        assert read_answer([(text, False)], version) == ReadAnswer(text, "", (), None)
    assert read_answer([("a", False), ("[/INST]", True), ("b", False)], "v3").text == "ab"


@pytest.mark.parametrize("version", LISTS)
def test_calls_in_a_list(version: str) -> None:
    found = read_answer([("Look. ", False), *calls({"name": "f", "arguments": {"é": 1}, "id": "D681PevKs"})], version)
    assert found == ReadAnswer("Look. ", "", (Call("f", '{"é": 1}', "D681PevKs"),), None)
    two = [
        *calls({"name": "f", "arguments": {}}),
        *calls({"name": "g", "arguments": [], "id": 7}, {"name": "h", "arguments": 1}),
    ]
    assert read_answer(two, version).calls == (Call("f", "{}"), Call("g", "[]"), Call("h", "1"))
    assert read_answer(
        [*spans("[TOOL_CALLS]"), (' [{"name": "f", ', False), ('"arguments": {}}] ', False)], version
    ).calls


def test_calls_with_marks() -> None:
    told = spans(
        "a", "[TOOL_CALLS]", "f", "[CALL_ID]", "D681PevKs", "[ARGS]", '{"a":  1}', "[TOOL_CALLS]", " g", "[ARGS]", "{}"
    )
    for version in MARKS:
        assert read_answer(told, version) == ReadAnswer(
            "a", "", (Call("f", '{"a": 1}', "D681PevKs"), Call("g", "{}")), None
        )


def test_thinking() -> None:
    told = spans("[THINK]", "a", "b", "[/THINK]", "c", "[TOOL_CALLS]", "f", "[ARGS]", "{}")
    assert read_answer(told, "v13") == ReadAnswer("c", "ab", (Call("f", "{}"),), None)
    assert read_answer(spans("[THINK]", "a"), "v13") == ReadAnswer("", "a", (), None)


@pytest.mark.parametrize(
    ("version", "told", "reason", "count"),
    [
        ("v3", spans("[TOOL_CALLS]"), "the calls are no JSON: they break off", 0),
        ("v3", spans("[TOOL_CALLS]", '[{"name": "f", "argu'), "break off", 0),
        ("v3", spans("[TOOL_CALLS]", '[{"name": "f", "arguments": {}}'), "break off", 0),
        ("v3", spans("[TOOL_CALLS]", "[{'name': 1}]"), "no JSON: Expecting property name .* at character 3", 0),
        ("v3", spans("[TOOL_CALLS]", '{"name": "f", "arguments": {}}'), "no JSON list", 0),
        ("v3", spans("[TOOL_CALLS]", "[]"), "no JSON list", 0),
        ("v3", calls(1), "call 1 is not", 0),
        ("v3", calls({"name": "f", "arguments": {}}, {"name": "g"}), "call 2 is not", 1),
        ("v3", calls({"name": "f", "arguments": {}}, {"name": 7, "arguments": {}}), "not what is no text", 1),
        ("v3", calls({"name": "a b\n", "arguments": {}}), r"a tool's name .* not 'a b\\n'", 0),
        ("v3", spans("[TOOL_CALLS]", '[{"name": "f", "arguments": {"a": NaN}}]'), "NaN or Infinity", 0),
        ("v3", spans("[TOOL_CALLS]", '[{"name": "f", "arguments": ' + "[" * 100_000), "nested too deeply", 0),
        ("v3", spans("[TOOL_CALLS]", "1" * 10_000), "too many digits", 0),
        ("v3", spans("[TOOL_CALLS]", "[" + " " * MAX_CHARACTERS), "longer than 1,048,576 characters", 0),
        ("v3", calls(*[{"name": "f", "arguments": {}}] * (MAX_CALLS + 1)), "more than 128 calls", MAX_CALLS),
        ("v3", [*calls({"name": "f", "arguments": {}}), *spans("[ARGS]", "x")], r"broken off by '\[ARGS\]'", 0),
        ("v1", calls({"name": "f", "arguments": {}}), "this template cannot express", 0),
        ("embedded", calls({"name": "f", "arguments": {}}), "this template cannot express", 0),
        ("v11", spans("[TOOL_CALLS]", "f"), r"the call of 'f' is not NAME\[ARGS\]JSON", 0),
        ("v11", spans("[TOOL_CALLS]", "f", "[CALL_ID]", "a"), r"the call of 'f' is not NAME", 0),
        ("v11", spans("[TOOL_CALLS]", "f", "[ARGS]", "{}", "[ARGS]", "{}"), "the call of 'f' is not NAME", 0),
        ("v11", spans("[TOOL_CALLS]", "f", "[INST]", "{}"), r"broken off by '\[INST\]'", 0),
        ("v11", spans("[TOOL_CALLS]", "f", "[ARGS]", "{}", "[TOOL_CALLS]", "g", "[ARGS]"), "of 'g' are no JSON", 1),
        ("v13", spans("[TOOL_CALLS]", "f", "[ARGS]", '{"a": 1'), "the arguments of 'f' are no JSON: they break off", 0),
        ("v13", spans("[TOOL_CALLS]", "f", "[ARGS]", "{} and"), "Extra data at character 4", 0),
        ("v13", spans("[TOOL_CALLS]", "", "[ARGS]", "{}"), "a tool's name is", 0),
    ],
    ids=range(26),
)
def test_malformed_calls(version: str, told: Spans, reason: str, count: int) -> None:
    found = read_answer([("text", False), *told], version)
    assert found.text == "text"
    assert len(found.calls) == count
    assert re.search(reason, found.problem or "")
    assert "\n" not in (found.problem or "")
    assert len(found.problem or "") < 200


@pytest.mark.parametrize("version", [*VERSIONS, "embedded"])
def test_any_answer_can_be_read(version: str) -> None:
    """Spans of anything: never an exception, and what is read can be shown to the model again."""
    rng = random.Random(f"any {version}")
    names = ("[TOOL_CALLS]", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[INST]")
    good = ('[{"name": "f", "arguments": {}}]', '[{"name": "f", "arguments": {"a": "\\ud800"}, "id": "x"}]', "f", "{}")
    read = 0
    for _ in range(2_000):
        told: Spans = spans("[TOOL_CALLS]", "f", "[ARGS]", '{"\\ud800": 1}') if rng.random() < 0.1 else []
        for _ in range(rng.randint(0, 7)):
            text = rng.choice((hostile_text(rng), random_conversations.json_text(rng), *good))
            told.append((rng.choice(names), True) if rng.random() < 0.5 else (text, False))
        found = read_answer(told, version)
        assert found.problem is None or "\n" not in found.problem
        read += bool(found.calls)
        for call in found.calls:
            call.arguments.encode()
            shown = Message("assistant", "", calls=(Call(call.name, call.arguments, "D681PevKs"),), prefix=True)
            vocabulary(version).encode(render([Message("user", "q"), shown], version))
    assert (read > 20) == (version not in ("v1", "embedded"))


def test_long_answers_take_time_in_proportion() -> None:
    told: Spans = [("[TOOL_CALLS]", True), *[("a", False)] * 200_000]
    assert read_answer(told, "v13").problem


def test_the_ids_of_the_marks_are_controls() -> None:
    for version in MARKS:
        assert {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"} <= vocabulary(version).controls.keys()
        assert oracle(version).instruct_tokenizer.tokenizer.is_special("[ARGS]")
