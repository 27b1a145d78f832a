"""What a person sees when the engine dies: one line, the conversation, the message in the prompt, and all goes on."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_screen import Screen
from signalled_chat import DEADLY, SignalledChat, numbers
from test_terminal_repl import CTRL_C, CTRL_D, ENTER, chat_with, type_into
from test_terminal_repl import screen as screen

from quant.errors import EngineDiedError, EngineError, GgufError

DEATH = EngineDiedError("the engine died: SIGBUS")
AGAIN = "minichat: the engine died: SIGBUS; it starts again, and the conversation is still there"
NO_MORE = "minichat: the engine died: SIGBUS; it had just been started again: /reload tries once more"


class Dead(FakeEngine):
    """One that died while nobody asked it anything."""

    def has_died(self) -> bool:
        return True

    def check_alive(self) -> None:
        raise DEATH


def said(screen: Screen) -> str:
    return " ".join(" ".join(screen.text()).split())


def test_a_death_before_a_word_puts_the_message_back(screen: Screen) -> None:
    dead, fresh = FakeEngine([DEATH]), FakeEngine(["Hello."])
    chat = chat_with(dead, fresh)
    chat.conversation.ask("Hi")
    chat.conversation.answer("Hello", (1,))
    type_into(screen, chat, f"Go{ENTER} on{ENTER}{CTRL_D}")
    assert said(screen) == f"{AGAIN} Hello."
    assert dead.closed
    assert [m.content for m in chat.conversation.messages] == ["Hi", "Hello", "Go on", "Hello."]


def test_a_death_in_the_middle_keeps_what_was_said(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["Half an ans", DEATH]), FakeEngine(["wer."]))
    type_into(screen, chat, f"Go{ENTER}/continue{ENTER}{CTRL_D}")
    assert said(screen) == f"Half an ans {AGAIN} wer."
    assert [m.content for m in chat.conversation.messages] == ["Go", "Half an answer."]


def test_a_second_death_without_an_answer_between_is_left_to_the_person(screen: Screen) -> None:
    chat = chat_with(FakeEngine([DEATH]), FakeEngine([DEATH]), FakeEngine(["There."]))
    type_into(screen, chat, f"Go{ENTER}{ENTER}/reload{ENTER}Go{ENTER}{CTRL_D}")
    again = "the engine starts again; the conversation is still there"
    assert said(screen) == f"{AGAIN} {NO_MORE} (Up brings the message back) {again} There."
    assert [m.content for m in chat.conversation.messages] == ["Go", "There."]


def test_an_answer_makes_the_count_begin_anew(screen: Screen) -> None:
    engines = [FakeEngine([DEATH]), *(FakeEngine(["Yes."], [DEATH]) for _ in range(3)), FakeEngine()]
    chat = chat_with(engines[0], *engines[1:])
    type_into(screen, chat, f"Go{ENTER}{ENTER}" + f"Go{ENTER}{ENTER}" * 2 + f"Go{ENTER}{CTRL_C}{CTRL_D}")
    assert said(screen).count(AGAIN) == 4
    assert NO_MORE not in said(screen)


def test_a_death_that_nobody_saw_is_told_and_the_message_answered(screen: Screen) -> None:
    chat = chat_with(Dead(), FakeEngine(["Hello."]))
    type_into(screen, chat, f"Hi{ENTER}{CTRL_D}")
    assert said(screen) == f"{AGAIN} Hello."


def test_an_edited_turn_that_was_not_answered_is_still_edited(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One."], [DEATH]), FakeEngine(["Two."]))
    type_into(screen, chat, f"Hi{ENTER}/edit 1{ENTER}!{ENTER}?{ENTER}{CTRL_D}")
    assert [m.content for m in chat.conversation.messages] == ["Hi!?", "Two."]


def test_an_engine_that_cannot_be_started_is_the_line(screen: Screen) -> None:
    chat = chat_with(FakeEngine([DEATH]))

    def fails(_: object) -> FakeEngine:
        raise EngineError("the engine cannot be started: Cannot allocate memory")

    chat.open_engine = fails  # type: ignore[assignment]
    type_into(screen, chat, f"Hi{ENTER}{CTRL_C}{CTRL_D}")
    assert said(screen) == "minichat: the engine died: SIGBUS, and the engine cannot be started: Cannot allocate memory"
    assert chat.conversation.messages == []


class Unloadable(FakeEngine):
    """One that tells so a moment after the prompt is there."""

    @property  # type: ignore[override]
    def on_end(self) -> Callable[[], object] | None:
        return self._told

    @on_end.setter
    def on_end(self, told: Callable[[], object] | None) -> None:
        self._told = told
        if told is not None:
            threading.Timer(0.3, self._fail).start()

    def _fail(self) -> None:
        self.failure = GgufError("x.gguf: not a GGUF file")
        if self._told is not None:
            self._told()


def test_a_model_that_turns_out_to_be_none_ends_the_prompt(screen: Screen, tmp_path: Path) -> None:
    chat = chat_with(Unloadable())
    chat.history_path = tmp_path / "history"
    with pytest.raises(GgufError, match="not a GGUF"):
        type_into(screen, chat, "half a mess")
    assert "half a mess" in chat.history_path.read_text()


def test_leaving_tells_of_a_model_that_could_not_be_loaded(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    chat = chat_with(engine)

    def leave(*_: object) -> str:
        engine.failure = GgufError("x.gguf: not a GGUF file")
        raise EOFError

    monkeypatch.setattr("minichat.terminal.prompt.Prompt.read", leave)
    with pytest.raises(GgufError, match="not a GGUF"):
        type_into(screen, chat, "")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc")
def test_in_a_terminal(tmp_path: Path) -> None:
    rng = random.Random(3)
    with SignalledChat(numbers(tmp_path)) as chat:
        took = [chat.send(rng.choice(DEADLY), moment, rng) for moment in ("typing", "loading", "answering")]
        assert sorted(took)[len(took) // 2] < 1
        chat.tty.type("\x04")
        assert chat.tty.end() == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc")
def test_a_model_whose_file_is_gone_ends_no_chat(tmp_path: Path) -> None:
    model = numbers(tmp_path)
    with SignalledChat(model) as chat:
        tty = chat.tty
        model.rename(tmp_path / "away")
        tty.type("half a mess")
        os.kill(chat.engine(), signal.SIGKILL)
        tty.wait_for("it starts again")
        tty.type("age")
        tty.send("")
        tty.wait_for("/reload tries again")
        tty.wait_for(">>> half a message", times=2)
        tty.type("\x03")
        tty.ask("/context")
        assert "to begin with" in tty.text()
        (tmp_path / "away").rename(model)
        tty.ask("/reload")
        answers = tty.text().count("n0 n1 ")
        tty.ask("and now")
        assert tty.text().count("n0 n1 ") == answers + 1
        tty.type("\x04")
        assert tty.end() == 0
