"""What is typed is read ahead: a beginning of the prompt, at the right moments, and no answer is another one by it."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import llama_oracle
import pytest
from fake_engine import FakeEngine, FakeReading
from mistral_oracle import VERSIONS
from pseudo_terminal import Tty
from random_text import random_text
from typing_hand import CTRL_C, ENTER, chat_of, hand, step_by_step

from minichat import power
from minichat.attachments import attach
from minichat.conversation import EMBEDDED, Conversation
from minichat.engine.client import Engine
from minichat.engine.types import Done, Event, LoadOptions, Prefill, Sampling, Stats
from minichat.formats import any_object
from minichat.template import VERSIONS as TEMPLATES
from minichat.template.messages import Message
from minichat.template.pieces import Control, Piece, Text, Tokens
from minichat.template.tools import Tool
from minichat.terminal.cost import Meter
from minichat.terminal.line_editor import LineEditor
from minichat.terminal.typeahead import Typeahead, beginning, finished, message_to_be
from minichat.tools.toolbox import Toolbox
from quant.errors import ContextError, EngineDiedError, MinichatError

TURN = (Message("user", "Hello"), Message("assistant", "Hi there", tokens=(5, 6, 7)))
TOOL = Tool("f", "A tool.", {"type": "object", "properties": {}})
GREEDY = Sampling(temperature=0)


def is_beginning(begun: Sequence[Piece], whole: Sequence[Piece]) -> bool:
    """Whether `whole` goes on where `begun` ends; a text may end within one."""
    if list(whole[: len(begun)]) == list(begun):
        return True
    *before, last = begun
    if list(whole[: len(before)]) != before or not isinstance(last, Text):
        return False
    there = whole[len(before)]
    return isinstance(there, Text) and there.text.startswith(last.text)


@pytest.mark.parametrize("version", [*VERSIONS, None, EMBEDDED])
@pytest.mark.parametrize("messages", [(), TURN, (*TURN, *TURN)])
def test_it_is_a_beginning_of_whatever_is_sent_then(version: str | None, messages: tuple[Message, ...]) -> None:
    def embedded(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        assert not tools
        return [Control("<|b|>"), *(Text(f"{m.role}: {m.text.strip()}\n") for m in messages), Text("assistant:")]

    rng = random.Random(f"{version}{len(messages)}")
    tools = (TOOL,) if version in TEMPLATES and TEMPLATES[version].rules.tools else ()
    conversation = Conversation(version, "Be kind.", list(messages), tools, embedded)
    for _ in range(25):
        text = "x" + random_text(rng, longest=6)
        typed = text[: rng.randint(0, len(text))]
        begun = beginning(conversation, finished(typed))
        sent = replace(conversation, messages=[*messages, Message("user", text)])
        assert is_beginning(begun, sent.pieces())
        held = [piece.text for piece in begun if isinstance(piece, Text)]
        assert any(finished(typed).strip() in text for text in ["", *held][-1:])
    assert conversation.messages == list(messages)


def test_what_is_finished_never_changes_by_what_follows() -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = random_text(rng, longest=8)
        for end in range(len(text)):
            done = finished(text[:end])
            assert text.startswith(done)
            assert finished(text[: end + 1]).startswith(done) or len(done) > 16  # a long word that turned out one
    assert finished("word " * 300_000) == ("word " * 300_000).rstrip()
    assert finished(" " * 300_000) == ""


def test_files_and_quotes_are_read_as_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the file\n")
    assert attach(message_to_be("see @a.txt now"), Path()).content == "a.txt:\n```\nthe file\n```\n\nsee @a.txt now"
    assert attach(message_to_be('"""\nsee @a.txt'), Path()).content == "a.txt:\n```\nthe file\n```\n\nsee @a.txt"


class Reading(FakeReading):
    """Batches that come one by one, until it is stopped or at its end."""

    def __init__(self, engine: Slow) -> None:
        self._engine, self._ended = engine, False
        self._next_s = time.monotonic() + engine.batch_s

    def is_here(self) -> bool:
        return time.monotonic() >= self._next_s

    def __next__(self) -> Event:
        assert self.is_here(), "it would have waited"
        if self._ended:
            raise StopIteration
        engine, self._next_s = self._engine, self._next_s + self._engine.batch_s
        if engine.death is not None:
            raise engine.death
        if engine.stopped or engine.left == 0:
            self._ended = True
            engine.busy = False
            return Done("stop" if engine.left else "length", "", (), Stats(1, 0, 0, 0.1, 0.1, 0.0, 1))
        engine.left -= 1
        return Prefill(1, 2, 0)


class Slow(FakeEngine):
    """Takes so many batches for each prompt; says if two want it at once."""

    def __init__(self, batches: int = 2, batch_s: float = 0.02) -> None:
        super().__init__()
        self.batches, self.batch_s, self.left = batches, batch_s, 0
        self.death: MinichatError | None = None
        self.busy = False
        self.stopping: list[bool] = []  # gently

    def prefill(self, pieces: Sequence[Piece], *, ahead: bool = False) -> Reading:
        assert ahead
        assert not self.busy, "two at once"
        self.busy, self.stopped, self.left = True, False, self.batches
        self.read_ahead.append(list(pieces))
        return Reading(self)

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        assert not self.busy, "two at once"
        return super().tokenize(pieces)

    def stop(self, *, gently: bool = False) -> None:
        self.stopping.append(gently)
        super().stop()

    def texts(self) -> list[str]:
        return ["".join(piece.text for piece in pieces if isinstance(piece, Text)) for pieces in self.read_ahead]


def wait(holds: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def meter_of(engine: FakeEngine, **fields: object) -> Meter:
    chat = chat_of(engine, **fields)
    return Meter(lambda: chat.engine, lambda: None, Typeahead(chat))


def test_the_conversation_is_read_and_then_what_is_typed() -> None:
    engine = Slow()
    with meter_of(engine) as meter:
        meter.ask("")
        wait(lambda: engine.texts() == [""] and not engine.busy)
        meter.ask("Hello wor")
        wait(lambda: engine.texts() == ["", "Hello"] and not engine.busy)
        meter.ask("Hello world, how do you do? I")
        wait(lambda: engine.texts()[2:] == ["Hello world, how do you do?"] and not engine.busy)
        meter.ask("/help me")
        time.sleep(0.7)
    assert len(engine.texts()) == 3
    assert not engine.stopping


def test_what_goes_on_is_not_given_up_and_what_is_edited_is_at_once() -> None:
    engine = Slow(batches=10_000)
    with meter_of(engine) as meter:
        meter.ask("one two three four five six seven")
        wait(lambda: engine.busy)
        meter.ask("one two three four five six seven e")
        wait(lambda: len(engine.texts()) == 2)
        assert engine.stopping == [True]  # to count, and then on
        wait(lambda: engine.busy)
        begin = time.monotonic()
        meter.ask("one two four five six seven e")
        assert engine.stopping == [True, False]
        assert time.monotonic() - begin < 2
        wait(lambda: engine.texts()[2:] == ["one two four five six seven"])
    assert engine.stopping[2:] == [True]


def test_no_key_waits_for_a_picture_that_is_read_for_the_engine() -> None:
    """One of the conversation, in a session that goes on: it takes as long as it likes."""

    class Reading(Slow):
        def with_pictures(self, pieces: Sequence[Piece]) -> list[Piece]:
            began.set()
            assert goes_on.wait(10)
            return super().with_pictures(pieces)

    began, goes_on = threading.Event(), threading.Event()
    engine = Reading()
    with meter_of(engine) as meter:
        meter.ask("one two three four five six seven")
        assert began.wait(10)
        meter.ask("one two four")
        assert engine.texts() == []
        goes_on.set()
        wait(lambda: engine.texts() == ["one two"])


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_enter_does_not_wait_for_a_batch_and_what_is_left_is_stopped(error: type[BaseException] | None) -> None:
    engine = Slow(batches=9, batch_s=5)
    meter = meter_of(engine)
    try:
        with meter:
            meter.ask("one two three four five six seven")
            wait(lambda: engine.busy)
            begin = time.monotonic()
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass
    assert time.monotonic() - begin < 2
    assert engine.stopping == [error is None]
    assert meter._thread is None


def test_what_was_left_in_the_middle_is_read_again() -> None:
    engine = Slow(batches=50)
    meter = meter_of(engine)
    for _ in range(2):
        with meter:
            meter.ask("one two three four five six seven")
            wait(lambda: engine.busy)
        engine.busy = False
    assert len(engine.texts()) == 2


@pytest.mark.parametrize("death", [EngineDiedError("it died"), ContextError("too long")])
def test_what_goes_wrong_is_left_to_the_message_and_not_tried_for_ever(death: MinichatError) -> None:
    engine = Slow()
    engine.death = death
    with meter_of(engine) as meter:
        meter.ask("one two three four five six seven")
        wait(lambda: engine.busy)
        time.sleep(0.1)
        engine.busy = False
        meter.ask("one two three four five six seven ")
        time.sleep(0.7)
        assert len(engine.texts()) == 2  # the words and the last one that was open; not again and again
        assert meter._thread is not None
        assert meter._thread.is_alive()


@pytest.mark.parametrize(
    ("typeahead", "battery", "reads"),
    [("on", True, True), ("off", False, False), ("mains", True, False), ("mains", False, True)],
)
def test_when_it_is_off(typeahead: str, battery: bool, reads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.terminal.typeahead.is_on_battery", lambda: battery)
    engine = Slow()
    with meter_of(engine, typeahead=typeahead) as meter:
        meter.ask("one two three four five six seven")
        wait(lambda: meter.cost is not None)
        time.sleep(0.15)
    assert bool(engine.texts()) == reads


def test_the_turn_that_is_edited_is_not_before_it() -> None:
    chat = chat_of(FakeEngine(), toolbox=Toolbox((TOOL,)))
    chat.conversation.messages[:] = [*TURN, Message("user", "More"), Message("assistant", "Yes")]
    ahead = Typeahead(chat)
    assert len(ahead._continued(chat.as_shown(chat.engine.wait_loaded())).messages) == 4
    chat.editing = 2
    continued = ahead._continued(chat.as_shown(chat.engine.wait_loaded()))
    assert [message.text for message in continued.messages] == ["Hello", "Hi there"]
    assert continued.tools == (TOOL,)
    assert len(chat.conversation.messages) == 4
    chat.form = any_object()
    assert ahead._continued(chat.as_shown(chat.engine.wait_loaded())).tools == ()


def test_at_the_prompt_keys_are_read_and_ctrl_c_takes_back() -> None:
    engine = Slow(batches=3)
    with hand() as pipe:
        editor = LineEditor(chat_of(engine))
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("one two three four five six seven", lambda: engine.texts() == [""]),
            (CTRL_C, lambda: engine.texts()[1:] == ["one two three four five six"]),
            ("Hello there all of you, and ", lambda: engine.texts()[2:] == [""]),
            (ENTER, lambda: engine.texts()[3:] == ["Hello there all of you, and"]),
        )
        assert step_by_step(editor, pipe, *steps) == "Hello there all of you, and "


# The real engine.


def ahead_of(engine: Engine, pieces: Sequence[Piece]) -> Stats:
    *_, last = engine.prefill(pieces, ahead=True)
    assert isinstance(last, Done)
    return last.stats


def answer_to(engine: Engine, pieces: Sequence[Piece]) -> Done:
    *_, last = engine.generate(pieces, GREEDY, max_tokens=8)
    assert isinstance(last, Done)
    return last


def prompt_of(text: str, closed: bool = True) -> list[Piece]:
    return [Control("<s>"), Control("[INST]"), Text(text), *([Control("[/INST]")] if closed else [])]


@pytest.fixture(scope="module")
def engines(small_gguf: Path) -> Iterator[tuple[Engine, Engine]]:
    """One that reads ahead, and one to compare it with."""
    options = LoadOptions(ctx=2048, threads=1)
    with Engine(small_gguf, options) as engine, Engine(small_gguf, options) as other:
        yield engine, other


def test_behind_enter_only_the_last_words_are_decoded(engines: tuple[Engine, Engine]) -> None:
    engine, _ = engines
    text = " ".join(f"word{n}" for n in range(100))
    read = ahead_of(engine, prompt_of(text, closed=False))
    assert read.prompt_tokens > 200
    stats = answer_to(engine, prompt_of(text + " and the end")).stats
    assert stats.reused_tokens >= read.prompt_tokens - 1
    assert stats.decoded_tokens < 16


def test_the_batch_under_way_is_waited_for_and_kept(engines: tuple[Engine, Engine]) -> None:
    engine, _ = engines
    rng = random.Random(5)
    text = " ".join(str(rng.random()) for _ in range(90))
    events = engine.prefill(prompt_of(text, closed=False), ahead=True)
    while not (isinstance(event := next(events), Prefill) and event.done):
        pass
    stats = answer_to(engine, prompt_of(text)).stats  # gives up what is under way
    assert stats.reused_tokens >= event.done
    assert stats.reused_tokens > 2


def test_typed_and_edited_at_random_answers_are_the_same(engines: tuple[Engine, Engine], small_gguf: Path) -> None:
    """But where two tokens are the best: batches of other sizes are added up in another order."""
    engine, other = engines
    rng = random.Random(11)
    said: list[Piece] = [Control("<s>")]
    words = ["one", "two", "three", "four", "five", "six,", "seven.", "Eight\n", "nine", "日本語", ""]
    for turn in range(4):
        text = f"{turn}"
        for _ in range(6):
            cut = rng.randint(0, len(text)) if rng.random() < 0.4 else len(text)
            text = text[:cut] + " " + " ".join(rng.choices(words, k=rng.randint(1, 40)))
            events = engine.prefill([*said, Control("[INST]"), Text(finished(text))], ahead=True)
            match rng.randint(0, 3):
                case 0:
                    list(events)
                case 1:
                    next(events)
                    engine.stop(gently=rng.random() < 0.5)
                    list(events)
                case 2:
                    engine.tokenize([Text(text)])
        prompt = [*said, Control("[INST]"), Text(text), Control("[/INST]")]
        answer, expected = answer_to(engine, prompt), answer_to(other, prompt)
        before = other.tokenize(prompt)[0]
        for token, wanted in zip(answer.tokens, expected.tokens, strict=True):
            if token != wanted:
                assert llama_oracle.is_nearly_best(small_gguf, before, token)
                assert llama_oracle.is_nearly_best(small_gguf, before, wanted)
                break
            before.append(token)
        said = [*prompt, Tokens(expected.tokens), Control("</s>")]


def test_what_was_never_sent_is_not_saved(small_gguf: Path, tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(60))
    with Engine(small_gguf, LoadOptions(ctx=2048, threads=1)) as engine:
        answer = answer_to(engine, prompt_of(text))
        ends = [*prompt_of(text), Tokens(answer.tokens), Control("</s>"), Control("[INST]")]
        ahead_of(engine, [*ends, Text("a secret that is deleted again")])
        ahead_of(engine, ends)
        stats = ahead_of(engine, [*ends, Text("another secret")])
        engine.save(tmp_path / "kept", 1 << 30)
        again = answer_to(engine, [*ends, Text("another secret"), Control("[/INST]")]).stats
    assert again.reused_tokens < stats.prompt_tokens - 1  # of the last text nothing was left


def test_a_stop_is_obeyed_at_once_also_behind_a_batch_that_is_let_go_on(engines: tuple[Engine, Engine]) -> None:
    engine, _ = engines
    events = engine.prefill(prompt_of("x " * 900, closed=False), ahead=True)
    next(events)
    answer = engine.generate(prompt_of("x " * 900), GREEDY, max_tokens=500)
    engine.stop()
    begin = time.monotonic()
    *_, last = answer
    assert isinstance(last, Done)
    assert last.reason == "stop"
    assert time.monotonic() - begin < 2


# Power.


@pytest.mark.parametrize(
    ("supplies", "battery"),
    [
        ({}, False),
        ({"BAT0": "Battery Discharging"}, True),
        ({"BAT0": "Battery Charging"}, False),
        ({"BAT0": "Battery Discharging", "AC": "Mains 1"}, False),
        ({"BAT0": "Battery Discharging", "AC": "Mains 0"}, True),
        ({"mouse": "Battery Discharging Device"}, False),
    ],
)
def test_the_battery(supplies: dict[str, str], battery: bool, tmp_path: Path) -> None:
    for name, told in supplies.items():
        kind, state, *scope = told.split()
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text(kind + "\n")
        (tmp_path / name / ("online" if kind == "Mains" else "status")).write_text(state + "\n")
        for text in scope:
            (tmp_path / name / "scope").write_text(text + "\n")
    assert power._linux(tmp_path) is battery
    assert power._linux(tmp_path / "none") is False
    assert power.is_on_battery() in (True, False)


# On a terminal.


def decoded(tty: Tty) -> int:
    tty.ask("/stats")
    return int(re.findall(r"reused, (\d+) decoded", " ".join(tty.text().split()))[-1])


def test_on_a_terminal_only_the_tail_is_left(tmp_path: Path) -> None:
    text = "Please tell me about the following words: " + " ".join(f"word{n}" for n in range(60))
    with Tty("run", "demo", "--private", "--max-tokens", "4") as tty:
        tty.prompt()
        tty.ask("Hello")
        tty.type(text)
        tty.rest(2.5)
        tty.ask("")
        tail = decoded(tty)
        tty.ask("/set typeahead off")
        tty.ask("/clear")
        tty.type(text)
        tty.rest(1)
        tty.ask("")
        whole = decoded(tty)
    assert tail < 20
    assert whole > 100
