import doctest
import importlib
import pkgutil
import subprocess
import sys
import time

import pytest

import minichat.hub
from minichat.hub.patience import Patience, Pause, TransientError, Tries, asked_wait_s
from quant.errors import NetworkError

MODULES = [f"minichat.hub.{module.name}" for module in pkgutil.iter_modules(minichat.hub.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = ["huggingface_hub", "httpx2", "numpy"]
    code = f"import sys, {', '.join(MODULES)}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_waits_double_up_to_a_bound_with_jitter() -> None:
    for _ in range(20):
        tries = Tries(Patience(tries=12, base_s=1, cap_s=10), "a file")
        waits = [tries.failed(TransientError("why"), 0) for _ in range(11)]
        for wait, most in zip(waits, [1, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10], strict=True):
            assert most / 2 <= wait <= most
        with pytest.raises(NetworkError, match="a file cannot be fetched: why; tried 12 times"):
            tries.failed(TransientError("why"), 0)
    assert len({Tries(Patience(), "").failed(TransientError(""), 0) for _ in range(20)}) > 10


def test_progress_begins_the_count_anew() -> None:
    tries = Tries(Patience(tries=3, slow_bytes_per_s=1), "a file")
    for _ in range(10):
        tries.failed(TransientError("why"), 0)
        tries.failed(TransientError("why"), 0)
        tries.failed(TransientError("why"), 1000)


def test_bytes_that_trickle_are_no_progress() -> None:
    tries = Tries(Patience(tries=2, slow_bytes_per_s=1e6), "a file")
    tries.begin()
    time.sleep(0.01)
    tries.failed(TransientError("why"), 100)
    with pytest.raises(NetworkError):
        time.sleep(0.01)
        tries.failed(TransientError("why"), 100)


def test_what_a_hub_asks_for_is_waited() -> None:
    tries = Tries(Patience(longest_s=100), "a file")
    assert tries.failed(TransientError("why", 60), 0) == 60
    with pytest.raises(NetworkError, match="asks to wait 101 s"):
        tries.failed(TransientError("why", 101), 0)


def test_a_pause_holds_for_the_longest_that_was_asked() -> None:
    pause = Pause()
    assert pause.left_s() == 0
    pause.add(50)
    pause.add(1)
    assert 49 < pause.left_s() <= 50


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 120 "}, 120),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 40}, None),
        ({"retry-after": "Sat, 01 Jan 2000 00:01:40 GMT"}, 100),
        ({"retry-after": "Fri, 31 Dec 1999 00:00:00 GMT"}, 0),
        ({"retry-after": "Sat, 99 Jan 2000 00:01:40 GMT"}, None),
        ({"ratelimit": '"api";r=0;t=30'}, 30),
        ({"ratelimit": '"api";r=5;t=30'}, None),
    ],
)
def test_the_wait_that_an_answer_asks_for(headers: dict[str, str], wait_s: float | None) -> None:
    assert asked_wait_s(headers, now=946_684_800) == wait_s
