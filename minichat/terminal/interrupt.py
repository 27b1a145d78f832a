"""Ctrl-C once a message is sent: it ends the answer, not the program."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE_S = 2.0


class ImpatientInterrupt(KeyboardInterrupt):
    """Ctrl-C, when an earlier one has not helped."""


class Interrupt:
    """What Ctrl-C did meanwhile. The first one calls `stop`; if that does not help, one more is impatient."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._first_s = 0.0
        self.pressed = False

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (what signal.signal asks for)
        if self.pressed and time.monotonic() - self._first_s > _PATIENCE_S:
            raise ImpatientInterrupt
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


class Waiting:
    """A Ctrl-C that waits: whether one came, and `at_once`, which it calls."""

    def __init__(self, at_once: Callable[[], object] | None = None) -> None:
        self._at_once = at_once
        self.pressed = False

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.pressed = True
        if self._at_once is not None:
            self._at_once()

    def forget(self) -> None:
        """One that came before a prompt takes keys was meant for an answer that has ended by itself."""
        self.pressed = False

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, Ctrl-C is a KeyboardInterrupt at once."""
        self.forget()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def interrupt_waits(at_once: Callable[[], object] | None = None) -> Iterator[Waiting]:
    """Inside, Ctrl-C does nothing but `at_once`; at the end it is a KeyboardInterrupt, when all is safe."""
    waiting = Waiting(at_once)
    before = signal.signal(signal.SIGINT, waiting.handle)
    try:
        yield waiting
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting.pressed:
        raise KeyboardInterrupt
