"""What the terminal does with keys while no prompt takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def echo_off() -> Iterator[None]:
    """Inside, the terminal shows nothing of what is typed, which would fall into the rows that are redrawn.

    It is not lost: whoever reads the terminal next gets the keys as they were, Enter not as a new line, Ctrl-D not as
    the end of a line that nobody read.
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
    for which, flags in ((0, termios.ICRNL), (3, termios.ECHO | termios.ICANON)):
        wanted[which] = wanted[which] | flags if is_on else wanted[which] & ~flags
    termios.tcsetattr(number, termios.TCSANOW, wanted)
    try:
        yield wanted != before
    finally:
        with suppress(termios.error):  # the window was closed
            termios.tcsetattr(number, termios.TCSANOW, before)
