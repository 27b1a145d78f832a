"""The chat, on a pseudo-terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import PROMPT, TAKEN, Terminal


@pytest.fixture
def terminal(small_gguf: Path) -> Iterator[Terminal]:
    found = Terminal("run", str(small_gguf), "--temperature", "1.5", "--seed", "3")
    yield found
    os.close(found.screen)


def test_a_chat(terminal: Terminal) -> None:
    terminal.wait_for(PROMPT)
    terminal.type("hello\r")
    terminal.wait_for(TAKEN, more=150)  # the message is taken, and some of the answer is there
    terminal.type("\x03")
    terminal.wait_for("(stopped)")
    terminal.wait_for(PROMPT)
    terminal.type("/clear\r")
    terminal.wait_for("afresh")
    terminal.wait_for(PROMPT)
    terminal.type("/nothing\r")
    terminal.wait_for("no command /nothing")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.end() == 0
    assert PROMPT.encode() not in terminal.shown  # the hint does not stay behind


def test_what_is_typed_during_an_answer_waits_for_the_prompt(terminal: Terminal) -> None:
    terminal.wait_for(PROMPT)
    terminal.type("hello\r")
    terminal.wait_for(TAKEN, more=150)
    terminal.type("\x03/nothing\r")
    terminal.wait_for("no command /nothing")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.end() == 0
