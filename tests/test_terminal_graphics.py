"""Whether a terminal shows pictures: what terminals answer, and that nothing of what is typed meanwhile is lost."""

from __future__ import annotations

import os
import pty
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from picture_terminal import PictureTty
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from minichat.terminal import graphics
from minichat.terminal.graphics import Answers, Asking, Graphics, chosen, may_ask, read_answers
from minichat.terminal.typed_ahead import type_ahead

# what some terminals answer to the three questions, as their documents and sources have it
KITTY = "\x1bP>|kitty(0.35.2)\x1b\\\x1b[6;20;10t\x1b[?62;52;c"
ITERM2 = "\x1bP>|iTerm2 3.5.4\x1b\\\x1b[6;34;16t\x1b[?64;1;2;4;6;17;18;21;22;52c"
WEZTERM = "\x1bP>|WezTerm 20240203-110809-5046fc22\x1b\\\x1b[6;18;8t\x1b[?65;4;6;18;22;52c"
GHOSTTY = "\x1bP>|ghostty 1.0.1\x1b\\\x1b[6;36;16t\x1b[?62;22c"
FOOT = "\x1bP>|foot(1.16.2)\x1b\\\x1b[6;20;10t\x1b[?62;4;22c"
XTERM = "\x1bP>|XTerm(390)\x1b\\\x1b[6;13;6t\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c"
XTERM_340 = "\x1bP>|XTerm(390)\x1b\\\x1b[6;13;6t\x1b[?63;1;2;4;6;9;15;22;28c"
VTE = "\x1bP>|VTE(7600)\x1b\\\x1b[6;18;9t\x1b[?65;1;9c"
TMUX = "\x1bP>|tmux 3.3a\x1b\\\x1b[?1;2c"
TMUX_SIXEL = "\x1bP>|tmux 3.4\x1b\\\x1b[6;20;10t\x1b[?1;2;4c"
LINUX = "\x1b[?6c"

SHOWN: dict[str, Graphics | None] = {
    KITTY: Graphics("kitty", 10, 20),
    ITERM2: Graphics("iterm2", 16, 34),
    WEZTERM: Graphics("kitty", 8, 18),
    GHOSTTY: Graphics("kitty", 16, 36),
    FOOT: Graphics("sixel", 10, 20),
    XTERM: None,
    XTERM_340: Graphics("sixel", 6, 13),
    VTE: None,
    TMUX: None,
    TMUX_SIXEL: Graphics("sixel", 10, 20),
    LINUX: None,
    "": None,
    "\x1b[?62;14;24;41c": None,  # a 4 within another number
    "\x1bP>|kitty(0.35.2)\x1b\\": None,  # it has not come to its end
    "\x1b[6;0;0t\x1b[?62;4c": Graphics("sixel", 10, 20),
}


@pytest.mark.parametrize("said", SHOWN)
def test_what_terminals_answer(said: str) -> None:
    assert chosen(read_answers(said.encode()), {"TERM": "xterm-256color"}) == SHOWN[said]


def test_in_tmux_only_what_tmux_draws_itself() -> None:
    environ = {"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0"}
    assert chosen(read_answers(TMUX_SIXEL.encode()), environ) == Graphics("sixel", 10, 20)
    assert chosen(read_answers(KITTY.encode()), environ) is None
    assert chosen(read_answers(ITERM2.encode()), environ) == Graphics("sixel", 16, 34)


def test_a_kitty_that_does_not_tell_its_name_is_known_by_its_term() -> None:
    assert chosen(read_answers(b"\x1b[?62;c"), {"TERM": "xterm-kitty"}) == Graphics("kitty", 10, 20)
    assert chosen(read_answers(b"\x1b[?62;c"), {"TERM": "xterm-ghostty"}) == Graphics("kitty", 10, 20)


@pytest.mark.parametrize(
    ("environ", "may"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "foot"}, True),
        ({"TERM": "screen-256color", "TMUX": "x"}, True),
        ({"TERM": "tmux-256color"}, True),  # over ssh
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "screen.xterm-256color", "STY": "1.pts"}, False),
        ({"TERM": "xterm-256color", "STY": "1.pts"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "vt220"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-256color", "TERMINAL_EMULATOR": "JetBrains-JediTerm"}, False),
        ({"TERM": "xterm-256color", "INSIDE_EMACS": "29.1,vterm"}, False),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-kitty", "NO_COLOR": ""}, True),
    ],
)
def test_whether_it_is_asked(environ: dict[str, str], may: bool) -> None:
    assert may_ask(environ) is may


def test_what_is_typed_is_told_from_what_is_answered_wherever_it_comes() -> None:
    random_ = random.Random(8)
    keys = ["a", "é", "日", "\x1b[A", "\x1bOP", "\r", "\x1b[200~two\x1b[201~", "\x1b[6~", "\x7f", "\x1b[1;5C", " "]
    for _ in range(300):
        said = random_.choice([KITTY, ITERM2, FOOT, XTERM, TMUX])
        answers = [part for part in said.replace("\x1b[", "\n\x1b[").split("\n") if part]
        typed = [random_.choice(keys) for _ in range(random_.randint(0, 8))]
        mixed = list(typed)
        at = 0
        for answer in answers:
            at = random_.randint(at, len(mixed))
            mixed.insert(at, answer)
            at += 1
        whole = "".join(mixed).encode()
        found = read_answers(whole)
        assert found.typed.decode() == "".join(typed)
        assert chosen(found, {"TERM": "xterm"}) == SHOWN[said]
        part = read_answers(whole[: random_.randint(0, len(whole))])
        assert len(part.typed + part.held) <= len(whole)
        again = read_answers(part.held + whole[len(whole) :])
        assert again.typed + again.held == part.held


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """stdin and stdout are a terminal; the other end of it."""
    person, program = pty.openpty()
    for name in ("NO_COLOR", "TMUX", "STY", "SSH_CONNECTION", "ACCESSIBLE", "INSIDE_EMACS", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(program, "r") as stdin, os.fdopen(os.dup(program), "w") as stdout:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stdout", stdout)
        yield person
    os.close(person)


def answering(person: int, *parts: tuple[float, str]) -> threading.Thread:
    """Sends the parts, each after some seconds, once it has been asked."""

    def answer() -> None:
        asked = b""
        while not asked.endswith(b"\x1b[c"):
            asked += os.read(person, 100)
        for seconds, text in parts:
            time.sleep(seconds)
            os.write(person, text.encode())

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_a_terminal_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as person:
        thread = answering(person, (0, "ty" + FOOT[:9]), (0.05, FOOT[9:20]), (0.05, FOOT[20:] + "ped"))
        asking = Asking()
        assert asking.graphics() == (Graphics("sixel", 10, 20), b"typed")
        thread.join()
        assert asking.graphics() == (Graphics("sixel", 10, 20), b"")
        assert asking.late() == b""


def test_an_answer_that_comes_too_late_does_not_stand_in_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "_LIMIT_S", 0.1)
    with terminal(monkeypatch) as person:
        name, cell, attributes = ("\x1b" + part for part in re.split("\x1b(?=[P[])", KITTY)[1:])
        parts = (0, f"a{name[:7]}"), (0.2, f"{name[7:]}b{cell[:3]}"), (0.2, f"{cell[3:]}{attributes}c")
        thread = answering(person, *parts)
        asking = Asking()
        assert asking.graphics() == (None, b"a")
        time.sleep(0.2)
        first = asking.late()
        thread.join()
        assert first + asking.late() == b"bc"
        assert asking.graphics() == (Graphics("kitty", 10, 20), b"")  # from now on it is known
        assert asking.late() == b""


def test_a_ctrl_c_while_it_is_asked_leaves_no_answer_in_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> Answers:
        raise KeyboardInterrupt

    monkeypatch.setattr(graphics, "_asked", interrupted)
    with terminal(monkeypatch) as person:
        asking = Asking()
        with pytest.raises(KeyboardInterrupt):
            asking.graphics()
        os.write(person, f"{KITTY}c".encode())
        assert asking.late() == b"c"
        assert asking.graphics() == (Graphics("kitty", 10, 20), b"")


def test_a_terminal_that_says_nothing_costs_half_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as person:
        asking = Asking()
        begin = time.monotonic()
        os.write(person, b"typed")
        assert asking.graphics() == (None, b"typed")
        assert 0.4 < time.monotonic() - begin < 10
        assert asking.graphics() == (None, b"")


def test_what_was_typed_waits_for_the_next_prompt_behind_what_waits_already() -> None:
    person, program = pty.openpty()
    with os.fdopen(program, "r") as stdin:
        prompt = Vt100Input(stdin)
        type_ahead(prompt, b"a")
        type_ahead(prompt, "é\x1b[A".encode() + b"\xe6\x97")  # half of a character
        keys = get_typeahead(prompt)
    os.close(person)
    assert [key.key for key in keys[:3]] == ["a", "é", Keys.Up]
    assert "".join(key.data for key in keys[3:]).encode("utf-8", "surrogateescape") == b"\xe6\x97"
    assert keys[0] == KeyPress("a")


def test_answers_without_any() -> None:
    assert read_answers(b"") == Answers("", frozenset(), None, b"", is_whole=False)


def picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (200, 100), (200, 30, 30)).save(folder / "red cat.png")
    return folder


def test_a_picture_is_shown_above_its_line_and_what_is_typed_meanwhile_is_there(
    tmp_path: Path, seeing_gguf: Path
) -> None:
    said = {"name": "\x1bP>|foot(1.16.2)\x1b\\", "cell": "\x1b[6;20;10t", "attributes": "ne\x1b[?62;4cxt"}
    run = ("run", seeing_gguf, "--max-tokens", "4", "--private")
    with PictureTty(*run, answers=said.__getitem__, cwd=picture(tmp_path)) as tty:
        tty.prompt()
        tty.type('What is @"red cat.png"?')
        tty.wait_for("1 picture")
        assert tty.asked == []
        tty.type("\r")
        tty.wait_for("stopped at the limit")
        tty.wait_for(">>> next")
        assert tty.asked == ["name", "cell", "attributes"]
        ((shown, row),) = tty.shown
        lines = tty.screen()
        assert lines[row - 1] == '>>> What is @"red cat.png"?'
        assert lines[row : row + 5] == [""] * 5
        assert lines[row + 5].startswith("(red cat.png: 200 × 100 pixels, ")
        assert shown.pixels.size == (200, 100)
        tty.ask(" @nothing.png")
        tty.type('again @"red cat.png"')
        tty.wait_for("again @", 1)
        tty.ask("")
        assert len(tty.shown) == 2
        assert tty.asked == ["name", "cell", "attributes"]


def test_where_nothing_moves_it_is_not_asked(tmp_path: Path, seeing_gguf: Path) -> None:
    run = ("run", seeing_gguf, "--max-tokens", "4", "--private", "--plain")
    with PictureTty(*run, answers=lambda _: "", cwd=picture(tmp_path)) as tty:
        tty.wait_for("You:")
        tty.type('What is @"red cat.png"?\r')
        tty.wait_for("stopped at the limit")
        assert (tty.asked, tty.shown) == ([], [])
        assert "(red cat.png: 200 × 100 pixels, " in tty.text()
