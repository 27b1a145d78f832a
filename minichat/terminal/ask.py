"""A question to the person at the terminal, on stderr: standard output belongs to the answer."""

from __future__ import annotations

import sys

from minichat.terminal.output import is_terminal, write
from minichat.terminal.sanitize import clean_line

_MAX_ANSWER = 100  # characters


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def says_yes(question: str, *, default: bool = False) -> bool:
    """Whether the answer is yes. Enter alone means `default`; the end of the input (Ctrl-D) means no."""
    write(sys.stderr, f"{clean_line(question)} {'[Y/n]' if default else '[y/N]'} ")
    answer = sys.stdin.readline(_MAX_ANSWER)
    if not answer.endswith("\n"):
        write(sys.stderr, "\n")  # the cursor is behind the question
        return False
    return answer.strip().lower() in ("y", "yes") or (default and not answer.strip())


def drop_typed_ahead() -> None:
    """Forgets the keys that were pressed before the question was there; does nothing where stdin is no terminal."""
    try:
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (ImportError, OSError, ValueError, termios.error):
        pass
