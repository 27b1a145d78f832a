"""The engine's process killed, stopped, starved or talking nonsense: the front gets one line, at once, and goes on."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minichat.engine import client, pulse
from minichat.engine.client import Engine
from minichat.engine.types import Chunk, Done, LoadOptions, Sampling
from minichat.template.pieces import Control, Piece, Text, Tokens
from quant.errors import EngineDiedError, EngineError, MinichatError

GREEDY = Sampling(temperature=0)
QUESTION: list[Piece] = [Control("<s>"), Control("[INST]"), Text("hello"), Control("[/INST]")]
DEADLY = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGINT)
ON_LINUX = Path("/proc/self/stat").exists()


def answer(engine: Engine, **options: int) -> Done:
    *_, last = engine.generate(QUESTION, GREEDY, **{"max_tokens": 3, **options})
    assert isinstance(last, Done)
    return last


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that are shorter, so that ten of them are not many."""
    monkeypatch.setattr(client, "TICK_S", 0.05)


@pytest.mark.parametrize("number", DEADLY, ids=lambda number: number.name)
def test_a_death_in_an_answer_is_one_line_at_once(small_gguf: Path, number: signal.Signals) -> None:
    with Engine(small_gguf) as engine:
        events = engine.generate(QUESTION, Sampling(temperature=1.5, seed=1))
        for event in events:
            if isinstance(event, Chunk):
                break
        assert not engine.has_died()
        begin = time.monotonic()
        os.kill(engine._process.pid, number)
        with pytest.raises(EngineDiedError) as caught:
            for _ in events:
                pass
        assert time.monotonic() - begin < 1
        assert caught.value.what == f"the engine died: {number.name}"
        assert str(caught.value) == f"the engine died: {number.name} (/reload, or a new run, starts it again)"
        assert engine.has_died()
        with pytest.raises(EngineDiedError, match=number.name):
            engine.check_alive()


def test_a_death_while_loading_and_one_while_idle(small_gguf: Path) -> None:
    ends = []
    with Engine(small_gguf) as engine:
        os.kill(engine._process.pid, signal.SIGKILL)
        with pytest.raises(EngineDiedError, match="SIGKILL"):
            engine.wait_loaded()
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        engine.check_alive()
        engine.on_end = lambda: ends.append(time.monotonic())
        begin = time.monotonic()
        os.kill(engine._process.pid, signal.SIGKILL)
        while not ends and time.monotonic() < begin + 5:
            time.sleep(0.01)
        assert ends[0] - begin < 1
        with pytest.raises(EngineDiedError, match="SIGKILL"):
            engine.check_alive()


@pytest.mark.skipif(not ON_LINUX, reason="asks /proc")
@pytest.mark.usefixtures("impatient")
def test_a_stopped_engine_is_noticed_and_ended(small_gguf: Path) -> None:
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        os.kill(engine._process.pid, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match=r"^the engine got stuck and was ended: it was stopped by a signal"):
            answer(engine)
        assert engine.has_died()


@pytest.mark.skipif(not ON_LINUX, reason="asks /proc")
@pytest.mark.usefixtures("impatient")
def test_a_stopped_engine_that_takes_no_request_is_noticed(small_gguf: Path) -> None:
    """The pipe is full, so that the front would wait for ever to write the rest."""
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        os.kill(engine._process.pid, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match="got stuck"):
            for _ in engine.generate([Text("word " * 100_000)], GREEDY):
                pass


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_goes_on_after_a_while_was_not_stuck(small_gguf: Path) -> None:
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        events = engine.generate(QUESTION, GREEDY, max_tokens=3)
        for _ in range(3):
            os.kill(engine._process.pid, signal.SIGSTOP)
            engine._pulse.quiet()
            for _ in range(pulse.STILL_TICKS - 2):
                engine._tick()
            os.kill(engine._process.pid, signal.SIGCONT)
        *_, last = events
        assert isinstance(last, Done)
        assert last.stats.answer_tokens == 3


@pytest.mark.skipif(not ON_LINUX, reason="asks /proc")
@pytest.mark.usefixtures("impatient")
def test_no_ping_gets_into_a_request(small_gguf: Path) -> None:
    """The engine sleeps for some ticks while it is sent more than a pipe holds, and then hears of every word."""
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine:
        engine.wait_loaded()
        os.kill(engine._process.pid, signal.SIGSTOP)
        waking = threading.Timer(6 * client.TICK_S, lambda: os.kill(engine._process.pid, signal.SIGCONT))
        waking.start()
        ids, _ = engine.tokenize([Text("word " * 30_000)])
        waking.join()
        assert len(ids) >= 30_000


@pytest.mark.usefixtures("impatient")
def test_a_busy_engine_answers_a_ping(small_gguf: Path) -> None:
    """Many ticks long nothing comes of a prompt; what counts is that the process answers."""
    with Engine(small_gguf, LoadOptions(ctx=8192, threads=1)) as engine:
        engine.wait_loaded()
        heard: list[int] = []
        before = engine._pulse.heard
        engine._pulse.heard = lambda: (heard.append(engine._pulse.silent), before())[1]  # type: ignore[method-assign]
        *_, last = engine.generate([Tokens((1, *(1100,) * 2000))], GREEDY, max_tokens=1)
        assert isinstance(last, Done)
        assert max(heard) < pulse.STILL_TICKS


@pytest.mark.skipif(not ON_LINUX, reason="asks /proc")
def test_the_engine_leaves_no_core_and_goes_before_its_front(small_gguf: Path) -> None:
    with Engine(small_gguf) as engine:
        engine.wait_loaded()
        process = Path(f"/proc/{engine._process.pid}")
        assert int((process / "oom_score_adj").read_text()) > int(Path("/proc/self/oom_score_adj").read_text())
        limits = next(line for line in (process / "limits").read_text().split("\n") if "core file" in line)
        assert limits.split()[4] in ("0", "1")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
@pytest.mark.parametrize("more_bytes", [0, 1 << 25])
def test_an_engine_without_memory_is_one_line(small_gguf: Path, more_bytes: int) -> None:
    with Engine(small_gguf, LoadOptions(threads=1)) as engine:
        engine.wait_loaded()
        pages = int(Path(f"/proc/{engine._process.pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more_bytes
        resource.prlimit(engine._process.pid, resource.RLIMIT_AS, (limit, limit))
        try:
            for _ in engine.generate([Control("<s>"), Text("many words " * 2000)], GREEDY, max_tokens=50):
                pass
        except MinichatError as error:  # the context cannot grow, or the process is gone
            assert "\n" not in str(error)
            assert "Traceback" not in str(error)
    with Engine(small_gguf) as engine:
        assert answer(engine).stats.answer_tokens == 3


class Loose(Engine):
    """An engine whose lines the test writes."""

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self._put(line)


@pytest.fixture(scope="module")
def loose(small_gguf: Path) -> Iterator[Loose]:
    with Loose(small_gguf) as engine:
        engine.wait_loaded()
        yield engine


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":2}\n',
        b'{"id":2,"event":"chunk"}\n',
        b'{"id":2,"event":"chunk","text":"a"}\n',
        b'{"id":2,"event":["done"]}\n',
        b'{"id":2,"event":"done","reason":"eos","text":"","tokens":3,"stats":{},"spans":[]}\n',
        b'{"id":2,"event":"done","reason":"eos","text":"","tokens":[],"stats":{"x":1},"spans":[[1]]}\n',
        b'{"id":2,"event":"done"}\n',
        b"\xff\xfe\n",
        b"[]\n",
    ],
)
def test_what_is_no_event_is_an_error_of_the_engine(loose: Loose, line: bytes) -> None:
    loose._last_id = 1
    loose._open = 2
    loose.say(line)
    with pytest.raises(EngineError, match="carried") as caught:
        next(client.Answer(loose, 2))
    assert "\n" not in str(caught.value)


def test_a_line_that_a_death_has_cut_is_no_line(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = 'import os; os.write(1, b\'{"id":1,"event":"prog\'); os.abort()'
    monkeypatch.setattr("minichat.engine.starting.MAIN", cut)
    with Engine(small_gguf) as engine, pytest.raises(EngineDiedError, match=r"^the engine died: SIGABRT"):
        engine.wait_loaded()
