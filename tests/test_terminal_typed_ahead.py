"""Ctrl-C among the keys that wait; the moments themselves are in test_tty_stopping.py."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from minichat.terminal.interrupt import interrupt_waits
from minichat.terminal.typed_ahead import after_ctrl_c, stop_if_asked


def keys(text: str) -> list[KeyPress]:
    return [KeyPress(Keys.ControlC if char == "!" else char) for char in text]


@pytest.mark.parametrize(("typed", "left"), [("", ""), ("ab", "ab"), ("a!b", "b"), ("a!b!", ""), ("!!c d", "c d")])
def test_what_was_typed_before_ctrl_c_is_gone(typed: str, left: str) -> None:
    assert after_ctrl_c(keys(typed)) == keys(left)


def test_it_is_found_in_the_terminal_too() -> None:
    person, terminal = pty.openpty()
    with os.fdopen(terminal, "r") as stdin:
        prompt = Vt100Input(stdin)
        with prompt.raw_mode():
            store_typeahead(prompt, keys("kept"))
            stop_if_asked(prompt)
            assert get_typeahead(prompt) == keys("kept")
            store_typeahead(prompt, keys("a"))
            os.write(person, b"b\x03c")
            with pytest.raises(KeyboardInterrupt):
                stop_if_asked(prompt)
            assert get_typeahead(prompt) == keys("c")
    os.close(person)


def test_keys_in_a_pipe_are_left_alone(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "r") as stdin:
        pipe = Vt100Input(stdin)
        os.write(write, b"a\x03")
        stop_if_asked(pipe)
        assert [key.key for key in pipe.read_keys()] == ["a", Keys.ControlC]
    os.close(write)


def test_an_interrupt_waits_for_what_is_under_way() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with interrupt_waits():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")
        steps.append("not reached")
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
