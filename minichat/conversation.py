"""The turns of one chat, and what of them is shown to the model.

A conversation is a system prompt and a list of messages that alternate user, assistant, user … The answers keep the
token ids that the model wrote, so that the next prompt repeats them exactly and the KV cache still fits. A model
without a template is completed, not talked to: then the pieces are the text so far, without any control token but BOS.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minichat.template import render
from minichat.template.messages import Message
from minichat.template.pieces import Control, Piece, Text, Tokens


@dataclass
class Conversation:
    """template: a name of `minichat.template.VERSIONS`, or None to complete text with a base model."""

    template: str | None
    system: str | None = None
    messages: list[Message] = field(default_factory=list)

    def ask(self, text: str) -> None:
        """Adds a user's message. The next `pieces()` end with it."""
        self.messages.append(Message("user", text))

    def answer(self, text: str, tokens: tuple[int, ...]) -> None:
        """Adds the model's answer, with the ids that it consists of (without the end token)."""
        self.messages.append(Message("assistant", text, tokens))

    def forget_oldest(self) -> int:
        """Drops the oldest question with its answer; how many messages went (0: only the open question is left)."""
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
            return [
                Control("<s>"),
                *(Tokens(m.tokens) if m.tokens is not None else Text(m.text) for m in self.messages),
            ]
        system = [Message("system", self.system)] if self.system else []
        return render([*system, *self.messages], self.template)
