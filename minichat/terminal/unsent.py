"""A message that came to nothing: it was stopped before the first word, or could not be sent. It is not lost."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minichat.terminal.output import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minichat.template.messages import Message
    from minichat.terminal.chat import Chat


@dataclass(frozen=True)
class Unsent:
    """text: as it was typed. at: the turn in whose place it was to be. behind: the conversation that it was meant for.
    yields: whether what was typed meanwhile is what the person wants instead.
    """

    text: str
    at: int | None
    behind: Sequence[Message]
    yields: bool = False


def put_back(chat: Chat, text: str, at: int | None, *, yields: bool = False) -> None:
    """What was not sent is in the prompt again; a text that would push the reason off the screen, in the history."""
    chat.unsent = Unsent(text, at, list(chat.conversation.messages), yields)
    size = shutil.get_terminal_size()
    if sum(1 + len(line) // max(size.columns, 1) for line in text.split("\n")) <= size.lines // 2:
        chat.draft, chat.editing = text, at
    else:
        say("(Up brings the message back)", "dim")


def take_unsent(chat: Chat) -> Unsent | None:
    """The last message that came to nothing, if the conversation is still the one that it was meant for."""
    unsent, chat.unsent = chat.unsent, None
    return unsent if unsent is not None and unsent.behind == chat.conversation.messages else None
