"""Ctrl-C wherever Python may notice it while the front hears what the engine says: nothing of that is lost.

Every place is tried: a trace function raises KeyboardInterrupt behind the first call, behind the second one, and so on.
"""

from __future__ import annotations

import dis
import io
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, wraps
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, ParamSpec

import pytest
from fake_engine import INFO

from minichat.engine import client, protocol, starting
from minichat.engine.client import Engine
from minichat.engine.types import Chunk, Done, Event, Stats
from minichat.template.pieces import Image, Text, to_json
from quant.errors import DataError, EngineDiedError, GgufError

LOADING = [{"id": 1, "event": "progress", "fraction": part / 4} for part in range(4)]
LOADED = {"id": 1, "event": "done", "info": asdict(INFO)}
STATS = Stats(3, 0, 2, 0.1, 0.1, 0.1, 5)
SAID = [
    {"id": 2, "event": "prefill", "done": 3, "total": 3, "reused": 0},
    {"id": 2, "event": "chunk", "text": "one ", "kind": "text"},
    {"id": 2, "event": "chunk", "text": "two", "kind": "text"},
    {
        "id": 2,
        "event": "done",
        "reason": "eos",
        "text": "one two",
        "tokens": [5, 6],
        "stats": asdict(STATS),
        "spans": [],
    },
]
P = ParamSpec("P")
_LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")  # behind these Python asks whether a signal came


class Process:
    """What a `Popen` is to the engine. Its lines are all there; then it stays, or dies."""

    def __init__(self, lines: list[dict[str, Any]], dies: bool) -> None:
        self.pid = os.getpid()
        self.hears, stdin = os.pipe()
        stdout, self._says = os.pipe()
        self.stdin, self.stdout = io.FileIO(stdin, "w"), io.FileIO(stdout, "r")
        os.write(self._says, b"".join(map(protocol.encode, lines)))
        if dies:
            self.die()

    def die(self) -> None:
        if self._says >= 0:
            os.close(self._says)
            self._says = -1

    def kill(self) -> None:
        raise AssertionError("it was not stuck")

    def wait(self, timeout: float | None = None) -> int:
        self.die()
        return 1

    def rest(self) -> bytes:
        """What it was sent and has not taken yet, once nobody writes any more."""
        with io.FileIO(self.hears, "r") as pipe:
            return pipe.readall()


@contextmanager
def engine_that_says(*lines: dict[str, Any], dies: bool = False) -> Iterator[Engine]:
    process = Process([*lines], dies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "take", lambda: (process, io.BytesIO()))
        with Engine(Path("model.gguf")) as engine:
            yield engine
    process.rest()


@cache
def names(code: CodeType) -> dict[int, str]:
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


@contextmanager
def interrupted(place: int) -> Iterator[None]:
    """KeyboardInterrupt at the so-and-so-many-th place inside, in the client, where Python looks for signals."""
    last: dict[FrameType, str] = {}
    left = place

    def trace(frame: FrameType, kind: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != client.__file__:
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode":
            looks = last.get(frame, "").startswith(_LOOKS)
            last[frame] = names(frame.f_code).get(frame.f_lasti, "")
            if looks and (left := left - 1) == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def in_a_thread(test: Callable[P, None]) -> Callable[P, None]:
    """An exception that a trace function raises in an `except` leaves that one open, for the rest of the thread."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(test, *args, **kwargs).result()

    return run


@in_a_thread
def test_a_model_that_is_loaded_is_known_to_be() -> None:
    for place in count(1):
        with engine_that_says(*LOADING, LOADED) as engine:
            try:
                with interrupted(place):
                    assert engine.wait_loaded() == INFO
            except KeyboardInterrupt:
                assert engine.wait_loaded() == INFO
                assert engine.is_loaded()
            else:
                break
    assert place > 30


@pytest.mark.parametrize("dies", [False, True])
@in_a_thread
def test_why_a_model_cannot_be_loaded_is_known(dies: bool) -> None:
    line = {"id": 1, "event": "error", "kind": "GgufError", "message": "model.gguf: too short"}
    error, said = (EngineDiedError, "the engine died") if dies else (GgufError, "too short")
    for place in count(1):
        with engine_that_says(*LOADING, *([] if dies else [line]), dies=dies) as engine:
            with pytest.raises((KeyboardInterrupt, error)) as caught, interrupted(place):
                engine.wait_loaded()
            for _ in range(2):
                with pytest.raises(error, match=said):
                    engine.wait_loaded()
            if caught.type is error:
                break
    assert place > 30


@in_a_thread
def test_no_event_of_an_answer_is_lost_or_there_twice() -> None:
    for place in count(1):
        with engine_that_says(LOADED, *SAID) as engine:
            events = engine.generate([Text("Hello")])
            got: list[Event] = []
            try:
                with interrupted(place):
                    for event in events:
                        got.append(event)  # noqa: PERF402 - what came before the interrupt counts
            except KeyboardInterrupt:
                engine.stop()
                got += events
                is_last = False
            else:
                is_last = True
            assert [event.text for event in got if isinstance(event, Chunk)] == ["one ", "two"]
            assert isinstance(got[-1], Done)
            assert got[-1].text == "one two"
            assert len(got) == len(SAID)
            assert events.is_here()
            assert list(events) == []
        if is_last:
            break
    assert place > 30


def test_a_picture_that_is_gone_takes_no_saved_state_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(source: str) -> Any:
        raise DataError(f"{source} is not kept any more")

    process = Process([LOADED, *SAID], dies=False)
    monkeypatch.setattr(starting, "take", lambda: (process, io.BytesIO()))
    with Engine(Path("model.gguf")) as engine:
        engine.pictures = gone
        engine.restore(Path("state"))
        for ask in (engine.generate, engine.prefill):
            with pytest.raises(DataError, match="not kept"):
                ask([Image("cat.png")])
        engine.generate([Text("Hello")])
    _, asked = map(protocol.decode, process.rest().splitlines(keepends=True))
    assert asked["state"] == "state"


def test_a_line_that_was_sent_in_part_is_sent_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt fills the pipe, and Ctrl-C falls into the waiting for it."""
    process = Process([LOADED, *SAID], dies=False)
    monkeypatch.setattr(starting, "take", lambda: (process, io.BytesIO()))
    taken = b""

    def interrupt(engine: Engine, pipe: int) -> None:
        monkeypatch.setattr(Engine, "_wait_to_write", take)
        raise KeyboardInterrupt

    def take(engine: Engine, pipe: int) -> None:
        nonlocal taken
        taken += os.read(process.hears, 1 << 16)

    monkeypatch.setattr(Engine, "_wait_to_write", interrupt)
    with Engine(Path("model.gguf")) as engine:
        prompt = [Text("word " * 60_000)]
        with pytest.raises(KeyboardInterrupt):
            engine.generate(prompt)
        assert not engine._may_ping()
        engine.stop()
        assert engine._may_ping()
    taken += process.rest()
    load, asked, stop = map(protocol.decode, taken.splitlines(keepends=True))
    assert [load["op"], asked["op"], stop["op"]] == ["load", "generate", "stop"]
    assert asked["pieces"] == list(map(to_json, prompt))
    assert stop["target"] == asked["id"]
