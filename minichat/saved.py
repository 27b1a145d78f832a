"""A session as it was opened: what a chat goes on with. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minichat.template.messages import Message

if TYPE_CHECKING:
    from minichat.session_file import Reading


@dataclass(frozen=True)
class Saved:
    """A session as it was opened.

    messages: all of them; the ids of answers are those of `model`'s vocabulary (`messages_for`).
    cut: the last message is what was there of an answer when the program was killed.
    damaged_line: what stands in the file from this line on could not be read; None where all could.
    forked_from: the name of the session that this is a copy of, because that one is in use or cannot be written.
    """

    name: str
    model: str
    vocabulary: int | None
    template: str | None
    system: str | None
    title: str
    messages: list[Message] = field(default_factory=list)
    cut: bool = False
    damaged_line: int | None = None
    forked_from: str | None = None

    def messages_for(self, model: str, vocabulary: int | None = None) -> list[Message]:
        """The messages to go on with, without the token ids of another model, or of another vocabulary than its own.

        vocabulary: how many tokens the model knows; None if that is not known yet.
        """
        own = self.vocabulary
        if self.model != model or own is None or vocabulary not in (None, own):
            return without_tokens(self.messages)
        return [one if max(one.tokens or (), default=0) < own else _without_tokens(one) for one in self.messages]


def without_tokens(messages: Sequence[Message]) -> list[Message]:
    """The messages such that a model of any vocabulary can be shown them.

    >>> without_tokens([Message("user", "Hi"), Message("assistant", "Hello", (5, 6))])[1].tokens is None
    True
    """
    return [message if message.tokens is None else _without_tokens(message) for message in messages]


def _without_tokens(message: Message) -> Message:
    """An answer that was tokens alone (thoughts that were stopped) gets a sign: no template takes one of nothing."""
    return replace(message, content=message.content or ("" if message.calls else "…"), tokens=None)


def with_partial(messages: Sequence[Message], partial: str) -> list[Message]:
    """The messages and what came of the answer under way, which may have been lengthening the last one.

    >>> [(m.text, m.cut) for m in with_partial([Message("user", "Hi")], "Hel")]
    [('Hi', False), ('Hel', True)]
    """
    if not messages:
        return []
    last = messages[-1]
    if last.prefix:  # it was being lengthened
        messages = [*messages[:-1], last := replace(last, prefix=False, cut=True)]
    if not partial:
        return list(messages)
    if last.role == "assistant" and isinstance(last.content, str) and not last.calls:
        return [*messages[:-1], replace(last, content=last.content + partial, tokens=None, cut=True)]
    return [*messages, Message("assistant", partial, cut=True)]


def saved(name: str, reading: Reading, forked_from: str | None = None) -> Saved:
    """A reading as what a chat goes on with."""
    state, settings = reading.state, reading.state.settings
    return Saved(
        name,
        settings.model,
        settings.vocabulary,
        settings.template,
        settings.system,
        state.title,
        with_partial(state.messages, state.partial),
        bool(state.partial and state.messages),
        reading.damaged_line,
        forked_from,
    )
