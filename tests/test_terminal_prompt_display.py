"""What typed text looks like while it is edited: nothing that a terminal obeys, and lines of any length."""

from __future__ import annotations

import io
import random
import re

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import TransformationInput
from prompt_toolkit.output.vt100 import Vt100_Output
from typing_hand import ENTER, chat_of, paste, step_by_step

from minichat.terminal.display import LongLines
from minichat.terminal.line_editor import LineEditor

# What prompt_toolkit itself draws with: colours, cursor, erasing, modes.
_ITS_OWN = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]")
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def drawn(text: str, columns: int = 80) -> str:
    """All that goes to a terminal while `text` is pasted and sent."""
    screen = io.StringIO()
    output = Vt100_Output(screen, lambda: Size(rows=24, columns=columns), term="xterm-256color", enable_cpr=False)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=output):
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer
        step_by_step(editor, pipe, (paste(text), lambda: True), (ENTER, lambda: bool(buffer.text)))
    return screen.getvalue()


def test_nothing_that_is_pasted_is_obeyed() -> None:
    everything = "".join(chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)])
    draw = random.Random(4)
    for text in (everything, everything.replace("\n", ""), "\x1b]0;title\x07 \x9b31m \u2066x\u2069 \x1b[2J"):
        for _ in range(4):
            cut = draw.randrange(len(text))
            shown = drawn("a" + text[cut:] + text[:cut])
            assert _OBEYED.search(_ITS_OWN.sub("", shown)) is None
            assert "title\x07" not in shown
            assert "\x1b[2J" not in shown


@pytest.mark.parametrize("columns", [80, 40, 8, 3, 1])
def test_every_width_is_drawn(columns: int) -> None:
    drawn("日本語 e\u0301 \U0001f44d text\n\tthat goes on and on " * 3, columns)


def transformed(text: str, cursor: int) -> tuple[str, list[int], list[int]]:
    """A line as it is drawn; where its characters are then, and the way back."""
    document = Document(text, cursor)
    given = TransformationInput(BufferControl(), document, 0, lambda i: i, [("", text)], 80, 24)
    done = LongLines().apply_transformation(given)
    shown = "".join(fragment[1] for fragment in done.fragments)
    there = [done.source_to_display(i) for i in range(len(text) + 1)]
    return shown, there, [done.display_to_source(i) for i in range(len(shown))]


def test_of_a_long_line_the_part_around_the_cursor_is_drawn() -> None:
    text = "".join(chr(0x4E00 + i % 5000) for i in range(20_000))
    for cursor in (0, 1, 2999, 3000, 10_000, 19_999, 20_000):
        shown, there, back = transformed(text, cursor)
        assert len(shown) < 3100
        assert cursor == len(text) or shown[there[cursor]] == text[cursor]
        assert cursor == len(text) or back[there[cursor]] == cursor
        assert there == sorted(there)
        assert back == sorted(back)


def test_a_line_of_usual_length_is_drawn_as_it_is() -> None:
    text = "x" * 3000
    shown, there, back = transformed(text, 5)
    assert shown == text
    assert there == list(range(3001))
    assert back == list(range(3000))
