"""/help, /reload, /bye."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minichat.terminal.chat import Chat

_KEYS = (
    ("Enter", "send the message"),
    ("Alt-Enter, Ctrl-J", 'a new line in it; """ opens and closes a block of lines'),
    ("Ctrl-X Ctrl-E", "write it in $EDITOR"),
    ("Ctrl-R", "search what was typed before"),
    ("@path", "attach a text file, or a picture"),
    ("Ctrl-C", "stop the answer; clear the message"),
    ("Ctrl-D", "leave"),
)
_PLAIN_KEYS = (
    ("Enter", "send the message"),
    ('"""', "begins and ends a message of several lines"),
    ("Up, Ctrl-R", "what was typed before"),
    ("@path", "attach a text file, or a picture"),
    ("Ctrl-C", "stop the answer; give up the message"),
    ("Ctrl-D", "leave"),
)


def _help(chat: Chat, argument: str) -> bool:
    """Everything, or one topic, or one command."""
    from minichat.terminal.commands import TOPICS

    wanted = argument.lower().removeprefix("/")
    topics = {title: [(_left(c), c.help) for c in commands] for title, commands in TOPICS.items()}
    topics["Keys"] = list(_PLAIN_KEYS if chat.plain else _KEYS)
    if wanted in map(str.lower, topics):
        topics = {title: rows for title, rows in topics.items() if title.lower() == wanted}
    elif wanted:
        found = [(_left(c), c.help) for commands in TOPICS.values() for c in commands if c.name == wanted]
        if not found:
            raise UsageError(f"no help on {argument[:40]!r}: the topics are {', '.join(topics)}")
        topics = {"": found}
    width = max(len(left) for rows in topics.values() for left, _ in rows)
    for title, rows in topics.items():
        if title:
            say(title, "bold")
        for left, right in rows:
            say(f"  {left:<{width}}  {right}", hanging=width + 4)
    return False


def _left(command: Command) -> str:
    return f"/{command.name} {command.argument}".rstrip()


def _help_words(chat: Chat, typed: str) -> Iterable[str]:  # noqa: ARG001
    from minichat.terminal.commands import COMMANDS, TOPICS

    return [*(title.lower() for title in TOPICS), "keys", *(command.name for command in COMMANDS)]


def _reload(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    chat.restart()
    chat.deaths = 0
    say("the engine starts again; the conversation is still there", "dim")
    return False


def _bye(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    return True


COMMANDS: tuple[Command, ...] = (
    Command("help", "[TOPIC]", "this list, or a part of it", _help, _help_words),
    Command("reload", "", "start the engine again", _reload),
    Command("bye", "", "leave", _bye),
)
