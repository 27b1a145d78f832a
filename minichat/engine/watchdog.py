"""An end for what cannot be interrupted: C code that a hostile file or grammar keeps busy for ever.

    with watch("the grammar", 20.0): ...      longer than that, and the process ends with a line that says so

The front then tells what the process said last, and can start another one. Time is counted in looks, so that what a
machine sleeps through does not count.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_S = 0.5
_LATER_S = 5.0
_STDERR = 2


class _Limit:
    """One block that is watched; it may have `left_s` more."""

    def __init__(self, what: str, seconds: float) -> None:
        self.what, self.seconds, self.left_s = what, seconds, seconds


class _Watch:
    """At most one thing is watched at a time, by a thread that is started for the first one and stays."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.limit: _Limit | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            limit = self.limit
            if limit is None:
                continue
            limit.left_s -= _LOOK_S
            if limit.left_s < 0:
                sys.stderr.write(f"{limit.what} took longer than {limit.seconds:.0f} s\n")
                sys.stderr.flush()
                os._exit(1)


_watch = _Watch()


@contextmanager
def watch(what: str, seconds: float) -> Iterator[None]:
    """Ends the process if the block takes longer than `seconds`; `what` names it. Costs about a microsecond."""
    _watch.start()
    outer, _watch.limit = _watch.limit, _Limit(what, seconds)
    try:
        yield
    finally:
        _watch.limit = outer


def goes_on() -> None:
    """Called in a watched block that has come a step further: its time begins anew."""
    limit = _watch.limit
    if limit is not None:
        limit.left_s = limit.seconds


@contextmanager
def watch_python(what: str, seconds: float) -> Iterator[None]:
    """`watch` for a block that may keep Python's lock for ever, such as a comparison of lists nested without measure.

    No thread of Python's runs then, so one of C's ends the process a little later. It says no more than "Timeout".
    """
    faulthandler.dump_traceback_later(seconds + _LATER_S, exit=True, file=_STDERR)
    try:
        with watch(what, seconds):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()
