"""Whether the terminal shows pictures, and in which way: it is asked, and what is typed meanwhile is not lost.

Three questions in one write: its name (XTVERSION), the size of a cell in pixels, and its attributes (DA1), which every
terminal tells, last. The name says whether it knows kitty's graphics or iTerm2's inline pictures, the attributes
whether it knows sixels. No question is a picture itself: some terminals show what they do not understand of one.

The environment only forbids: where the answers would be another's (screen), where a terminal is known to show what it
does not understand, where nothing but words is wanted (NO_COLOR, ACCESSIBLE, a dumb terminal). In tmux it is tmux that
answers, with sixels where it knows them. Without termios (Windows) nobody is asked.
"""

from __future__ import annotations

import os
import re
import select
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from minichat.terminal.echo import echo_off
from minichat.terminal.output import is_accessible, is_moving, write

Way = Literal["kitty", "iterm2", "sixel"]

_QUESTIONS = "\x1b[>0q\x1b[16t\x1b[c"
_NAME = re.compile(rb"\x1bP>\|([^\x1b]{0,200})\x1b\\")
_CELL = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]{1,100})c")
_BEGUN = re.compile(rb"\x1b(P[^\x1b]{0,200}\x1b?|\[(\?[\d;]{0,100}|6(;[\d;]{0,9})?)?)?\Z")  # an answer under way
_SIXEL = b"4"  # among the attributes
_KITTY = ("kitty", "ghostty", "wezterm", "konsole")
_ITERM2 = ("iterm2",)
_LIMIT_S, _FAR_LIMIT_S = 0.5, 2.0  # to answer in; over ssh
_USUAL_CELL = 10, 20  # pixels: what a VT340 had, and terminals pretend to that have none
_SILENT = ("linux", "vt", "cons", "sun", "screen", "eterm", "unknown", "ansi")  # what their TERM begins with
_SHOWS_ALL = ("Apple_Terminal",)  # in TERM_PROGRAM


@dataclass(frozen=True)
class Graphics:
    """way: in which a terminal shows pictures. cell_width, cell_height: of a character, in pixels."""

    way: Way
    cell_width: int
    cell_height: int


@dataclass(frozen=True)
class Answers:
    """What a terminal said: its name, its attributes, its cell in pixels; and what was typed between.

    is_whole: nothing more is to come. held: the beginning of an answer, if what was read ends so.
    """

    name: str
    attributes: frozenset[bytes]
    cell: tuple[int, int] | None
    typed: bytes
    is_whole: bool
    held: bytes = b""


def may_ask(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether pictures are wanted at all, and the terminal can be asked without harm.

    >>> may_ask({"TERM": "xterm-256color"}), may_ask({"TERM": "xterm", "NO_COLOR": "1"}), may_ask({"TERM": "linux"})
    (True, False, False)
    """
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or "INSIDE_EMACS" in environ or "TERMINAL_EMULATOR" in environ or "STY" in environ:
        return False
    if environ.get("TERM_PROGRAM") in _SHOWS_ALL or term in ("", "dumb"):
        return False
    return "TMUX" in environ or not term.startswith(_SILENT)


def read_answers(data: bytes) -> Answers:
    r"""What a terminal has answered, and what was typed between.

    >>> read_answers(b"he\x1bP>|foot(1.16)\x1b\\l\x1b[6;20;10t\x1b[?4clo")
    Answers(name='foot(1.16)', attributes=frozenset({b'4'}), cell=(10, 20), typed=b'hello', is_whole=True, held=b'')
    """
    name, cell, attributes = _NAME.search(data), _CELL.search(data), _ATTRIBUTES.search(data)
    for pattern in (_NAME, _CELL, _ATTRIBUTES):
        data = pattern.sub(b"", data)
    begun = _BEGUN.search(data) if attributes is None else None
    return Answers(
        name[1].decode("ascii", "replace") if name else "",
        frozenset(attributes[1].split(b";")) if attributes else frozenset(),
        (int(cell[2]), int(cell[1])) if cell else None,
        data[: begun.start()] if begun else data,
        attributes is not None,
        begun[0] if begun else b"",
    )


def chosen(answers: Answers, environ: Mapping[str, str] = os.environ) -> Graphics | None:
    """The way in which a terminal that answered so shows pictures; None for none."""
    if not answers.is_whole:
        return None
    cell = answers.cell if answers.cell is not None and all(answers.cell) else None
    width, height = cell or _USUAL_CELL
    name = (answers.name or environ.get("TERM", "").removeprefix("xterm-")).lower()
    if "TMUX" not in environ:  # which would keep the others' pictures to itself
        if name.startswith(_KITTY):
            return Graphics("kitty", width, height)
        if name.startswith(_ITERM2):
            return Graphics("iterm2", width, height)
    return Graphics("sixel", width, height) if _SIXEL in answers.attributes else None


class Asking:
    """Asks the terminal of this program, once, and not while somebody else reads it."""

    def __init__(self) -> None:
        self._is_asked = False
        self._said: Answers | None = None  # so far, while not all has been said
        self._graphics: Graphics | None = None

    def graphics(self) -> tuple[Graphics | None, bytes]:
        """How it shows pictures, None for not at all; and what was typed while it was asked."""
        if self._is_asked or not is_moving(sys.stdout) or is_accessible() or not may_ask():
            return self._graphics, b""
        self._is_asked = True
        self._said = read_answers(b"")  # after a Ctrl-C the answers are still to come
        with echo_off():
            typed = self._take(_asked())
        return self._graphics, typed

    def late(self) -> bytes:
        """What was typed where an answer has come too late and would stand in the prompt; the answer is taken away."""
        before = self._said
        if before is None:
            return b""
        with echo_off():
            now = read_answers(before.held + _waiting())
        return self._take(replace(now, name=now.name or before.name, cell=now.cell or before.cell))

    def _take(self, answers: Answers) -> bytes:
        self._said = None if answers.is_whole else answers
        self._graphics = chosen(answers if answers.cell else replace(answers, cell=_cell_of_system()))
        return answers.typed


def _asked() -> Answers:
    """Writes the questions, and reads until the last answer is there or the time is over."""
    data, end_s = b"", time.monotonic() + (_FAR_LIMIT_S if "SSH_CONNECTION" in os.environ else _LIMIT_S)
    if not _gives_keys():
        return Answers("", frozenset(), None, b"", is_whole=True)
    write(sys.stdout, _QUESTIONS)
    while not (answers := read_answers(data)).is_whole and (left_s := end_s - time.monotonic()) > 0:
        data += _waiting(left_s)
    return answers


def _gives_keys() -> bool:
    """Whether what is typed can be had as it comes: `echo_off` does nothing where there is no termios."""
    try:
        import termios
    except ImportError:
        return False
    try:
        return not termios.tcgetattr(sys.stdin.fileno())[3] & termios.ICANON
    except (OSError, ValueError, termios.error):
        return False


def _waiting(seconds: float = 0.0) -> bytes:
    """What can be read within that time; at its end, or the end of the input, nothing."""
    try:
        keys = sys.stdin.fileno()
        return os.read(keys, 4096) if select.select([keys], [], [], seconds)[0] else b""
    except (OSError, ValueError):
        return b""


def _cell_of_system() -> tuple[int, int] | None:
    """A cell in pixels, as far as the system was told of the window."""
    try:
        import fcntl
        import termios

        lines, columns, width, height = struct.unpack("4H", fcntl.ioctl(sys.stdout, termios.TIOCGWINSZ, bytes(8)))
    except (ImportError, OSError, ValueError):
        return None
    return (width // columns, height // lines) if lines and columns else None
