"""What llama.cpp logged last is told in one short line."""

from __future__ import annotations

import doctest

from minichat.engine import error_log
from minichat.engine.error_log import ErrorLog


def test_examples() -> None:
    assert doctest.testmod(error_log).failed == 0


def test_errors_alone_are_kept_and_only_the_last_ones() -> None:
    log = ErrorLog()
    assert log.reason == "it does not say why"
    for level in (1, 2, 3, 5):
        log.heard(level, b"hello", None)
    assert log.reason == "it does not say why"
    for number in range(20):
        log.heard(4, b"error %d\n of \xff many" % number, None)
    assert log.reason == "error 12 of � many"
    log.clear()
    log.heard(4, b"x" * 10_000, None)
    assert len(log.reason) <= 300
