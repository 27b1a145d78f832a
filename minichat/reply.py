"""An answer as a program reads it: text as it comes, and when it has come, all that is known of it.

    reply = chat.say("Hello")
    for text in reply: ...      # pieces of whole characters
    reply.text                  # all of it; reads on to the end, if need be
    reply.stats                 # so do these: reason, thinking, tokens, seed, value

Nothing is asked of the model before the first of these.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.engine.types import Done, Reason, Stats

Stream = Generator[str, None, None]


@dataclass
class Heard:
    """What is known of an answer besides its text. done: its end, or its last part's; is_stopping: it was asked to."""

    thoughts: list[str] = field(default_factory=list)
    done: Done | None = None
    is_stopping: bool = False


class Alone:
    """Who uses a chat is alone with it, or gets a UsageError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise UsageError(
                "this chat is in use, by another thread or around a tool of its own: give each user a Chat"
            )
        try:
            yield
        finally:
            self._lock.release()


class Reply(Iterator[str]):
    """One answer, an iterator over its text.

    An answer that is not read to its end (a loop that breaks, an exception in it) is stopped when nothing refers to the
    reply any more, when `stop()` is called, or when the chat is asked something else; what the model had said by then
    stays in the conversation.
    """

    def __init__(self, stream: Stream, heard: Heard, alone: Alone) -> None:
        self._stream, self._heard, self._alone = stream, heard, alone
        self._parts: list[str] = []
        self._is_over = False

    def __next__(self) -> str:
        if self._is_over:
            raise StopIteration
        with self._alone():
            try:
                text = next(self._stream)
            except BaseException:
                self._is_over = True
                raise
        self._parts.append(text)
        return text

    @property
    def text(self) -> str:
        """The whole answer."""
        self._finish()
        return "".join(self._parts)

    @property
    def thinking(self) -> str:
        """What the model thought before it answered."""
        self._finish()
        return "".join(self._heard.thoughts)

    @property
    def reason(self) -> Reason:
        """Why it ended: "eos": the model had said it all; "length", "context": a limit; "stop": it was stopped."""
        return self._finish().reason

    @property
    def stats(self) -> Stats:
        """What it cost; of an answer with calls of tools before it, the last part."""
        return self._finish().stats

    @property
    def tokens(self) -> tuple[int, ...]:
        """Its token ids, as the model wrote them, without the end token."""
        return self._finish().tokens

    @property
    def value(self) -> Any:
        """The value of an answer that is JSON, as one to a question with a `schema` is."""
        return json.loads(self.text)

    def stop(self) -> None:
        """Ends the answer here; what there is of it stays. Not for another thread: that is what `Chat.stop` is for."""
        if not self._is_over:
            with self._alone():
                self.close()

    def close(self) -> None:
        """`stop` for who is alone with the chat already."""
        if not self._is_over:
            self._is_over = True
            self._stream.close()

    def _finish(self) -> Done:
        for _ in self:
            pass
        if self._heard.done is None:
            raise UsageError("this answer failed, or was given up before it had begun: there is nothing to tell of it")
        return self._heard.done

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        state = "" if self._is_over else ", not read yet" if not self._parts else " so far"
        return f"<Reply of {sum(map(len, self._parts))} characters{state}>"

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            with suppress(UsageError):  # somebody else is at it: then the chat has gone on without this one
                self.stop()
