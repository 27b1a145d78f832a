"""The turns of one chat, and what of them is shown to the model.

A conversation is a system prompt and a list of messages that alternate user, assistant, user …, with calls of tools and
their results between. The answers keep the token ids that the model wrote, so that the next prompt repeats them exactly
and the KV cache still fits. A model without a template is completed, not talked to: then the pieces are the text so
far, without any control token but the BOS that its file asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minichat.template import render
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Piece, Text, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minichat.template.tools import Tool

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

    def ask(self, text: str) -> None:
        """Adds a user's message. The next `pieces()` end with it."""
        self.messages.append(Message("user", text))

    def answer(self, text: str, tokens: tuple[int, ...] | None, calls: tuple[Call, ...] = ()) -> None:
        """Adds the model's answer, with the ids that it consists of (without the end token) and the calls in it."""
        self.messages.append(Message("assistant", text, tokens, calls=calls))

    def result(self, call: Call, text: str) -> None:
        """Adds what a call of the last answer came to."""
        self.messages.append(Message("tool", text, call_id=call.id, name=call.name))

    def forget_oldest(self) -> int:
        """Drops the oldest question with its answers; how many messages went (0: only the open question is left)."""
        if len(self.messages) < 2:
            return 0
        count = next((i for i, m in enumerate(self.messages) if i and m.role == "user"), 0)
        del self.messages[:count]
        return count

    def clear(self) -> None:
        """Drops every message; the system prompt stays."""
        self.messages.clear()

    def pieces(self) -> list[Piece]:
        """What the model is shown, ready for the tokenizer.

        Raises TemplateError for what the template cannot express.
        """
        if self.template is None:
            said = (Tokens(m.tokens) if m.tokens is not None else Text(m.text) for m in self.messages)
            return [*([Control(self.bos)] if self.bos is not None else []), *said]
        messages = [*([Message("system", self.system)] if self.system else []), *self.messages]
        if self.template == EMBEDDED and self.embedded is not None:
            return self.embedded(messages, self.tools)
        return render(messages, self.template, self.tools)
