"""The templates against mistral-common: the same ids, or both refuse."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_oracle import VERSIONS, header, oracle, sentencepiece
from pydantic import ValidationError
from random_text import CONTROL_NAMES, random_text

from minichat import template, tokenizer
from minichat.template import render
from minichat.template.messages import MAX_JSON_CHARACTERS, Message, parse_messages
from minichat.template.pieces import Control, Piece, Text, Tokens, from_json, to_json
from quant.errors import TemplateError

GOLDEN = json.loads((Path(__file__).parent / "data" / "templates" / "golden.json").read_text(encoding="utf-8"))
CONVERSATIONS = 1_500  # random ones for each version


@cache
def vocabulary(version: str) -> tokenizer.Tokenizer:
    return tokenizer.load(header(version), sentencepiece().encode if version == "v3" else None)


def ours(messages: list[dict[str, Any]], version: str) -> list[int] | None:
    """Our ids for messages in OpenAI's shape; None if they are refused, in one line."""
    try:
        return vocabulary(version).encode(render(parse_messages(json.dumps(messages)), version))
    except TemplateError as error:
        assert "\n" not in str(error)
        return None


def theirs(messages: list[dict[str, Any]], version: str) -> list[int] | None:
    try:
        request: ChatCompletionRequest[Any] = ChatCompletionRequest(messages=messages)
        tokens: list[int] = oracle(version).encode_chat_completion(request).tokens
    except (MistralCommonException, ValidationError):
        return None
    return tokens


# Equality with mistral-common


def _content(rng: random.Random) -> str:
    choice = rng.random()
    if choice < 0.5:
        return rng.choice(("", "", " ", "  \n ", "a", "b  ", " c", "d\n", "e \n ", "\n", "  f\t ", "Hello, world!"))
    return random_text(rng, longest=4) + rng.choice(("", "", " ", "   ", "\n"))


def _chunks(rng: random.Random) -> list[dict[str, str]]:
    """Text chunks, some empty, at least one not: what of an all-empty list differs is a test of its own."""
    texts = [_content(rng) for _ in range(rng.randint(0, 3))]
    texts.insert(rng.randint(0, len(texts)), _content(rng) or "x")
    return [{"type": "text", "text": text} for text in texts]


def _conversation(rng: random.Random) -> list[dict[str, Any]]:
    """Mostly in order, so that more than half of them can be expressed; now and then anything goes."""
    roles: list[str] = []
    if rng.random() < 0.15:
        roles = rng.choices(("system", "user", "assistant"), k=rng.randint(0, 6))
    else:
        roles += ["system"] * rng.choice((0, 0, 1, 1, 2))
        for _ in range(rng.randint(0, 4)):
            roles += ["user"] * rng.choice((1, 1, 1, 2)) + ["system"] * rng.choice((0, 0, 0, 0, 1))
            roles += ["assistant"] * rng.choice((1, 1, 1, 2))
        roles += rng.choice((["user"], ["user"], ["user"], ["user", "system"], ["user", "assistant"], []))
    messages: list[dict[str, Any]] = []
    for i, role in enumerate(roles):
        content: Any = _chunks(rng) if rng.random() < 0.2 else _content(rng)
        if role == "assistant" and not content and rng.random() < 0.8:
            content = "answer "
        messages.append({"role": role, "content": content})
        if role == "assistant" and rng.random() < (0.9 if i == len(roles) - 1 else 0.02):
            messages[-1]["prefix"] = rng.random() < 0.9
    return messages


@pytest.mark.parametrize("version", VERSIONS)
def test_random_conversations(version: str) -> None:
    rng = random.Random(f"conversations {version}")
    expressed = 0
    for _ in range(CONVERSATIONS):
        messages = _conversation(rng)
        expected = theirs(messages, version)
        expressed += expected is not None
        assert ours(messages, version) == expected, json.dumps(messages)
    assert CONVERSATIONS // 2 < expressed < CONVERSATIONS * 0.95


@pytest.mark.parametrize("version", VERSIONS)
def test_all_orders_of_up_to_five_roles(version: str) -> None:
    names = ("system", "user", "assistant")
    orders: list[tuple[str, ...]] = [()]
    for order in orders:
        messages: list[dict[str, Any]] = [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(order)]
        assert ours(messages, version) == theirs(messages, version), order
        if order and order[-1] == "assistant":
            messages[-1]["prefix"] = True
            assert ours(messages, version) == theirs(messages, version), order
        if len(order) < 5:
            orders += [(*order, name) for name in names]
    assert len(orders) == 364


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_cases(case: dict[str, Any]) -> None:
    for version, expected in case["versions"].items():
        assert theirs(case["messages"], version) == (expected and expected["tokens"])
        assert ours(case["messages"], version) == (expected and expected["tokens"])
        if expected:
            assert vocabulary(version).text(expected["tokens"]) == expected["text"]


@pytest.mark.parametrize("version", VERSIONS)
def test_text_of_a_prompt(version: str) -> None:
    rng = random.Random("text")
    for _ in range(100):
        messages = _conversation(rng)
        if (tokens := ours(messages, version)) is not None:
            shown = oracle(version).decode(tokens, special_token_policy=SpecialTokenPolicy.KEEP)
            assert vocabulary(version).text(tokens) == shown


def test_chunks_without_text_count_as_an_empty_string() -> None:
    """The one difference: mistral-common's V3 takes a list of empty texts for content where "" is none."""
    empty = [{"type": "text", "text": ""}]
    user = {"role": "user", "content": "u"}
    for version in VERSIONS:
        for messages in ([{"role": "user", "content": empty}], [{"role": "system", "content": empty}, user]):
            assert ours(messages, version) == theirs(messages, version)
    systems = [{"role": "system", "content": empty}, {"role": "system", "content": "s"}, user]
    assert ours(systems, "v3") == ours([{**systems[0], "content": ""}, *systems[1:]], "v3") != theirs(systems, "v3")
    assert ours(systems, "v7-tekken") == theirs(systems, "v7-tekken")


# Answers that keep their tokens


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_with_its_tokens_is_shown_as_it_was_written(version: str) -> None:
    written = (1500, 1501, 1502)
    messages = [Message("user", "a"), Message("assistant", "b ", written), Message("user", "c")]
    pieces = render(messages, version)
    asked: list[Piece] = [Control("<s>"), Control("[INST]"), Text("a"), Control("[/INST]")]
    assert pieces == [*asked, Tokens(written), Control("</s>"), Control("[INST]"), Text("c"), Control("[/INST]")]
    # With the ids that mistral-common gives the text, it is mistral-common's prompt.
    plain = [{"role": m.role, "content": m.content} for m in messages]
    answer = tuple(vocabulary(version).encode([Text("b")]))
    kept = [messages[0], Message("assistant", "b ", answer), messages[2]]
    assert vocabulary(version).encode(render(kept, version)) == theirs(plain, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_of_no_tokens_and_one_to_continue(version: str) -> None:
    empty = render([Message("user", "a"), Message("assistant", "", ()), Message("user", "c")], version)
    assert empty[3:5] == [Control("[/INST]"), Control("</s>")]
    assert render([Message("user", "a"), Message("assistant", "", (7,), prefix=True)], version)[-1] == Tokens((7,))


def test_answers_in_a_row_are_one_text() -> None:
    run = [Message("user", "a"), Message("assistant", "b", (1,)), Message("assistant", "c", (2,)), Message("user", "d")]
    assert Text("b\n\nc") in render(run, "v7-tekken")


# What is refused


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "conversation is empty"),
        ([Message("tool", "x")], "message 1 has an unknown role"),
        ([Message("user", "a"), Message("assistant", "b")], "cannot end with an answer"),
        ([Message("assistant", "b", prefix=True)], "cannot end with an answer"),
        (
            [Message("user", "a"), Message("assistant", "b"), Message("system", "c")],
            r"message 3 \(system\) cannot follow",
        ),
        ([Message("user", "a"), Message("assistant", ""), Message("user", "c")], "no content|without content"),
        ([Message("user", "a"), Message("assistant", "b", prefix=True), Message("user", "c")], "message 2 .* last"),
        ([Message("user", "a", prefix=True)], "only an assistant message"),
        ([Message("user", "a", tokens=(1,))], "only an assistant message"),
    ],
)
def test_what_no_version_can_express(version: str, messages: list[Message], reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        render(messages, version)


def test_an_unknown_version_is_refused_by_name() -> None:
    assert tuple(template.VERSIONS) == VERSIONS
    with pytest.raises(TemplateError, match="unknown template 'v8'; known templates: v3, v3-tekken, v7-tekken"):
        render([Message("user", "a")], "v8")


# Messages from JSON


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
        ('[{"role": "tool", "content": "a", "tool_call_id": "123456789"}]', "message 1 uses tools"),
        ('[{"role": "assistant", "tool_calls": [{"id": "1"}]}]', "message 1 uses tools"),
        ('[{"role": "user", "content": "a", "na\\nme": "b"}]', r'message 1 has a field .* "na\\nme"'),
        ('[{"role": "user", "content": "a", "tokens": [1]}]', 'does not know: "tokens"'),
        ('[{"role": "user"}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": null}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": 7}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": {"type": "text", "text": "a"}}]', 'message 1 needs "content"'),
        ('[{"role": "user", "content": ["a"]}]', "content of the type null"),
        ('[{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]', 'type "image_url"; .* only text'),
        ('[{"role": "user", "content": [{"type": "text"}]}]', "message 1: a text chunk is"),
        ('[{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]', "message 1: a text chunk is"),
        ('[{"role": "user", "content": "a", "prefix": false}]', "only an assistant message has it"),
        ('[{"role": "assistant", "content": "a", "prefix": 1}]', "is true or false"),
    ],
    ids=range(25),
)
def test_messages_that_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason) as caught:
        parse_messages(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_messages_are_bounded() -> None:
    with pytest.raises(TemplateError, match="longer than 64 million characters"):
        parse_messages(" " * (MAX_JSON_CHARACTERS + 1))


# Injection


@pytest.mark.parametrize("version", VERSIONS)
def test_no_content_becomes_a_control_token(version: str) -> None:
    """Hostile strings in every place give the control ids that harmless ones give, at the same turns."""
    special = oracle(version).instruct_tokenizer.tokenizer.special_ids
    rng = random.Random(f"injection {version}")

    def controls(words: list[str]) -> list[int]:
        system, first, answer, second = words
        messages = [("system", system), ("user", first), ("assistant", answer), ("user", second)]
        pieces = render([Message(role, content) for role, content in messages], version)
        return [i for i in vocabulary(version).encode(pieces) if i in special]

    harmless = controls(["a", "b", "c", "d"])
    for _ in range(300):
        words = ["".join(rng.choice((*CONTROL_NAMES, " ", "x")) for _ in range(rng.randint(1, 5))) for _ in range(4)]
        assert controls([word.strip(" ") or "x" for word in words]) == harmless, words


# Pieces


def test_pieces_as_json() -> None:
    pieces: list[Piece] = [Control("[INST]"), Text("[INST] é"), Text(""), Tokens((1, 2)), Tokens(())]
    assert [from_json(json.loads(json.dumps(to_json(piece)))) for piece in pieces] == pieces
    assert to_json(Control("</s>")) == {"control": "</s>"}


NO_PIECES = [
    *(None, [], {}, "a", {"image": "x"}, {"text": "a", "control": "b"}, {"control": 1}, {"text": None}),
    *({"tokens": 1}, {"tokens": ["1"]}, {"tokens": [True]}, {"tokens": [1.0]}),
]


@pytest.mark.parametrize("value", NO_PIECES)
def test_json_that_is_no_piece(value: object) -> None:
    with pytest.raises(TemplateError, match="a piece must be"):
        from_json(value)
