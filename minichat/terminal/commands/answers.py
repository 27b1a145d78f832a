"""/retry, /edit, /undo, /continue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minichat.conversation import Turn
from minichat.terminal.commands.command import Command
from minichat.terminal.output import say
from minichat.terminal.sanitize import clean_line
from minichat.worded import worded
from quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minichat.terminal.chat import Chat

_MAX_DIGITS = 9
_SHOWN = 60  # characters of a message that say which one it is


def turn_of(chat: Chat, argument: str) -> Turn:
    """The turn that a command's argument names, the last one if there is none. Raises UsageError."""
    turns = chat.conversation.turns()
    if not turns:
        raise UsageError("nothing has been said yet")
    if not argument:
        return turns[-1]
    if not argument.isdecimal() or len(argument) > _MAX_DIGITS or not 1 <= int(argument) <= len(turns):
        raise UsageError(f"{argument[:20]!r} is no turn: 1 to {len(turns)} (/context lists them)")
    return turns[int(argument) - 1]


def turn_numbers(chat: Chat, typed: str) -> Iterable[str]:  # noqa: ARG001
    return [str(turn.number) for turn in reversed(chat.conversation.turns())]


def excerpt(text: str, characters: int = _SHOWN) -> str:
    """The beginning of a text, on one line."""
    line = clean_line(" ".join(text[: 4 * characters].split()))
    return line if len(line) <= characters else line[: characters - 1] + "…"


def _retry(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    from minichat.terminal.turn import ask_again

    ask_again(chat)
    return False


def _edit(chat: Chat, argument: str) -> bool:
    from minichat.attachments import detached
    from minichat.terminal.attaching import changed_files, look_of

    turn = turn_of(chat, argument)
    later = len(chat.conversation.turns()) - turn.number
    message = chat.conversation.messages[turn.start]
    chat.draft, chat.editing = detached(message.content, Path(), look_of(chat)), turn.number
    behind = f", and what followed it ({later} turn{'s' * (later > 1)})" if later else ""
    say(f"(sent, this takes the place of turn {turn.number}{behind}; Ctrl-C leaves it as it is)", "dim")
    if changed := changed_files(chat, message.content, chat.draft):
        are, they = ("have", "they are") if len(changed) > 1 else ("has", "it is")
        say(f"({', '.join(changed)} {are} changed: {they} read anew)", "dim")
    return False


def _undo(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    from minichat.terminal.fitting import count_anew

    turn = turn_of(chat, "")
    question = worded(chat.conversation.messages[turn.start].content)
    chat.conversation.drop(turn.number, turn.number)
    count_anew(chat)
    say(f"(undone: {excerpt(question)})", "dim")
    return False


def _continue(chat: Chat, argument: str) -> bool:  # noqa: ARG001
    from minichat.terminal.turn import lengthen

    lengthen(chat)
    return False


COMMANDS: tuple[Command, ...] = (
    Command("retry", "", "another answer, with another seed", _retry),
    Command("continue", "", "lengthen the last answer", _continue),
    Command("edit", "[N]", "change your last message, or that of turn N, and go on from there", _edit, turn_numbers),
    Command("undo", "", "forget the last turn", _undo),
)
