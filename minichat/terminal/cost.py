"""What the message that is being typed would cost, counted while it is typed, without ever holding up a key.

The engine answers one request at a time, so while a message is typed everything that is asked of it is asked by one
thread, and `Meter` joins that thread before the message goes to whoever speaks to the engine next. Until the model is
loaded nothing can be counted: then the cost is a guess.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.template.pieces import Text
from minichat.terminal.typed import message_of
from quant.errors import MinichatError

if TYPE_CHECKING:
    from minichat.engine.client import Engine

_PAUSE_S = 0.15  # between the last key and the count
_LOADING_S = 0.25  # between two looks at a model that is being loaded
_LONGEST = 1_000_000  # characters that are worth a count
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Cost:
    """tokens: of the message with its files. is_exact: counted, not guessed. problem: why it could not be sent."""

    tokens: int = 0
    files: int = 0
    is_exact: bool = True
    problem: str = ""


class Meter:
    """A context manager: inside, `ask` for the cost of a text, and find it in `cost` a little later.

    changed: called, from the thread, when `cost` is another.
    """

    def __init__(self, engine: Callable[[], Engine], changed: Callable[[], object]) -> None:
        self._engine, self._changed = engine, changed
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._text: str | None = None  # the last one asked for
        self._is_new = self._has_ended = False
        self.cost: Cost | None = None

    def __enter__(self) -> Meter:
        self._text, self._is_new, self._has_ended = None, False, False
        self.cost = None
        return self

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._has_ended = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def ask(self, text: str) -> None:
        """Has `text` counted, as soon as no other one is asked for. Returns at once."""
        if text == self._text:
            return
        with self._condition:
            self._text, self._is_new = text, True
            if not text.strip():
                self.cost = None
            if self._thread is None and not self._has_ended:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._condition.notify()

    def _run(self) -> None:
        while (text := self._next()) is not None:
            cost = measure(text, self._engine()) if text.strip() else None
            while cost is not None and not cost.is_exact and len(text) <= _LONGEST:
                self._tell(cost)
                if self._is_disturbed(_LOADING_S):
                    break
                cost = measure(text, self._engine())
            self._tell(cost)

    def _next(self) -> str | None:
        """The text to count, once nothing has been typed for a moment; None at the end."""
        with self._condition:
            while not self._has_ended:
                if not self._is_new:
                    self._condition.wait()
                    continue
                self._is_new = False
                self._condition.wait(_PAUSE_S)
                if not self._is_new and not self._has_ended:
                    return self._text
        return None

    def _is_disturbed(self, seconds: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._is_new or self._has_ended, seconds)

    def _tell(self, cost: Cost | None) -> None:
        with self._condition:
            if self._is_new or self._has_ended or cost == self.cost:
                return
            self.cost = cost
        self._changed()


def describe(cost: Cost) -> str:
    """The cost in words.

    >>> describe(Cost(1234, 2)), describe(Cost(1, is_exact=False))
    ('1,234 tokens with 2 files', '~1 token')
    """
    about = "" if cost.is_exact else "~"
    files = f" with {cost.files} file{'s' * (cost.files > 1)}" if cost.files else ""
    return f"{about}{cost.tokens:,} token{'s' * (cost.tokens != 1)}{files}"


def measure(text: str, engine: Engine) -> Cost:
    """The cost of what was typed."""
    from minichat.attachments import attach

    try:
        attached = attach(message_of(text), Path())
    except MinichatError as error:
        return Cost(problem=str(error))
    count = len(attached.files)
    try:
        if len(attached.text) <= _LONGEST and engine.is_loaded():
            return Cost(len(engine.tokenize([Text(attached.text)])[0]), count)
    except MinichatError:
        pass  # whoever asks the engine next is told
    return Cost(-(-len(attached.text) // _CHARACTERS_PER_TOKEN), count, is_exact=False)
