"""The screen that the other tests look at: it does what terminals do."""

from __future__ import annotations

import sys
from pathlib import Path

import pyte
import tape
from program import minichat
from pseudo_terminal import Screen, Tty

NUMBERS = "".join(f"{n:>4}" for n in range(20))  # 80 cells


def screen(columns: int, lines: int) -> tuple[Screen, pyte.Stream, list[str]]:
    answers: list[str] = []
    found = Screen(columns, lines, answers.append)
    return found, pyte.Stream(found), answers


def rows(found: Screen) -> list[str]:
    return ["".join(cell.data for cell in row).rstrip() for row, _ in found.rows()]


def test_rows_that_leave_at_the_top_are_kept() -> None:
    found, stream, _ = screen(10, 3)
    stream.feed("".join(f"row {n}\r\n" for n in range(5)))
    assert rows(found) == ["row 0", "row 1", "row 2", "row 3", "row 4", ""]
    assert len(found.history) == 3


def test_long_rows_are_broken_anew_and_joined_again() -> None:
    found, stream, _ = screen(80, 5)
    stream.feed(NUMBERS + "after\r\nshort")
    assert rows(found) == [NUMBERS, "after", "short"]
    found.resize(5, 40)
    assert rows(found) == [NUMBERS[:40], NUMBERS[40:], "after", "short"]
    assert (found.cursor.x, found.cursor.y) == (5, 3)
    found.resize(3, 100)
    assert rows(found) == [NUMBERS + "after", "short"]
    found.resize(2, 40)
    assert rows(found) == [NUMBERS[:40], NUMBERS[40:], "after", "short"]
    assert (found.cursor.x, found.cursor.y, len(found.history)) == (5, 1, 2)


def test_a_new_line_ends_a_row_that_was_broken() -> None:
    found, stream, _ = screen(4, 4)
    stream.feed("abcdef\x1b[A\rghij\r\nkl")
    found.resize(4, 8)
    assert rows(found) == ["ghij", "kl"]


def test_wide_characters_are_not_cut_in_two() -> None:
    found, stream, _ = screen(5, 4)
    stream.feed("漢字漢字")
    assert rows(found) == ["漢字", "漢字"]
    found.resize(4, 8)
    assert rows(found) == ["漢字漢字"]
    found.resize(4, 3)
    assert rows(found) == ["漢", "字", "漢", "字"]
    found.resize(4, 20)
    stream.feed("\r\n\N{WOMAN}\u200d\N{WOMAN}e\u0301!")
    assert rows(found)[-1] == "\N{WOMAN}\u200d\N{WOMAN}e\u0301!"


def test_rows_below_the_cursor_go_first() -> None:
    found, stream, _ = screen(10, 4)
    stream.feed("one\r\ntwo\r\nthree\r\nfour\x1b[2A")
    found.resize(2, 10)
    assert rows(found) == ["one", "two"]
    assert not found.history


def test_the_program_is_told_where_the_cursor_is() -> None:
    _, stream, answers = screen(10, 4)
    stream.feed("\r\nabc\x1b[6n\x1b[5n")
    stream.feed("defghij\x1b[6n")  # a full row: the cursor is still in it
    assert answers == ["\x1b[2;4R", "\x1b[0n", "\x1b[2;10R"]


def test_a_program_reads_keys_and_its_size() -> None:
    code = "import os; print(os.get_terminal_size()); print(ascii(input('? '))); os.kill(os.getpid(), 9)"
    with Tty(command=(sys.executable, "-c", code), columns=33, lines=7) as tty:
        tty.wait_for("?")
        tty.type("héllo\r")
        assert tty.end() == -9
        assert tty.lines() == ["os.terminal_size(columns=33, lines=7)", "? héllo", "'h\\xe9llo'", ""]


def test_a_tape_says_its_text(tmp_path: Path) -> None:
    text = "# Title\n\none two one two *three*\n\n- one\n- two\n\n漢字 \N{WOMAN}\u200d\N{WOMAN} end"
    assert "".join(tape.pieces(text)) == text
    model = tape.write(tmp_path / "tape", text)
    for question in ("Hello", "Say something else!"):
        done = minichat("run", model, question)
        assert (done.returncode, done.stdout) == (0, text + "\n"), done.stderr
