"""/format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from minichat.terminal.sanitize import clean_line
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat


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


COMMANDS: tuple[Command, ...] = (
    Command("format", "[text|json|FILE]", "the form of answers; FILE: JSON Schema", _format),
)
