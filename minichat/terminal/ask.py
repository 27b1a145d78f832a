"""A question to the person at the terminal, on stderr: standard output belongs to the answer."""

from __future__ import annotations

import os
import select
import sys
from typing import IO

from minichat.terminal.echo import echo_on
from minichat.terminal.output import is_terminal, write
from minichat.terminal.sanitize import clean_line

_MAX_ANSWER = 100  # characters
_ENDS = "\n\x04"  # Enter; Ctrl-D


def can_ask(stream: IO[str] | None = None) -> bool:
    """Whether somebody is there to answer what is asked on `stream` (stderr)."""
    return is_terminal(sys.stdin) and is_terminal(stream or sys.stderr)


def read_line(stream: IO[str], question: str, limit: int = _MAX_ANSWER) -> str | None:
    """The line that a person types behind a question on `stream`; None at the end of the input (Ctrl-D).

    limit: characters; a longer line is no answer either. What is no text is an empty line.
    """
    try:
        with echo_on() as gave_keys:  # before the question is there: nobody is quicker than that
            line = _typed_as_keys(limit).decode(errors="ignore") if gave_keys else ""
            write(stream, question + clean_line(line.rstrip(_ENDS)) + "\n" * line.endswith("\n"))
            if not line.endswith(tuple(_ENDS)):
                line += sys.stdin.readline(limit)
    except UnicodeDecodeError:
        return ""
    if not line.endswith("\n"):
        write(stream, "\n")  # the cursor is behind the question
        return None
    return line[:-1]


def _typed_as_keys(limit: int) -> bytes:
    """What was typed when the terminal still gave keys: it can be had at once. Enter was no end of a line then."""
    try:
        keys = sys.stdin.fileno()
        if not os.isatty(keys) or not select.select([keys], [], [], 0)[0]:
            return b""
        typed = os.read(keys, limit).replace(b"\r", b"\n")
    except (OSError, ValueError):  # no file, or Windows
        return b""
    if not typed:
        return b"\x04"
    end = next((n for n, key in enumerate(typed) if key in _ENDS.encode()), len(typed))
    return typed[: end + 1]


def says_yes(question: str, *, default: bool = False) -> bool:
    """Whether the answer is yes. Enter alone means `default`; the end of the input (Ctrl-D) means no."""
    answer = read_line(sys.stderr, f"{clean_line(question)} {'[Y/n]' if default else '[y/N]'} ")
    if answer is None:
        return False
    return answer.strip().lower() in ("y", "yes") or (default and not answer.strip())


def drop_typed_ahead() -> None:
    """Forgets the keys that were pressed before the question was there; does nothing where stdin is no terminal."""
    try:
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (ImportError, OSError, ValueError, termios.error):
        pass
