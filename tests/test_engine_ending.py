"""How a process ended, told in one line."""

from __future__ import annotations

import io

import pytest

from minichat.engine import ending
from minichat.engine.ending import describe_end


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (-11, b"", "SIGSEGV"),
        (-6, b"ggml.c:1: GGML_ASSERT(a) failed\n", "SIGABRT, ggml.c:1: GGML_ASSERT(a) failed"),
        (1, b'Traceback\n  File "x.py", line 1\nValueError: no\n\n', "exit code 1, ValueError: no"),
        (-60, b"\xff\n", "signal 60, \N{REPLACEMENT CHARACTER}"),
        (-6, b"  what():  std::bad_alloc\n", "SIGABRT, the memory was full (a smaller --ctx or model needs less), "
         "what(): std::bad_alloc"),
        (1, b"x" * 10_000, "exit code 1, " + "x" * 300),
    ],
)  # fmt: skip
def test_signals_codes_and_last_words(code: int, said: bytes, told: str) -> None:
    assert describe_end(code, io.BytesIO(said)) == told


@pytest.mark.parametrize(("now", "is_for_memory"), [(3, False), (4, True), (None, False)])
def test_a_kill_for_the_memory_is_told(monkeypatch: pytest.MonkeyPatch, now: int | None, is_for_memory: bool) -> None:
    monkeypatch.setattr(ending, "memory_kills", lambda: now)
    told = describe_end(-9, io.BytesIO(), kills_before=3)
    assert told == "SIGKILL" + ", the memory was full (a smaller --ctx or model needs less)" * is_for_memory
