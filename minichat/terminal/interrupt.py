"""Ctrl-C while an answer is streaming: it ends the answer, not the program."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_PATIENCE_S = 2.0


class Interrupt:
    """What Ctrl-C did meanwhile. The first one calls `stop`; if that does not help, one more is a KeyboardInterrupt."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._first_s = 0.0
        self.pressed = False

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (what signal.signal asks for)
        if self.pressed and time.monotonic() - self._first_s > _PATIENCE_S:
            raise KeyboardInterrupt
        if not self.pressed:
            self.pressed, self._first_s = True, time.monotonic()
        self._stop()


@contextmanager
def interrupt_stops(stop: Callable[[], None]) -> Iterator[Interrupt]:
    """Inside, Ctrl-C calls `stop`, from a signal handler; only in the main thread."""
    interrupt = Interrupt(stop)
    before = signal.signal(signal.SIGINT, interrupt.handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def echo_off() -> Iterator[None]:
    """Inside, the terminal shows nothing of what is typed, which would fall into the rows that are redrawn.

    It is not lost: whoever reads the terminal next gets the keys as they were, Enter not as a new line, Ctrl-D not as
    the end of a line that nobody read.
    Where stdin is no terminal this does nothing.
    """
    try:
        import termios

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError, termios.error):
        yield
        return
    quiet = list(before)
    quiet[0] &= ~termios.ICRNL
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(number, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with suppress(termios.error):  # the window was closed
            termios.tcsetattr(number, termios.TCSANOW, before)
