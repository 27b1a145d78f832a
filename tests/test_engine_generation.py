"""The decode loop on a scripted model: what becomes of bytes, ends and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from minichat.engine import generation
from minichat.engine.types import Chunk, Done, Prefill
from quant.errors import ContextError

END = 0


class ScriptedLlama:
    """Samples the ids of a script, then END. `cached` as in `Llama`."""

    ctx = ctx_train = 100
    is_short_of_memory = False
    gallery = None

    def __init__(self, script: Sequence[int]) -> None:
        self.script = [*script, END]
        self.cached: list[int] = []
        self.on_decode: Callable[[], None] = lambda: None
        self.decodes = True

    def reserve(self, tokens: int) -> None:
        pass

    def reuse(self, prompt: Sequence[int]) -> int:
        return 0

    def decode(self, ids: Sequence[int], every: bool = False) -> bool:
        self.on_decode()
        if self.decodes:
            self.cached.extend(ids)
        return self.decodes

    def draw(self, _at: int) -> int:
        return self.script.pop(0)

    def ends(self, token: int) -> bool:
        return token == END


class ByteTokenizer:
    """Token n is the byte n; those above 1000 are control tokens."""

    control_names: ClassVar[dict[int, str]] = {1001: "[TOOL_CALLS]", 1002: "[ARGS]", 1003: "[THINK]", 1004: "[/THINK]"}

    def answer_bytes(self, token: int, first: bool) -> bytes:
        return bytes([token])


def generate(llama: ScriptedLlama, max_tokens: int | None = None, stopped: Callable[[], bool] = lambda: False):  # type: ignore[no-untyped-def]
    events = list(generation.generate(llama, ByteTokenizer(), [1, 2], llama.draw, max_tokens, stopped))  # type: ignore[arg-type]
    return [e for e in events if isinstance(e, Chunk)], events[-1]


@pytest.fixture(autouse=True)
def _every_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "EMIT_S", 0.0)


def test_characters_are_sent_whole() -> None:
    text = "é→🐈a"
    chunks, done = generate(ScriptedLlama(text.encode()))
    assert [chunk.text for chunk in chunks] == ["é", "→", "🐈", "a"]
    assert (done.reason, done.text, bytes(done.tokens)) == ("eos", text, text.encode())


def test_bytes_that_are_no_text_are_marked() -> None:
    _, done = generate(ScriptedLlama(b"a\xffb\xf0\x9f"))
    assert done.text == "a�b�"


def test_an_answer_cut_inside_a_character_ends_before_it() -> None:
    _, done = generate(ScriptedLlama("a🐈".encode()), max_tokens=3)
    assert (done.reason, done.text, len(done.tokens)) == ("length", "a", 3)


def test_no_tokens_asked_for_none_made() -> None:
    _, done = generate(ScriptedLlama(b"abc"), max_tokens=0)
    assert (done.reason, done.tokens) == ("length", ())


def test_a_stop_between_tokens_keeps_what_was_said() -> None:
    llama = ScriptedLlama(b"abcdef")
    _, done = generate(llama, stopped=lambda: len(llama.cached) >= 4)
    assert (done.reason, done.text) == ("stop", "ab")


def test_a_decode_that_is_aborted_ends_the_answer() -> None:
    llama = ScriptedLlama(b"abcdef")

    def abort_later() -> None:
        llama.decodes = len(llama.cached) < 4

    llama.on_decode = abort_later
    _, done = generate(llama)
    assert (done.reason, done.text) == ("stop", "abc")
    assert len(llama.cached) == 4


def test_a_full_context_ends_the_answer() -> None:
    llama = ScriptedLlama(b"x" * 200)
    _, done = generate(llama)
    assert (done.reason, len(done.tokens)) == ("context", 99)


def test_a_prompt_needs_room_for_an_answer() -> None:
    llama = ScriptedLlama(b"x")
    with pytest.raises(ContextError, match=r"1,000 tokens long, and the context holds 100; shorten it$"):
        list(generation.prefill(llama, [1] * 1000, lambda: False))  # type: ignore[arg-type]
    llama.ctx_train = 2048
    with pytest.raises(ContextError, match=r"raise the limit with --ctx \(this model takes up to 2,048\)$"):
        list(generation.prefill(llama, [1] * 1000, lambda: False))  # type: ignore[arg-type]
    llama.is_short_of_memory = True
    with pytest.raises(ContextError, match=r"; memory has no room for more \(--cache-type q8_0 or q4_0 takes less\)$"):
        list(generation.prefill(llama, [1] * 1000, lambda: False))  # type: ignore[arg-type]


def test_a_long_prompt_is_decoded_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "BATCH", 30)
    llama = ScriptedLlama(b"x")
    steps = list(generation.prefill(llama, range(1, 71), lambda: False))  # type: ignore[arg-type]
    assert steps == [Prefill(0, 70, 0), Prefill(30, 70, 0), Prefill(60, 70, 0), Prefill(70, 70, 0)]
    assert llama.cached == list(range(1, 71))


def test_text_waits_for_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "EMIT_S", 60.0)
    chunks, done = generate(ScriptedLlama(b"hello"))
    assert [chunk.text for chunk in chunks] == ["h", "ello"]
    assert isinstance(done, Done)
