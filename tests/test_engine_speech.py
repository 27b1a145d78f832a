"""What becomes of a model's tokens: whole characters, spans, and the kinds of text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from mistral_oracle import header, oracle

from minichat.engine.speech import Speech
from minichat.engine.types import Chunk
from minichat.template.pieces import Control, Text
from minichat.tokenizer import load

CALLS, ARGS, THINK, END_THINK, OTHER_THINK, OTHER_END, TURN = range(1001, 1008)
NAMES = {CALLS: "[TOOL_CALLS]", ARGS: "[ARGS]", THINK: "[THINK]", END_THINK: "[/THINK]"}
NAMES |= {OTHER_THINK: "<think>", OTHER_END: "</think>", TURN: "<|im_start|>"}


class ByteTokenizer:
    """Token n is the byte n; those above 1000 are control tokens. A ~ is a space, but not at a text's beginning."""

    control_names = NAMES

    def answer_bytes(self, token: int, first: bool) -> bytes:
        return bytes([token]) if first else bytes([token]).replace(b"~", b" ")


def said(*parts: str | bytes | int, prompt: Sequence[int] = ()) -> Speech:
    speech = Speech(ByteTokenizer(), prompt)  # type: ignore[arg-type]
    for token in tokens_of(parts):
        speech.add(token)
    speech.finish()
    return speech


def tokens_of(parts: Sequence[str | bytes | int]) -> list[int]:
    tokens: list[int] = []
    for part in parts:
        tokens += [part] if isinstance(part, int) else part if isinstance(part, bytes) else part.encode()
    return tokens


def test_a_call_is_told_by_its_control_token() -> None:
    speech = said("Let me see.", CALLS, '[{"name": "a"}]')
    assert speech.spans == (("Let me see.", False), ("[TOOL_CALLS]", True), ('[{"name": "a"}]', False))
    assert speech.take() == [Chunk("Let me see."), Chunk('[{"name": "a"}]', "call")]
    assert speech.text == "Let me see."


def test_a_text_that_names_a_control_token_is_a_text() -> None:
    speech = said("[TOOL_CALLS]", '[{"name": "a"}]')
    assert speech.spans == (('[TOOL_CALLS][{"name": "a"}]', False),)
    assert speech.take() == [Chunk('[TOOL_CALLS][{"name": "a"}]')]


def test_a_call_goes_on_behind_control_tokens_that_are_no_others_beginning() -> None:
    speech = said(CALLS, "weather", ARGS, "{}", CALLS, "time", ARGS, "{}")
    assert [chunk.kind for chunk in speech.take()] == ["call"]
    assert [text for text, is_control in speech.spans if is_control] == ["[TOOL_CALLS]", "[ARGS]"] * 2


def test_thoughts_have_an_end() -> None:
    speech = said(THINK, "Hm.", END_THINK, "Yes.")
    assert speech.take() == [Chunk("Hm.", "think"), Chunk("Yes.")]
    assert speech.text == "Yes."


def test_other_families_thoughts_are_no_answer() -> None:
    speech = said(OTHER_THINK, "Hm.", OTHER_END, "Yes.")
    assert speech.take() == [Chunk("Hm.", "think"), Chunk("Yes.")]
    assert speech.text == "Yes."


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ((TURN, 65, OTHER_THINK, 10), "Yes."),
        ((TURN, 65, THINK), "Yes."),
        ((TURN, 65, OTHER_THINK, 10, OTHER_END, 10), "Hm.Yes."),
        ((OTHER_THINK, 65, TURN, 65), "Hm.Yes."),
        ((CALLS, 65), "Hm.Yes."),
    ],
)
def test_a_thought_that_the_prompt_opens(prompt: Sequence[int], text: str) -> None:
    assert said("Hm.", OTHER_END, "Yes.", prompt=prompt).text == text


def test_characters_are_whole_in_chunks_and_spans() -> None:
    speech = Speech(ByteTokenizer())  # type: ignore[arg-type]
    cat = "🐈".encode()
    for byte in b"a" + cat[:3]:
        speech.add(byte)
    assert speech.take() == [Chunk("a")]
    assert speech.spans == (("a", False),)
    speech.add(cat[3])
    assert (speech.take(), speech.spans) == ([Chunk("🐈")], (("a🐈", False),))


def test_a_character_cut_off_by_a_control_token_is_marked_on_its_own_side() -> None:
    speech = said("a🐈".encode()[:3], CALLS, "b")
    assert speech.spans == (("a\ufffd", False), ("[TOOL_CALLS]", True), ("b", False))
    assert speech.take() == [Chunk("a\ufffd"), Chunk("b", "call")]


def test_each_text_begins_anew_behind_a_control_token() -> None:
    assert said("~a~b", CALLS, "~c~d").spans == (("~a b", False), ("[TOOL_CALLS]", True), ("~c d", False))


@pytest.mark.parametrize("version", ["v3", "v3-tekken", "v7-tekken"])
def test_spans_are_what_was_written(version: str) -> None:
    sentencepiece = oracle(version).instruct_tokenizer.tokenizer._model.encode if version == "v3" else None
    tokenizer = load(header(version), sentencepiece)
    call = '[{"name": "get_current_weather", "arguments": {"location": "København 🐈"}, "id": "D681PevKs"}]'
    speech = Speech(tokenizer)
    for token in tokenizer.encode([Text("Let me see [TOOL_CALLS]."), Control("[TOOL_CALLS]"), Text(call)]):
        speech.add(token)
    assert speech.spans == (("Let me see [TOOL_CALLS].", False), ("[TOOL_CALLS]", True), (call, False))
    assert speech.text == "Let me see [TOOL_CALLS]."
