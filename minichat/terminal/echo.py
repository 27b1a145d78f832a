"""What the terminal does with keys while no prompt takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def echo_off() -> Iterator[None]:
    """Inside, the terminal shows nothing of what is typed, which would fall into the rows that are redrawn.

    It is not lost: whoever reads the terminal next gets the keys as they were, Enter not as a new line, Ctrl-D not as
    the end of a line that nobody read. Nor does Ctrl-C throw away what waits in the terminal, as it does otherwise:
    keys, and rows that are not shown yet, or the half of one.
    Where stdin is no terminal this does nothing.
    """
    with _set(is_on=False):
        yield


@contextmanager
def echo_on() -> Iterator[bool]:
    """Inside, the terminal gives lines and shows what is typed, also within `echo_off`. True if it did not before."""
    with _set(is_on=True) as is_changed:
        yield is_changed


@contextmanager
def _set(is_on: bool) -> Iterator[bool]:
    try:
        import termios

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError, termios.error):
        yield False
        return
    wanted = list(before)
    flags = (0, termios.ICRNL, is_on), (3, termios.ECHO | termios.ICANON, is_on), (3, termios.NOFLSH, not is_on)
    for which, flag, is_set in flags:
        wanted[which] = wanted[which] | flag if is_set else wanted[which] & ~flag
    termios.tcsetattr(number, termios.TCSANOW, wanted)
    try:
        yield wanted != before
    finally:
        with suppress(termios.error):  # the window was closed
            termios.tcsetattr(number, termios.TCSANOW, before)
