"""A Ctrl-C right behind Enter, which was meant for the message that Enter sent.

From the moment that Enter was pressed until the prompt lets go of the terminal, Ctrl-C is one more key there: it would
wait and clear the next prompt.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from prompt_toolkit.application import Application
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding.key_processor import KeyPress


@contextmanager
def signals_go_to(app: Application[Any]) -> Iterator[None]:
    """Inside, SIGINT (of a `kill`) is a key for the prompt while that takes keys; before and after, it is what it was.

    prompt_toolkit's own handler loses those that come when its prompt has ended: the prompt must not set it.
    """
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        if app.loop is not None and _takes_keys(app):
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                app.loop.call_soon_threadsafe(take)
                return
        if callable(before):
            before(number, frame)

    def take() -> None:
        if _takes_keys(app):
            app.key_processor.send_sigint()
        else:
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _takes_keys(app: Application[Any]) -> bool:
    return app.is_running and not app.is_done


def stop_if_asked(keys: Input) -> None:
    """Makes a Ctrl-C among the keys that wait the signal that it was meant to be; the keys behind it are left.

    Those before it are gone, as in a prompt. The terminal must give keys, not lines (see `echo_off`). Where
    `keys` is no terminal nobody has pressed them at a moment, and they are left as they are.
    """
    if not os.isatty(keys.fileno()):
        return
    waiting = get_typeahead(keys)
    while more := keys.read_keys():
        waiting += more
    left = after_ctrl_c(waiting)
    store_typeahead(keys, left)
    if len(left) < len(waiting):
        signal.raise_signal(signal.SIGINT)


def are_waiting(keys: Input) -> bool:
    """Whether keys that a person pressed wait for the next prompt. They go on waiting."""
    waiting = get_typeahead(keys)
    while more := keys.read_keys():
        waiting += more
    store_typeahead(keys, waiting)
    return any(key.key is not Keys.CPRResponse for key in waiting)  # which is an answer of the terminal


def type_ahead(keys: Input, typed: bytes) -> None:
    """Gives the next prompt what was typed and read by somebody else, behind what waits for it already."""
    pressed = get_typeahead(keys)
    parser = Vt100Parser(pressed.append)
    parser.feed(typed.decode("utf-8", "surrogateescape"))
    parser.flush()
    store_typeahead(keys, pressed)


def after_ctrl_c(keys: list[KeyPress]) -> list[KeyPress]:
    """The keys behind the last Ctrl-C; all of them, if it is not there."""
    pressed = [n for n, key in enumerate(keys) if key.key == Keys.ControlC]
    return keys[pressed[-1] + 1 :] if pressed else keys
