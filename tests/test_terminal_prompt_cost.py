"""The line below the prompt: what it tells, in how many cells; and the cost of a message before it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine
from prompt_toolkit.utils import get_cwidth
from typing_hand import ENTER, chat_of, hand, step_by_step

from minichat.engine.client import Engine
from minichat.engine.types import Stats
from minichat.template.pieces import Piece, Text
from minichat.terminal.cost import Cost, Meter, describe, measure
from minichat.terminal.line_editor import LineEditor
from minichat.terminal.toolbar import cut, toolbar_text
from quant.errors import EngineError

STATS = Stats(10, 0, 20, 0.1, 0.1, 0.5, 1234)


class Counting(FakeEngine):
    """A token is a character."""

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
        return list(map(ord, text)), [(text, False)]


def wait(meter: Meter, cost: Cost | None, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while meter.cost != cost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert meter.cost == cost


def test_the_message_is_counted_without_its_quotes() -> None:
    assert measure('"""\nabc\n"""', Counting()) == Cost(3)  # type: ignore[arg-type]


def test_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x" * 1000)
    (tmp_path / "b.bin").write_bytes(b"\0")
    cost = measure("see @a.txt", Counting())  # type: ignore[arg-type]
    assert cost.files == 1
    assert cost.tokens > 1000
    problem = measure("see @b.bin", Counting()).problem  # type: ignore[arg-type]
    assert problem == "@b.bin is no text: it has zero bytes in it"


def test_before_the_model_is_loaded_it_is_a_guess() -> None:
    engine = FakeEngine(failure=EngineError("it died"))
    assert measure("x" * 10, engine) == Cost(3, is_exact=False)  # type: ignore[arg-type]
    assert describe(Cost(3, is_exact=False)) == "~3 tokens"


class Slow(Counting):
    """Loaded after a while; says how many threads use it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []
        self.loaded_at = time.monotonic() + 0.4
        self.busy = threading.Lock()

    def is_loaded(self) -> bool:
        assert self.busy.acquire(blocking=False)
        self.busy.release()
        return time.monotonic() > self.loaded_at

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        assert self.busy.acquire(blocking=False), "two at once"
        try:
            self.counted.append(pieces[0].text)  # type: ignore[union-attr]
            time.sleep(0.05)
            return super().tokenize(pieces)
        finally:
            self.busy.release()


def test_the_guess_becomes_exact_once_the_model_is_loaded() -> None:
    engine, told = Slow(), []
    meter = Meter(lambda: engine, lambda: told.append(meter.cost))  # type: ignore[arg-type,return-value]
    with meter:
        meter.ask("abcdefgh")
        wait(meter, Cost(2, is_exact=False))
        wait(meter, Cost(8))
        meter.ask("")
        wait(meter, None)
    assert told == [Cost(2, is_exact=False), Cost(8)]


def test_only_what_stands_still_is_counted() -> None:
    engine = Slow()
    engine.loaded_at = 0
    meter = Meter(lambda: engine, lambda: None)  # type: ignore[arg-type,return-value]
    with meter:
        for i in range(1, 30):
            meter.ask("x" * i)
            time.sleep(0.005)
        wait(meter, Cost(29))
    assert engine.counted[-1] == "x" * 29
    assert len(engine.counted) < 5


def test_asking_never_waits_and_leaving_waits_for_the_count() -> None:
    """Whoever talks to the engine next has it for itself."""
    engine = Slow()
    engine.loaded_at = 0
    meter = Meter(lambda: engine, lambda: None)  # type: ignore[arg-type,return-value]
    asked: list[float] = []
    for i in range(4):
        begin = time.monotonic()
        with meter:
            meter.ask("a message" + "!" * i)
            asked.append(time.monotonic() - begin)
            time.sleep(0.17)  # the count is under way
        engine.tokenize([Text("next")])
        assert meter._thread is None
    assert min(asked) < 0.1


def test_the_prompt_shows_the_cost_and_not_that_of_commands() -> None:
    with hand() as pipe:
        engine = Counting()
        editor = LineEditor(chat_of(engine))
        shown: list[str] = []

        def shows(text: str) -> bool:
            shown.append("".join(part for _, part, *_ in editor._toolbar()))
            return shown[-1] == text

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minichat.terminal.line_editor.get_app", lambda: editor._session.app)
            steps = (("Hello", lambda: True), (ENTER, lambda: shows("demo:q4_K_M · +5 tokens")))
            assert step_by_step(editor, pipe, *steps) == "Hello"
            shown.clear()
            steps = (
                ("/help me", lambda: True),
                ("", lambda: editor._session.default_buffer.text == "/help me"),
                (ENTER, lambda: not shows("demo:q4_K_M") or len(shown) > 50),
            )
            assert step_by_step(editor, pipe, *steps) == "/help me"
        assert set(shown) <= {"demo:q4_K_M"}


def test_the_engine_counts_while_it_may_still_be_loading(small_gguf: Path) -> None:
    """The real one: `is_loaded` does not wait until it is, and afterwards all is as if nobody had asked."""
    with Engine(small_gguf) as engine:
        assert not engine.is_loaded()
        while not engine.is_loaded():
            time.sleep(0.02)
        assert engine.wait_loaded().ctx > 0
        text = "How much is this? 日本語"
        assert measure(text, engine) == Cost(len(engine.tokenize([Text(text)])[0]))
    with Engine(Path("/no/such/file.gguf")) as broken:
        deadline = time.monotonic() + 20
        while broken._failure is None and time.monotonic() < deadline:
            assert not broken.is_loaded()
        assert measure("text", broken) == Cost(1, is_exact=False)


def test_all_of_it_where_there_is_room() -> None:
    chat = chat_of(info=INFO, stats=STATS, used=1234)
    assert toolbar_text(chat, 80, Cost(12_345, 2), "vi") == (
        "vi · demo:q4_K_M · 1,234/4,096 · 38 tokens/s · +12,345 tokens with 2 files"
    )


def test_it_fits_everywhere_and_the_cost_goes_last() -> None:
    names = ("demo:q4_K_M", "日本語のモデル:q4", "org/a-repository-with-a-long-name:q4_K_M", "", "e\u0301\x1b[31m\n")
    costs = (None, Cost(3), Cost(1_234_567, 12), Cost(4, is_exact=False), Cost(problem="@x.bin is no text " * 9))
    for name in names:
        for cost in costs:
            chat = replace(chat_of(info=INFO, stats=STATS, used=1234), model_name=name)
            for columns in range(90):
                line = toolbar_text(chat, columns, cost, "vi insert")
                assert get_cwidth(line) <= columns
                assert "\x1b" not in line
                assert "\n" not in line
    chat = chat_of(info=INFO, stats=STATS, used=1234)
    assert toolbar_text(chat, 39, Cost(12_345, 2)) == "demo · 1,234/4,096 · 38/s · +12,345"
    assert toolbar_text(chat, 41, Cost(12_345, 2)) == "demo · 1,234/4,096 · +12,345 with 2 files"
    assert toolbar_text(chat, 9, Cost(12_345)) == "+12,345"


def test_cut() -> None:
    assert [cut("日本語", columns) for columns in range(7)] == ["", "…", "…", "日…", "日…", "日本…", "日本語"]
