"""One question, one answer: on a terminal as Markdown, in a pipe as it is."""

from __future__ import annotations

import io
import signal

import pytest
from fake_engine import FakeEngine
from fake_screen import Screen

from minichat.conversation import Conversation
from minichat.engine.types import Done, Sampling
from minichat.terminal.answer import answer_once
from quant.errors import ContextError, EngineError


def ask(engine: FakeEngine, out: object) -> tuple[Done, Conversation]:
    conversation = Conversation("v7-tekken")
    conversation.ask("Hi")
    return answer_once(engine, conversation, Sampling(seed=1), None, out), conversation  # type: ignore[arg-type]


def test_a_pipe_gets_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = io.StringIO()
    engine = FakeEngine(["**Hello**", ", you."])
    done, conversation = ask(engine, pipe)
    assert pipe.getvalue() == "**Hello**, you.\n"
    assert capsys.readouterr() == ("", "")
    assert done.text == conversation.messages[-1].content == "**Hello**, you."
    assert engine.sampling == Sampling(seed=1)


def test_a_terminal_gets_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(60, 24)
    ask(FakeEngine(["**Hello**", ", you."]), screen)
    assert screen.text() == ["Hello, you."]


def test_ctrl_c_ends_the_answer_and_then_the_program() -> None:
    pipe = io.StringIO()
    engine = FakeEngine(["One", lambda: signal.raise_signal(signal.SIGINT), " two"])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ask(engine, pipe)
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
