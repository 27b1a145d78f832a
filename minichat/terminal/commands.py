"""The slash commands: one table, from which /help, the completion and the dispatch are made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minichat.terminal.output import say
from minichat.terminal.sanitize import clean_line
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat

_COMMAND = re.compile(r"/([A-Za-z?][\w-]*)?(?:\s+(.*))?", re.DOTALL)

_KEYS = (
    ("Enter", "send the message"),
    ("Alt-Enter, Ctrl-J", "a new line in it"),
    ("Ctrl-C", "stop the answer; clear the message"),
    ("Ctrl-D", "leave"),
)


@dataclass(frozen=True)
class Command:
    """`run` gets the chat and what was typed after the name; it returns True to leave the chat."""

    name: str
    argument: str
    help: str
    run: Callable[[Chat, str], bool]


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
            return command.run(chat, argument)
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), [command.name for command in COMMANDS], 1, 0.5)
    hint = f"did you mean /{near[0]}?" if near else "/help lists them"
    say(f"no command /{name}: {hint} (to send it as a message, put a space before it)")
    return False


def _help(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    rows = [(f"/{command.name} {command.argument}".rstrip(), command.help) for command in COMMANDS]
    width = max(len(left) for left, _ in (*rows, *_KEYS))
    for left, right in (*rows, *_KEYS):
        say(f"{left:<{width}}  {right}", hanging=width + 2)
    return False


def _clear(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    chat.conversation.clear()
    chat.stats = None
    say("the conversation starts afresh", "dim")
    return False


def _reload(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    chat.engine.close()
    chat.engine = chat.open_engine()
    chat.info = None
    say("the engine starts again; the conversation is still there", "dim")
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


def _format(chat: Chat, argument: str) -> bool:
    """text, json, or the file of a JSON Schema."""
    from minichat import formats

    match argument.lower():
        case "":
            pass
        case "text":
            chat.form = formats.TEXT
        case "json":
            chat.form = formats.any_object()
        case "-":
            raise UsageError("/format takes the schema from a file: here, the keys are the chat's")
        case _:
            chat.form = formats.from_schema(argument)
    without = ", and no tools are called" if chat.form.grammar and chat.toolbox.tools else ""
    say(f"answers are {clean_line(chat.form.name)}{without} (/format text, json, or FILE of a JSON Schema)", "dim")
    return False


def _bye(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    return True


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "this list", _help),
    Command("clear", "", "forget the conversation", _clear),
    Command("tokens", "", "the last prompt as the model saw it", _tokens),
    Command("format", "[text|json|FILE]", "the form of answers; FILE: JSON Schema", _format),
    Command("reload", "", "start the engine again", _reload),
    Command("bye", "", "leave", _bye),
)
