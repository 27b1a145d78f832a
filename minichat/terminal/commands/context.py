"""/tokens, /clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.terminal.commands.command import Command
from minichat.terminal.output import say

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat


def _clear(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    chat.conversation.clear()
    chat.stats = None
    say("the conversation starts afresh", "dim")
    return False


def _tokens(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    if not chat.last_prompt:
        say("no prompt yet: /tokens shows what the model was given for its last answer", "dim")
        return False
    from minichat.terminal.render import print_rendering

    ids, spans = chat.engine.tokenize(chat.last_prompt)
    print_rendering(spans)
    say(f"({len(ids):,} tokens)", "dim")
    return False


COMMANDS: tuple[Command, ...] = (
    Command("tokens", "", "the last prompt as the model saw it", _tokens),
    Command("clear", "", "forget the conversation", _clear),
)
