"""The turns of one chat, and what of them is shown to the model.

A conversation is a system prompt and a list of messages that alternate user, assistant, user …, with calls of tools and
their results between. The answers keep the token ids that the model wrote, so that the next prompt repeats them exactly
and the KV cache still fits. A model without a template is completed, not talked to: then the pieces are the text so
far, without any control token but the BOS that its file asks for and those of its pictures.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minichat.template import render
from minichat.template.messages import Call, ImagePart, Message, Part, TextPart
from minichat.template.pieces import Control, Image, Piece, Text, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minichat.template.tools import Tool


@dataclass(frozen=True)
class Turn:
    """A question and what came of it: `messages[start:end]` of a conversation. number: from 1, oldest first."""

    number: int
    start: int
    end: int


EMBEDDED = "embedded"  # the template of a model of another family, which its GGUF carries


@dataclass
class Conversation:
    """The turns of one chat.

    template: a name of `minichat.template.VERSIONS`, EMBEDDED, or None to complete text with a base model.
    tools: what the model may call.
    embedded: for EMBEDDED, what renders messages and tools: the engine's `apply_template`.
    bos: what the text of a model without a template begins with, `ModelInfo.bos`; None for nothing.
    """

    template: str | None
    system: str | None = None
    messages: list[Message] = field(default_factory=list)
    tools: tuple[Tool, ...] = ()
    embedded: Callable[[Sequence[Message], Sequence[Tool]], list[Piece]] | None = None
    bos: str | None = "<s>"

    def ask(self, text: str, pictures: Sequence[str] = ()) -> None:
        """Adds a user's message. The next `pieces()` end with it. pictures: their sources, before the text."""
        parts: list[Part] = [ImagePart(source) for source in pictures]
        parts += [TextPart(text)] if text else []
        self.messages.append(Message("user", tuple(parts) if pictures else text))

    def answer(self, text: str, tokens: tuple[int, ...] | None, calls: tuple[Call, ...] = ()) -> None:
        """Adds the model's answer, with the ids that it consists of (without the end token) and the calls in it."""
        self.messages.append(Message("assistant", text, tokens, calls=calls))

    def result(self, call: Call, text: str) -> None:
        """Adds what a call of the last answer came to."""
        self.messages.append(Message("tool", text, call_id=call.id, name=call.name))

    def turns(self) -> list[Turn]:
        """The questions with their answers; what stands before the first question belongs to the first turn."""
        starts = [i for i, message in enumerate(self.messages) if message.role == "user"]
        ends = [0, *starts[1:], len(self.messages)] if self.messages else []
        return [Turn(n, *pair) for n, pair in enumerate(itertools.pairwise(ends), 1)]

    def drop(self, first: int, last: int) -> None:
        """Drops the turns `first` to `last`, numbers as in `turns`; the system prompt stays."""
        turns = self.turns()
        del self.messages[turns[first - 1].start : turns[last - 1].end]

    def open_answer(self) -> Message | None:
        """The last answer, if a model can go on with it: one without calls of tools."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.role == "assistant" and not last.calls else None

    def clear(self) -> None:
        """Drops every message; the system prompt stays."""
        self.messages.clear()

    def pieces(self) -> list[Piece]:
        """What the model is shown, ready for the tokenizer.

        Raises TemplateError for what the template cannot express.
        """
        if self.template is None:
            said = [piece for message in self.messages for piece in _as_it_stands(message)]
            return [*([Control(self.bos)] if self.bos is not None else []), *said]
        messages = [*([Message("system", self.system)] if self.system else []), *self.messages]
        if self.template == EMBEDDED and self.embedded is not None:
            last = messages[-1] if messages else None
            if last is None or not last.prefix:
                return self.embedded(messages, self.tools)
            so_far = Tokens(last.tokens) if last.tokens is not None else Text(last.text)
            return [*self.embedded(messages[:-1], self.tools), so_far]  # as it stood while the answer came
        return render(messages, self.template, self.tools)


def _as_it_stands(message: Message) -> list[Piece]:
    """A message without a template: its pictures and its text, and nothing between them."""
    if message.tokens is not None:
        return [Tokens(message.tokens)]
    if isinstance(message.content, str):
        return [Text(message.content)]
    return [
        Image(part.source) if isinstance(part, ImagePart) else Text(part.text)
        for part in message.content
        if isinstance(part, ImagePart | TextPart)
    ]
