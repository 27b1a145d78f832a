"""The real program on a pseudo-terminal, with pyte as the screen that a person looks at.

    with Tty("run", "demo") as tty:
        tty.prompt()
        tty.ask("What is the capital of Norway?")
        assert "The capital of Norway is Oslo." in tty.text()

The screen does what terminals do and pyte leaves out: rows that leave at the top go into the scrollback, long rows are
broken anew when the width changes, and questions of the program (where is the cursor?) are answered. Nothing reads in
the background: what the program writes is taken in by the calls that wait, so `rest` is the way to let time pass.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyte
from pyte import modes
from pyte.screens import Char
from wcwidth import wcwidth

MINICHAT = (sys.executable, "-c", "from minichat.cli import main; main()")
PROMPT, MORE = ">>> ", "... "  # what the first line of the prompt begins with, and what its next ones do
BRACKETED_PASTE = 2004 << 5  # as pyte counts private modes; on as long as prompt_toolkit holds the terminal
_CLIPBOARD = re.compile(rb"\x1b\]52;c;([^\x07\x1b]*)(?:\x07|\x1b\\)")

_NO_OTHER = dict.fromkeys(("TMUX", "XTERM_VERSION", "NO_COLOR", "ACCESSIBLE", "VISUAL", "EDITOR"))

Row = list[Char]  # cells; the second cell of a wide character has no text


class Screen(pyte.Screen):
    """pyte's screen, with a scrollback, and long rows broken anew as kitty, tmux, VTE and others do it.

    history: the rows that have left at the top, oldest first. Rows that go on in the next one, because the terminal
    broke them, are remembered as such.
    """

    def __init__(self, columns: int, lines: int, answer: Callable[[str], None]) -> None:
        self.history: list[tuple[Row, bool]] = []
        self.prompts = 0  # how often a program has asked for bracketed paste
        self._answer = answer
        super().__init__(columns, lines)

    def draw(self, data: str) -> None:
        """As pyte's, but rows that are broken are marked, a wide character is never cut in two, and characters of no
        width join the one before them; pyte would lose what comes after some of them.
        """
        for char in data:
            cells = wcwidth(char)
            if cells <= 0:
                self._join(char)
                continue
            if self.cursor.x + cells > self.columns:
                if modes.DECAWM in self.mode:
                    self.buffer[self.cursor.y].goes_on = self.cursor.x  # type: ignore[attr-defined]
                    self.carriage_return()
                    self.index()
                else:
                    self.cursor.x = self.columns - cells
            row = self.buffer[self.cursor.y]
            for x, text in enumerate((char, "")[:cells], self.cursor.x):
                row[x] = self.cursor.attrs._replace(data=text)
            self.cursor.x += cells

    def _join(self, char: str) -> None:
        row, x = self.buffer[self.cursor.y], self.cursor.x - 1
        if x > 0 and not row[x].data:
            x -= 1
        if x >= 0:
            row[x] = row[x]._replace(data=row[x].data + char)

    def index(self) -> None:
        if self.cursor.y == (self.margins.bottom if self.margins else self.lines - 1) and not self.margins:
            self.history.append(self.row(0))
        super().index()

    def linefeed(self) -> None:
        self.buffer[self.cursor.y].goes_on = 0  # type: ignore[attr-defined]
        super().linefeed()

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        self.cursor.x = min(self.cursor.x, self.columns - 1)  # after a full row, the cursor is in its last cell
        if how != 1:
            self.buffer[self.cursor.y].goes_on = 0  # type: ignore[attr-defined]
        super().erase_in_line(how, private)

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        if how == 0:
            self.erase_in_line(0)
        for y in range(self.cursor.y + 1 if how == 0 else 0, self.lines if how != 1 else 0):
            self.buffer[y].goes_on = 0  # type: ignore[attr-defined]
        if how == 3:
            self.history.clear()
        else:
            super().erase_in_display(how, *args, **kwargs)

    def set_mode(self, *numbers: int, **kwargs: Any) -> None:
        super().set_mode(*numbers, **kwargs)
        self.prompts += bool(kwargs.get("private")) and 2004 in numbers

    def report_device_status(self, mode: int = 0, **kwargs: Any) -> None:
        if mode == 5:
            self._answer("\x1b[0n")
        elif mode == 6:
            self._answer(f"\x1b[{self.cursor.y + 1};{min(self.cursor.x, self.columns - 1) + 1}R")

    def report_device_attributes(self, mode: int = 0, **kwargs: Any) -> None:
        if not mode and not kwargs.get("private"):
            self._answer("\x1b[?62;22c")

    def rows(self) -> list[tuple[Row, bool]]:
        """The scrollback and the screen, down to the cursor or the last row with something in it."""
        rows = [*self.history, *map(self.row, range(self.lines))]
        while len(rows) > len(self.history) + self.cursor.y + 1 and not rows[-1][0]:
            rows.pop()
        return rows

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Breaks all rows anew. Where they are too many, those below the cursor go first, as in tmux, xterm, alacritty;
        then those at the top, into the scrollback, from where they come back when there is room.
        """
        lines, columns = lines or self.lines, columns or self.columns
        at = len(self.history) + self.cursor.y
        broken: list[tuple[Row, bool]] = []
        line: Row = []
        place, top = -1, 0  # where in its line the cursor is; the first row of the screen
        for n, (row, goes_on) in enumerate(self.rows()):
            if n == at:
                place = len(line) + self.cursor.x
            line += row
            if n == len(self.history):
                top = len(broken)
            if not goes_on:
                pieces = _broken(line, columns)
                if place >= 0:
                    down = 0
                    while down < len(pieces) - 1 and place > len(pieces[down]) - (place == len(pieces[down])):
                        place -= len(pieces[down])
                        down += 1
                    y, x, place = len(broken) + down, min(place, columns), -1
                broken += [(piece, k < len(pieces) - 1) for k, piece in enumerate(pieces)]
                line = []
        del broken[max(y + 1, len(broken) - max(0, len(broken) - top - lines)) :]
        top = max(0, len(broken) - lines)
        self.history = broken[:top]
        self.lines, self.columns = lines, columns
        self.buffer.clear()
        for n, (row, goes_on) in enumerate(broken[top:]):
            self.buffer[n].update(enumerate(row))
            self.buffer[n].goes_on = len(row) if goes_on else 0  # type: ignore[attr-defined]
        self.cursor.y, self.cursor.x = max(0, y - top), x
        self.margins = None

    def row(self, y: int) -> tuple[Row, bool]:
        """A row without the blanks at its end; with them, if it goes on in the next one."""
        cells = self.buffer[y]
        goes_on = getattr(cells, "goes_on", 0)  # after so many cells
        row = [cells[x] for x in range(goes_on or self.columns)]
        blank = self.default_char
        while row and row[-1] == blank and not goes_on:
            row.pop()
        return row, goes_on > 0


def _broken(line: Row, columns: int) -> list[Row]:
    """A line as rows of so many cells at most; at least one."""
    rows: list[Row] = []
    while True:
        end = columns - 1 if len(line) > columns > 1 and not line[columns].data else columns
        rows.append(line[:end])
        line = line[end:]
        if not line:
            return rows


class Tty:
    """minichat on a terminal of its own. It is killed at the end of the `with`, if it still runs.

    env: over the environment of the test; None takes a variable away. sent: all bytes that the program has written.
    """

    def __init__(
        self, *arguments: str | Path, columns: int = 80, lines: int = 24,
        env: Mapping[str, str | None] | None = None, command: tuple[str, ...] = MINICHAT,
        cwd: Path | None = None,
    ) -> None:  # fmt: skip
        self.sent = bytearray()
        self._answers: list[str] = []
        self._screen = Screen(columns, lines, self._answers.append)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        wanted = {**os.environ, "TERM": "xterm-256color", "COLUMNS": None, "LINES": None, **_NO_OTHER, **(env or {})}
        self._master, slave = pty.openpty()
        self._set_size()
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave,
            env={name: value for name, value in wanted.items() if value is not None},
            cwd=cwd,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Tty:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.hang_up()

    # What a person does

    def type(self, keys: str) -> None:
        """Sends keys as a terminal does: Enter is \\r, Alt-Enter \\x1b\\r, Ctrl-C \\x03, up \\x1b[A."""
        data = keys.encode()
        while data:  # a terminal's input queue is short: what comes back has to be read meanwhile
            readable, writable, _ = select.select([self._master], [self._master], [], 30)
            assert readable or writable, "the program takes no keys"
            if readable:
                self._take_in()
            if writable:
                data = data[os.write(self._master, data[:512]) :]

    def press(self, key: str) -> None:
        """Sends a key, and shows nothing meanwhile of what the program has printed, as a slow terminal would."""
        os.write(self._master, key.encode())

    def paste(self, text: str) -> None:
        """As terminals paste: new lines as \\r, in brackets if the program asked for them."""
        keys = text.replace("\n", "\r")
        self.type(f"\x1b[200~{keys}\x1b[201~" if BRACKETED_PASTE in self._screen.mode else keys)

    def ask(self, text: str, seconds: float = 30) -> None:
        """Types at the prompt, sends, and waits for the next prompt."""
        before = self._screen.prompts
        self.type(text + "\r")
        self.wait_until(lambda: self._screen.prompts > before and self.at_prompt(), "the next prompt", seconds)

    def send(self, text: str) -> None:
        """Types at the prompt, sends, and waits until the program has taken it."""
        self.type(text + "\r")
        self.wait_until(lambda: BRACKETED_PASTE not in self._screen.mode, "the message to be taken")

    def resize(self, columns: int, lines: int) -> None:
        """The program stands still meanwhile, as if by chance: no row is under way that was meant for the old size."""
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.process.returncode = os.waitstatus_to_exitcode(status)
        self.read()
        self._screen.resize(lines, columns)
        self._set_size()
        self.process.send_signal(signal.SIGCONT)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.process.wait()

    def hang_up(self) -> None:
        """Closes the window."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    # What a person waits for

    def read(self) -> bool:
        """Takes in what is there; False at the end of the program."""
        while select.select([self._master], [], [], 0)[0]:
            if not self._take_in():
                return False
        return True

    def rest(self, seconds: float) -> None:
        """Lets the time pass, and looks at the screen."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0] and not self._take_in():
                return

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float = 30) -> float:
        """How long it took."""
        begin = time.monotonic()
        while not holds():
            left = begin + seconds - time.monotonic()
            ready = left > 0 and select.select([self._master], [], [], left)[0]
            if not ready or not self._take_in():
                shown = "\n".join(self.rows())
                raise AssertionError(
                    f"{what} did not come{'' if ready else f' in {seconds} s'}; on the screen:\n{shown}"
                )
        return time.monotonic() - begin

    def wait_for(self, text: str, times: int = 1, seconds: float = 30) -> float:
        """Waits until `text` can be read, in the scrollback or on the screen, so many times."""
        return self.wait_until(lambda: self.text().count(text) >= times, repr(text), seconds)

    def prompt(self, seconds: float = 30) -> float:
        """Waits for a prompt that takes keys."""
        return self.wait_until(self.at_prompt, "a prompt", seconds)

    def end(self, seconds: float = 30) -> int:
        """Waits for the end of the program; its exit code."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0] and not self._take_in():
                break
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    # What a person sees

    def at_prompt(self) -> bool:
        """Whether prompt_toolkit holds the terminal, and the cursor is in a line of its prompt."""
        if BRACKETED_PASTE not in self._screen.mode:
            return False
        row = _text(self._screen.row(self._screen.cursor.y)[0])
        return (row + " ").startswith((PROMPT, MORE))

    def screen(self) -> list[str]:
        """The rows of the screen, without blanks at their ends."""
        return [_text(self._screen.row(y)[0]) for y in range(self._screen.lines)]

    def scrollback(self) -> list[str]:
        """The rows that have left at the top."""
        return [_text(row) for row, _ in self._screen.history]

    def rows(self) -> list[str]:
        """The scrollback and the screen."""
        return [_text(row) for row, _ in self._screen.rows()]

    def lines(self) -> list[str]:
        """As `rows`, but rows that the terminal broke are whole again."""
        lines, line = [], ""
        for row, goes_on in self._screen.rows():
            line += "".join(cell.data for cell in row)
            if not goes_on:
                lines.append(line.rstrip())
                line = ""
        return lines

    def text(self) -> str:
        """All `lines`, as they would be copied."""
        return "\n".join(self.lines())

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row on the screen, from 0."""
        return min(self._screen.cursor.x, self._screen.columns - 1), self._screen.cursor.y

    def styles(self, text: str) -> Char:
        """How the first character of `text` looks, where it stands last on the screen."""
        for row, _ in reversed(self._screen.rows()):
            place = "".join(cell.data or "\0" for cell in row).rfind(text)
            if place >= 0:
                return row[place]
        raise AssertionError(f"{text!r} is not on the screen")

    def clipboard(self) -> bytes | None:
        """What the program asked the terminal to keep, in base64 (OSC 52); None if nothing."""
        found = _CLIPBOARD.findall(bytes(self.sent))
        return found[-1] if found else None

    def _take_in(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has ended
            data = b""
        self.sent += data
        self._show(data)
        if self._answers and data:
            os.write(self._master, "".join(self._answers).encode())
            self._answers.clear()
        return bool(data)

    def _show(self, data: bytes) -> None:
        self._stream.feed(self._decoder.decode(data))

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)


def _text(row: Row) -> str:
    return "".join(cell.data for cell in row).rstrip()


def _take_terminal() -> None:
    """In the child: a session of its own, whose terminal is its stdin."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
