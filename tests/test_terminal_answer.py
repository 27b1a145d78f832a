"""One question, one answer: on a terminal as Markdown, in a pipe as it is."""

from __future__ import annotations

import io
import signal
import sys
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_screen import Screen

from minichat.conversation import Conversation
from minichat.engine.types import Chunk, Done, Sampling
from minichat.template.pieces import Control
from minichat.terminal.answer import stream_answer
from minichat.terminal.plain import SentenceStream
from minichat.terminal.progress import StatusLine
from quant.errors import ContextError, EngineError


def ask(engine: FakeEngine, out: object, **fields: Any) -> tuple[Done, bool]:
    conversation = Conversation("v7-tekken")
    conversation.ask("Hi")
    status = StatusLine(sys.stderr)
    pieces = conversation.pieces()
    return stream_answer(engine, pieces, Sampling(seed=1), None, out, status, **fields)  # type: ignore[arg-type]


def test_a_pipe_gets_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = io.StringIO()
    engine = FakeEngine(["**Hello**", ", you."])
    done, interrupted = ask(engine, pipe)
    assert pipe.getvalue() == "**Hello**, you.\n"
    assert capsys.readouterr() == ("", "")
    assert (done.text, interrupted) == ("**Hello**, you.", False)
    assert engine.sampling == Sampling(seed=1)


def test_a_terminal_gets_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(60, 24)
    ask(FakeEngine(["**Hello**", ", you."]), screen)
    assert screen.text() == ["Hello, you."]


def test_ctrl_c_ends_the_answer() -> None:
    pipe = io.StringIO()
    engine = FakeEngine(["One", lambda: signal.raise_signal(signal.SIGINT), " two"])
    before = signal.getsignal(signal.SIGINT)
    done, interrupted = ask(engine, pipe)
    assert (done.text, interrupted) == ("One", True)
    assert pipe.getvalue() == "One\n"
    assert engine.stops
    assert signal.getsignal(signal.SIGINT) is before


def test_a_closed_pipe_is_passed_on() -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        ask(FakeEngine(["One", "two"]), Closed())


def test_errors_are_passed_on_after_what_was_said() -> None:
    pipe = io.StringIO()
    with pytest.raises(EngineError, match="died"):
        ask(FakeEngine(["Half", EngineError("the engine died")]), pipe)
    assert pipe.getvalue() == "Half\n"
    pipe = io.StringIO()
    with pytest.raises(ContextError, match="4 tokens"):
        ask(FakeEngine(["x"], limit=3), pipe)
    assert pipe.getvalue() == ""


THOUGHT = [Control("[THINK]"), Chunk("Hm.", "think"), Chunk(" Yes.", "think"), Control("[/THINK]"), "**Four.**"]


def test_thoughts_are_dim_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(60, 24)
    ask(FakeEngine(THOUGHT), screen)
    assert screen.text() == ["Hm. Yes.", "Four."]


def test_thoughts_and_calls_stay_out_of_a_pipe() -> None:
    pipe = io.StringIO()
    called = [*THOUGHT, Control("[TOOL_CALLS]"), Chunk('[{"name": "f"}]', "call")]
    done, _ = ask(FakeEngine(called), pipe)
    assert pipe.getvalue() == "**Four.**\n"
    assert done.text == "**Four.**"


def test_what_must_be_json_is_no_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(60, 24)
    engine = FakeEngine(['{"a": "*b*"}'])
    ask(engine, screen, grammar="root ::= object")
    assert screen.text() == ['{"a": "*b*"}']
    assert engine.grammars == ["root ::= object"]


def test_every_chunk_is_heard_before_it_is_shown() -> None:
    pipe = io.StringIO()
    seen: list[tuple[Chunk, str]] = []
    ask(FakeEngine(THOUGHT), pipe, heard=lambda chunk: seen.append((chunk, pipe.getvalue())))
    assert [chunk for chunk, _ in seen] == [Chunk("Hm.", "think"), Chunk(" Yes.", "think"), Chunk("**Four.**")]
    assert [shown for _, shown in seen] == ["", "", ""]


def test_plain_says_who_speaks_and_leaves_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(60, 24)
    written: list[str] = []
    screen.write = lambda text: written.append(text) or len(text)  # type: ignore[method-assign,func-returns-value,assignment]
    ask(FakeEngine(THOUGHT), screen, plain=True)
    assert "".join(written) == "thinking: Hm. Yes.\nminichat: **Four.**\n"


def test_plain_leaves_a_pipe_alone() -> None:
    pipe = io.StringIO()
    ask(FakeEngine(THOUGHT), pipe, plain=True)
    assert pipe.getvalue() == "**Four.**\n"


class _Written(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)


@pytest.mark.parametrize(
    ("pieces", "parts"),
    [
        (["One", " two.", " Three", "! Four"], ["> One two. ", "Three! ", "Four", "\n"]),
        (["3", ".", "5 is", " it."], ["> 3.5 is it.", "\n"]),
        (['He said "no', '."', " Then"], ['> He said "no." ', "Then", "\n"]),
        (["- a\n- ", "b\n"], ["> - a\n", "- b\n"]),
        (["你好。世", "界"], ["> 你好。", "世界", "\n"]),
        ([], []),
    ],
)
def test_sentences_come_whole(pieces: list[str], parts: list[str]) -> None:
    out = _Written()
    stream = SentenceStream(out, "> ", lambda: 0.0)
    for piece in pieces:
        stream.feed(piece)
    stream.close()
    assert out.parts == parts


def test_a_slow_sentence_comes_in_words() -> None:
    out, now_s = _Written(), [0.0]
    stream = SentenceStream(out, "", lambda: now_s[0])
    for piece in ("The ", "qu", "ick ", "brown", " f", "ox."):
        stream.feed(piece)
        now_s[0] += 0.6
    stream.close()
    assert out.parts == ["The quick ", "brown ", "fox.", "\n"]
