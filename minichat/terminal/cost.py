"""What the message that is being typed would cost, counted while it is typed, without ever holding up a key.

The engine answers one request at a time, so while a message is typed everything that is asked of it is asked by one
thread, and `Meter` joins that thread before the message goes to whoever speaks to the engine next. Until the model is
loaded nothing can be counted: then the cost is a guess. What has been counted, the same thread has read ahead
(`minichat.terminal.typeahead`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minichat import attachments
from minichat.template.messages import Content, TextPart
from minichat.template.pieces import Text
from minichat.terminal.typed import message_of
from quant.errors import MinichatError

if TYPE_CHECKING:
    from minichat.attachments import Attached
    from minichat.engine.client import Engine
    from minichat.terminal.typeahead import Typeahead

_PAUSE_S = 0.15  # between the last key and the count
_SETTLED_S = 0.35  # after that, until the last few words are read
_LOADING_S = 0.25  # between two looks at a model that is being loaded
_LONGEST = 1_000_000  # characters that are worth a count
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Cost:
    """tokens: of the message with its files and pictures. is_exact: counted, not guessed. problem: why it could not be
    sent.
    """

    tokens: int = 0
    files: int = 0
    pictures: int = 0
    is_exact: bool = True
    problem: str = ""


class Meter:
    """A context manager: inside, `ask` for the cost of a text, and find it in `cost` a little later.

    changed: called, from the thread, when `cost` is another. ahead: has what is typed read. attach: finds the files and
    pictures of a message. give_up: has it stop, for what it looks for is not wanted any more.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        changed: Callable[[], object],
        ahead: Typeahead | None = None,
        attach: Callable[[str], Attached] | None = None,
        give_up: Callable[[], object] | None = None,
    ) -> None:
        self._engine, self._changed, self._ahead, self._attach = engine, changed, ahead, attach
        self._give_up = give_up
        self._at = ""  # the text that the thread is at
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._text: str | None = None  # the last one asked for
        self._is_new = self.has_ended = False
        self._asked_s = 0.0  # when that was
        self.cost: Cost | None = None

    def __enter__(self) -> Meter:
        self._text, self._is_new, self.has_ended = None, False, False
        self.cost = None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._condition:
            self.has_ended = True
            self._condition.notify()
        if kind is not None:
            self.wants("")
        if self._ahead is not None:
            self._ahead.stop(gently=kind is None)  # what is being read belongs to the message that is sent
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def ask(self, text: str) -> None:
        """Has `text` counted, as soon as no other one is asked for. Returns at once. A command costs nothing."""
        if text == self._text:
            return
        with self._condition:
            self._text, self._is_new, self._asked_s = text, True, time.monotonic()
            if not _is_message(text):
                self.cost = None
            if self._thread is None and not self.has_ended:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._condition.notify()
        self.wants(text)
        if self._ahead is not None:
            self._ahead.follow(text)

    def wants(self, text: str) -> None:
        """Files that `text` does not name are not read any further."""
        if self._give_up is not None and _has_lost(self._at, text):
            self._give_up()

    def _run(self) -> None:
        while (text := self._next()) is not None:
            self._at = text
            cost = measure(text, self._engine(), self._attach) if _is_message(text) else None
            while cost is not None and not cost.is_exact and len(text) <= _LONGEST:
                self._tell(cost)
                if self._is_disturbed(_LOADING_S):
                    break
                cost = measure(text, self._engine(), self._attach)
            self._tell(cost)
            if self._ahead is not None and not text.startswith("/") and not self.has_other():
                self._read_ahead(self._ahead, text)
            self._at = ""

    def _read_ahead(self, ahead: Typeahead, text: str) -> None:
        while not self._engine().is_loaded():
            if self._is_disturbed(_LOADING_S):
                return
        if not text or ahead.is_much(text) or not self._is_disturbed(_SETTLED_S):
            ahead.read(text, self)

    def has_other(self, seconds: float = 0.0) -> bool:
        """Whether another text than the last one that was counted stands there, for so long."""
        with self._condition:
            return self.has_ended or (self._is_new and time.monotonic() - self._asked_s >= seconds)

    def rest(self, seconds: float) -> None:
        """Lets time pass, in the thread: so much, or until something is typed."""
        with self._condition:
            self._condition.wait(seconds)

    def _next(self) -> str | None:
        """The text to count, once nothing has been typed for a moment; None at the end."""
        with self._condition:
            while not self.has_ended:
                if not self._is_new:
                    self._condition.wait()
                    continue
                self._is_new = False
                self._condition.wait(_PAUSE_S)
                if not self._is_new and not self.has_ended:
                    return self._text
        return None

    def _is_disturbed(self, seconds: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._is_new or self.has_ended, seconds)

    def _tell(self, cost: Cost | None) -> None:
        with self._condition:
            if self._is_new or self.has_ended or cost == self.cost:
                return
            self.cost = cost
        self._changed()


def describe(cost: Cost) -> str:
    """The cost in words.

    >>> describe(Cost(1234, 2, 1)), describe(Cost(1, is_exact=False))
    ('1,234 tokens with 2 files and 1 picture', '~1 token')
    """
    return f"{tokens(cost)} token{'s' * (cost.tokens != 1)}{brought(cost)}"


def tokens(cost: Cost) -> str:
    """The number alone."""
    return f"{'' if cost.is_exact else '~'}{cost.tokens:,}"


def brought(cost: Cost) -> str:
    """What comes along, in words; nothing, if that is nothing."""
    kinds = ("file", cost.files), ("picture", cost.pictures)
    named = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds if count)
    return f" with {named}" if named else ""


def _has_lost(text: str, other: str) -> bool:
    """Whether a text names a file that another one does not name any more, nor goes on with its name.

    >>> _has_lost("see @cat.png", "see @cat.png?"), _has_lost("see @cat.png", "see @ca")
    (False, True)
    """
    words = other.split()
    return any("@" in name and not any(word.startswith(name) for word in words) for name in text.split())


def _is_message(text: str) -> bool:
    return bool(text.strip()) and not text.startswith("/")


def measure(text: str, engine: Engine, attach: Callable[[str], Attached] | None = None) -> Cost:
    """The cost of what was typed. attach: finds its files and pictures; without it there are only text files."""
    try:
        attached = attach(message_of(text)) if attach is not None else attachments.attach(message_of(text), Path())
    except MinichatError as error:
        return Cost(problem=str(error))
    texts, counts = _texts(attached.content), (len(attached.files), len(attached.pictures))
    seen = sum(picture.tokens for picture in attached.pictures)
    length = sum(map(len, texts))
    try:
        if length <= _LONGEST and engine.is_loaded():
            return Cost(seen + len(engine.tokenize([Text(text) for text in texts])[0]), *counts)
    except MinichatError:
        pass  # whoever asks the engine next is told
    return Cost(seen - (-length // _CHARACTERS_PER_TOKEN), *counts, is_exact=False)


def _texts(content: Content) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part.text for part in content if isinstance(part, TextPart)]
