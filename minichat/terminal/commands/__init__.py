"""The slash commands: one table, from which /help, the completion and the dispatch are made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from minichat.terminal.commands import answers, context, program, reading, sessions, settings
from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat

_COMMAND = re.compile(r"/([A-Za-z?][\w-]*)?(?:\s+(.*))?", re.DOTALL)

TOPICS: dict[str, tuple[Command, ...]] = {
    "Answers": answers.COMMANDS,
    "Reading": reading.COMMANDS,
    "Settings": settings.COMMANDS,
    "Context": context.COMMANDS,
    "Sessions": sessions.COMMANDS,
    "Program": program.COMMANDS,
}
COMMANDS = tuple(command for commands in TOPICS.values() for command in commands)


def parse(text: str) -> tuple[str, str] | None:
    """Name and argument of a command; None for a message.

    >>> parse("/clear"), parse("/system  Be brief. "), parse("/usr/bin is a folder"), parse(" /clear")
    (('clear', ''), ('system', 'Be brief.'), None, None)
    """
    match = _COMMAND.fullmatch(text)
    if match is None:
        return None
    return ("help" if match[1] in (None, "?") else match[1]), (match[2] or "").strip()


def dispatch(chat: Chat, name: str, argument: str) -> bool:
    """Runs a command; True to leave the chat. An unknown one gets a hint at the nearest."""
    for command in COMMANDS:
        if command.name == name.lower():
            if argument and not command.argument:
                raise UsageError(f"/{command.name} stands alone: nothing was done")
            return command.run(chat, argument)
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), [command.name for command in COMMANDS], 1, 0.5)
    hint = f"did you mean /{near[0]}?" if near else "/help lists them"
    say(f"no command /{name}: {hint} (to send it as a message, put a space before it)")
    return False
