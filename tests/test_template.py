"""The templates against mistral-common: the same ids, or both refuse."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import random
from pathlib import Path
from typing import Any

import pytest
import random_conversations
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_oracle import VERSIONS, expected_ids, oracle
from template_checks import STRICTER, difference, ours, vocabulary

from minichat import symbols, template
from minichat.template import render
from minichat.template.messages import Call, ImagePart, Message, TextPart, ThinkPart, parse_messages
from minichat.template.pieces import Control, Image, Piece, Text, Tokens
from minichat.template.tools import Tool
from quant.errors import TemplateError

GOLDEN = json.loads((Path(__file__).parent / "data" / "templates" / "golden.json").read_text(encoding="utf-8"))
CONVERSATIONS = 160  # random ones for each version, half of them broken; tests/oracle.py makes thousands


# Equality with mistral-common


@pytest.mark.parametrize("version", VERSIONS)
def test_random_conversations(version: str) -> None:
    rng = random.Random(f"conversations {version}")
    counts: dict[tuple[str, bool | None], int] = {}
    for make in (random_conversations.conversation, random_conversations.broken):
        for _ in range(CONVERSATIONS // 2):
            messages, tools = make(rng, version)
            expressed, problem = difference(messages, version, tools)
            assert problem is None, problem
            counts[make.__name__, expressed] = counts.get((make.__name__, expressed), 0) + 1
    assert counts["conversation", True] > CONVERSATIONS * 0.4
    assert counts["broken", True] > CONVERSATIONS * 0.05
    assert counts["broken", False] > CONVERSATIONS * 0.2
    assert counts.get(("broken", None), 0) < CONVERSATIONS * 0.05


@pytest.mark.parametrize("version", VERSIONS)
def test_all_orders_of_up_to_four_roles(version: str) -> None:
    names = ("system", "user", "assistant", "call", "tool")
    call = {"tool_calls": [{"id": "D681PevKs", "function": {"name": "f", "arguments": "{}"}}]}
    kinds: dict[str, dict[str, Any]] = {
        "call": {"role": "assistant", **call},
        "tool": {"role": "tool", "content": "x", "tool_call_id": "D681PevKs"},
    }
    orders: list[tuple[str, ...]] = [()]
    for order in orders:
        messages = [kinds.get(role, {"role": role, "content": f"{role} {i}"}) for i, role in enumerate(order)]
        assert difference(messages, version, None)[1] is None
        if order and messages[-1]["role"] == "assistant":
            assert difference([*messages[:-1], {**messages[-1], "prefix": True}], version, None)[1] is None
        if len(order) < 4:
            orders += [(*order, name) for name in names]
    assert len(orders) == 781


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_cases(case: dict[str, Any]) -> None:
    assert tuple(case["versions"]) == VERSIONS
    for version, text in case["versions"].items():
        expected = expected_ids(case["messages"], version, case.get("tools"))
        found, why = ours(case["messages"], version, case.get("tools"))
        if text is None:
            assert found is None
            assert expected is None or STRICTER.search(why)
        else:
            assert found == expected
            assert vocabulary(version).text(found or []) == text


@pytest.mark.parametrize("version", VERSIONS)
def test_text_of_a_prompt(version: str) -> None:
    rng = random.Random("text")
    for _ in range(60):
        messages, tools = random_conversations.conversation(rng, version)
        if (tokens := ours(messages, version, tools)[0]) is not None:
            shown = oracle(version).decode(tokens, special_token_policy=SpecialTokenPolicy.KEEP)
            assert vocabulary(version).text(tokens) == shown


# What is knowingly different


def test_chunks_without_text_count_as_an_empty_string() -> None:
    """mistral-common's versions up to V3 take a list of empty texts for content where "" is none."""
    empty = [{"type": "text", "text": ""}]
    user = {"role": "user", "content": "u"}
    for version in VERSIONS:
        for messages in ([{"role": "user", "content": empty}], [{"role": "system", "content": empty}, user]):
            assert ours(messages, version)[0] == expected_ids(messages, version)
    systems = [{"role": "system", "content": empty}, {"role": "system", "content": "s"}, user]
    for version in VERSIONS:
        found = ours(systems, version)[0]
        assert found == ours([{**systems[0], "content": ""}, *systems[1:]], version)[0]
        assert (found != expected_ids(systems, version)) == (version in ("v1", "v2", "v3", "v3-tekken"))


QUESTION = {"role": "user", "content": "q"}
CALLED = {"role": "assistant", "tool_calls": [{"id": "D681PevKs", "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "D681PevKs", "content": "x"}


def test_what_only_minichat_refuses() -> None:
    """What mistral-common's laxest validation lets through, and its strictest does not, or drops without a word."""
    tool = {"function": {"name": "f", "parameters": {}}}
    for version in VERSIONS[1:]:
        stray = [QUESTION, CALLED, RESULT, RESULT]
        foreign = [QUESTION, CALLED, {**RESULT, "tool_call_id": "abcdefgh1"}]
        line_end = [QUESTION, json.loads(json.dumps(CALLED).replace('"f"', '"f\\n"')), RESULT]
        assert "answers no call" in ours(stray, version)[1]
        assert (ours(foreign, version)[0] is None) == (version != "v2")
        assert "a tool's name is" in ours(line_end, version)[1]
        strict_there = version in ("v11", "v13")
        assert (expected_ids(stray, version) is None) == (strict_there or version == "v2")
        assert (expected_ids(foreign, version) is None) == strict_there
        assert expected_ids(line_end, version) is not None
    assert "template v1 cannot express tools" in ours([QUESTION], "v1", [tool])[1]
    assert expected_ids([QUESTION], "v1", [tool]) == ours([QUESTION], "v1")[0]


def test_json_that_python_cannot_hold_stays_a_text() -> None:
    """mistral-common ends with an error of Python's there."""
    for text in ("1" * 5_000, "[" * 200_000):
        messages = [QUESTION, CALLED, {**RESULT, "content": text}]
        shown = {"content": text, "call_id": "D681PevKs"}
        assert render_json(messages, "v3")[-2] == Text(json.dumps(shown))


def render_json(messages: list[dict[str, Any]], version: str) -> list[Piece]:
    return render(parse_messages(json.dumps(messages)), version)


# Answers that keep their tokens


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_with_its_tokens_is_shown_as_it_was_written(version: str) -> None:
    written = (1500, 1501, 1502)
    messages = [Message("user", "a"), Message("assistant", "b ", written), Message("user", "c")]
    assert render(messages, version) == [
        *(Control("<s>"), *asked("a", version), Tokens(written)),
        *(Control("</s>"), *asked("c", version)),
    ]
    # With the ids that mistral-common gives the text, it is mistral-common's prompt.
    said = "b " if version == "v1" else "b"
    plain = [{"role": m.role, "content": m.content} for m in messages]
    kept = [messages[0], Message("assistant", "b ", tuple(vocabulary(version).encode([Text(said)]))), messages[2]]
    assert vocabulary(version).encode(render(kept, version)) == expected_ids(plain, version)


def asked(text: str, version: str) -> list[Piece]:
    if version == "v1":
        return [Text(f"[INST] {text} [/INST]")]
    return [Control("[INST]"), Text(text), Control("[/INST]")]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_of_no_tokens_and_one_to_continue(version: str) -> None:
    empty = render([Message("user", "a"), Message("assistant", "", ()), Message("user", "c")], version)
    assert empty == [Control("<s>"), *asked("a", version), Control("</s>"), *asked("c", version)]
    assert render([Message("user", "a"), Message("assistant", "", (7,), prefix=True)], version)[-1] == Tokens((7,))


def test_answers_in_a_row_are_one_text() -> None:
    run = [Message("user", "a"), Message("assistant", "b", (1,)), Message("assistant", "c", (2,)), Message("user", "d")]
    assert Text("b\n\nc") in render(run, "v7-tekken")


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_tokens_stand_for_calls_too(version: str) -> None:
    """Whatever the model wrote beside its calls; only V2 leaves them out, once another question follows."""
    answer = Message("assistant", "I look.", (8, 9), calls=(Call("f", "{}", "D681PevKs"),))
    talk = [Message("user", "a"), answer, Message("tool", "x", call_id="D681PevKs", name="f")]
    assert render(talk, version)[4:6] == [Tokens((8, 9)), Control("</s>")]
    later = render([*talk, Message("assistant", "b"), Message("user", "c")], version)
    assert (Tokens((8, 9)) in later) == (Control("[TOOL_RESULTS]") in later) == (version != "v2")
    if version in ("v2", "v3", "v3-tekken"):
        bare = Message("assistant", "I look.", calls=answer.calls)
        with pytest.raises(TemplateError, match=f"{version} cannot express both a text and calls"):
            render([talk[0], bare, talk[2]], version)


# Places


def test_a_picture_is_a_piece_of_its_own() -> None:
    content = (TextPart("What"), TextPart("is it?"), ImagePart("[INST].png"))
    pieces = render([Message("system", "Look."), Message("user", content)], "v3-tekken")
    assert pieces[1:] == [
        *(Control("[INST]"), Text("Look.\n\n"), Image("[INST].png")),
        *(Text("What\n\nis it?"), Control("[/INST]")),
    ]
    controls = vocabulary("v3-tekken").controls
    patch, row_end, end = (controls[name] for name in ("[IMG]", "[IMG_BREAK]", "[IMG_END]"))
    image = Image("x", columns=2, rows=2)
    assert vocabulary("v3-tekken").encode([image]) == [patch, patch, row_end, patch, patch, end]
    with pytest.raises(TemplateError, match="nobody has looked at the picture 'x'"):
        vocabulary("v3-tekken").encode([Image("x")])


def test_thinking_keeps_what_stands_beside_it() -> None:
    content = (ThinkPart(""), TextPart("a  "), ThinkPart("b", closed=False))
    pieces = render([Message("user", "q"), Message("assistant", content, prefix=True)], "v13")
    assert pieces[4:] == [
        *(Control("[THINK]"), Control("[/THINK]"), Text("a  ")),
        *(Control("[THINK]"), Text("b")),
    ]


# What is refused

IMAGE = Message("user", (TextPart("a"), ImagePart("x")))
THOUGHT = Message("assistant", (ThinkPart("a"), TextPart("b")))
CALL = Message("assistant", "", calls=(Call("f", "{}", "D681PevKs"),))
REPLY = Message("tool", "x", call_id="D681PevKs")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "conversation is empty"),
        ([Message("robot", "x")], "message 1 has an unknown role"),
        ([Message("tool", "x", call_id="D681PevKs")], "message 1 .tool. answers no call"),
        ([Message("user", "a"), REPLY], r"message 2 \(tool\) cannot follow a message of the role user"),
        ([Message("user", "a"), Message("assistant", "b"), REPLY], r"message 3 \(tool\) answers no call"),
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
        ([Message("user", "a", calls=CALL.calls)], "only an assistant message"),
        ([Message("user", "a", call_id="D681PevKs")], "only a tool message"),
        ([Message("user", "a"), Message("assistant", "b", name="f"), Message("user", "c")], "only a tool message"),
        ([Message("user", "a"), Message("assistant", (ImagePart("x"),)), Message("user", "c")], "only a user message"),
        ([Message("user", (ThinkPart("x"),))], "only an assistant or a system message"),
        ([Message("user", "a"), Message("assistant", "", calls=(Call("a b", "{}", "D681PevKs"),))], "name|v1 cannot"),
        (
            [Message("user", "a"), CALL, Message("assistant", "b", prefix=True)],
            "before the results of 1 calls|v1 cannot",
        ),
    ],
)
def test_what_no_version_can_express(version: str, messages: list[Message], reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        render(messages, version)


@pytest.mark.parametrize(
    ("messages", "allowed"),
    [
        ([IMAGE], ("v3-tekken", "v7", "v7-tekken", "v11", "v13")),
        ([Message("user", "a"), THOUGHT, Message("user", "c")], ("v13",)),
        ([Message("system", (ThinkPart("a"),)), Message("user", "c")], ("v13",)),
        ([Message("user", "a"), CALL, REPLY], VERSIONS[1:]),
        ([Message("user", "a"), Message("assistant", "b", calls=CALL.calls), REPLY], ("v7", "v7-tekken", "v11", "v13")),
        (
            [
                Message("user", "a"),
                Message("assistant", "", calls=CALL.calls * 2),
                Message("tool", "x", call_id="D681PevKs"),
                Message("tool", "y", call_id="D681PevKs"),
            ],
            ("v3", "v3-tekken", "v7", "v7-tekken"),
        ),
    ],
    ids=["image", "thought", "system thought", "call", "text and call", "one id twice"],
)
def test_what_some_versions_can_express(messages: list[Message], allowed: tuple[str, ...]) -> None:
    for version in VERSIONS:
        if version in allowed:
            assert render(messages, version)
        else:
            with pytest.raises(TemplateError):
                render(messages, version)


@pytest.mark.parametrize(
    "call_id", [None, "", "null", "12345678", "1234567890", "12345678-", "123456789\n", "１２３４５６７８９"]
)
def test_ids_of_calls(call_id: str | None) -> None:
    talk = [Message("user", "a"), Message("assistant", "", calls=(Call("f", "{}", call_id),))]
    for version in VERSIONS[1:]:
        ok = version == "v2" or (version == "v13" and call_id not in (None, "", "null"))
        if ok:
            assert render([*talk, Message("tool", "x", call_id=call_id)], version)
        else:
            with pytest.raises(TemplateError, match=r"message 2 \(assistant\)(: a call's id is 9| needs the id)"):
                render([*talk, Message("tool", "x", call_id="D681PevKs")], version)


def test_tools_are_looked_at_when_they_are_shown() -> None:
    for tool, reason in (
        (Tool("a b"), "a tool's name"),
        (Tool("f", parameters={"type": "objekt"}), "the parameters of f are no JSON Schema: 'objekt' is not"),
    ):
        with pytest.raises(TemplateError, match=reason):
            render([Message("user", "a")], "v3", [tool])


def test_nesting_that_json_cannot_write_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"default": deep}
    with pytest.raises(TemplateError, match="nested too deeply"):
        render([Message("user", "a")], "v3", [Tool("f", parameters=deep)])


def test_an_unknown_version_is_refused_by_name() -> None:
    assert tuple(template.VERSIONS) == VERSIONS
    for name, version in template.VERSIONS.items():
        assert (version.name, version.rules.version) == (name, name)
    with pytest.raises(TemplateError, match="unknown template 'v15'; known templates: v1, v2, v3, v3-tekken, v7, v7-t"):
        render([Message("user", "a")], "v15")


def test_the_worked_examples() -> None:
    names = [module.name for module in pkgutil.iter_modules(template.__path__, "minichat.template.")]
    counts = [doctest.testmod(module) for module in (symbols, *map(importlib.import_module, names))]
    assert sum(count.failed for count in counts) == 0
    assert sum(count.attempted for count in counts) > 12
