"""An answer to a question, by a person who is quicker than the question."""

from __future__ import annotations

import os
import pty
import sys
import termios
from collections.abc import Iterator
from io import StringIO

import pytest

from minichat.terminal.ask import read_line
from minichat.terminal.echo import echo_off


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where the keys of a terminal go in."""
    person, terminal = pty.openpty()
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield person
    os.close(person)


@pytest.mark.parametrize(
    ("keys", "line"),
    [(b"y\r", "y"), (b"yes\rmore\r", "yes"), (b"\r", ""), (b"\x04", None), (b"\xff\r", "")],
)
def test_keys_typed_before_the_terminal_gives_lines(person: int, keys: bytes, line: str | None) -> None:
    with echo_off():
        before = termios.tcgetattr(sys.stdin.fileno())
        os.write(person, keys)
        shown = StringIO()
        assert read_line(shown, "Sure? ") == line
        assert shown.getvalue().startswith(f"Sure? {line or ''}")
        assert termios.tcgetattr(sys.stdin.fileno()) == before


def test_a_line_typed_half_before_and_half_behind(person: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with echo_off():
        os.write(person, b"ye")
        monkeypatch.setattr("minichat.terminal.ask.os.isatty", lambda _: not os.write(person, b"s\r") or True)
        assert read_line(StringIO(), "Sure? ") == "yes"


def test_a_line_at_leisure(person: int) -> None:
    os.write(person, b"no\r")
    assert read_line(StringIO(), "Sure? ") == "no"
