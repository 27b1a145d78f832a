"""/raw, /copy: the source of an answer, on the screen and on the clipboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minichat.template.messages import JOINT
from minichat.terminal.commands.command import Command
from minichat.terminal.output import say, write
from minichat.terminal.sanitize import clean
from quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from minichat.conversation import Conversation
    from minichat.terminal.chat import Chat


def answers(conversation: Conversation) -> list[str]:
    """The source of the answer of each turn, "" where there is none yet.

    What a model says before and after its calls of tools is one answer.

    >>> from minichat.conversation import Conversation
    >>> from minichat.template.messages import Message
    >>> answers(Conversation(None, None, [Message("user", "Hi"), Message("assistant", "**Hello**")]))
    ['**Hello**']
    """
    messages = conversation.messages
    turns = (messages[turn.start : turn.end] for turn in conversation.turns())
    return [JOINT.join(m.text for m in turn if m.role == "assistant" and m.text) for turn in turns]


def code_blocks(source: str) -> list[str]:
    r"""The code in the Markdown `source`, as it would be shown; no newline at the ends.

    >>> code_blocks("Run:\n\n```sh\nls\n```\n\n- or\n\n  ```\n  dir\n  ```\n")
    ['ls', 'dir']
    """
    from minichat.terminal.blocks import BlockSource

    blocks = BlockSource()
    blocks.add(clean(source))
    tokens = (token for block in blocks.last() for token in block.tokens)
    return [token.content.removesuffix("\n") for token in tokens if token.type in ("fence", "code_block")]


def _raw(chat: Chat, argument: str) -> bool:
    said = _answer(chat, argument)
    write(sys.stdout, clean(said) + "\n" * (not said.endswith("\n")))
    try:
        _copy_text(said, "it")
    except UsageError as error:  # it is shown all the same
        say(f"(not copied: {error})", "dim")
    return False


def _copy(chat: Chat, argument: str) -> bool:
    said = _answer(chat, "")
    if not argument:
        _copy_text(said, "the last answer")
        return False
    found = code_blocks(said)
    if not found:
        raise UsageError("the last answer has no code block; /copy alone copies all of it")
    number = _number(argument, len(found), "code block")
    _copy_text(found[number - 1], f"code block {number} of {len(found)}")
    return False


def _answer(chat: Chat, argument: str) -> str:
    """The answer of the turn that is asked for, or the last one that there is."""
    turns = answers(chat.conversation)
    if not any(turns):
        raise UsageError("there is no answer yet")
    if not argument:
        return next(said for said in reversed(turns) if said)
    number = _number(argument, len(turns), "turn")
    if not turns[number - 1]:
        raise UsageError(f"turn {number} has no answer")
    return turns[number - 1]


def _number(argument: str, last: int, what: str) -> int:
    """The number that was typed, 1 to `last`."""
    if argument.isascii() and argument.isdigit() and len(argument) < 10 and 1 <= int(argument) <= last:
        return int(argument)
    known = f"there is only {what} 1" if last == 1 else f"the {what}s are 1 to {last}"
    raise UsageError(f"{argument[:40]!r} is no {what}: {known}")


def _copy_text(text: str, what: str) -> None:
    from minichat.terminal import clipboard

    way = clipboard.copy(text)
    count = f"{len(text):,} character{'s' * (len(text) != 1)}"
    say(f"(copied {what}, {count}, by {way})", "dim")


def _turns(chat: Chat, argument: str) -> Iterable[str]:  # noqa: ARG001
    return (str(number) for number, said in enumerate(answers(chat.conversation), 1) if said)


def _code_numbers(chat: Chat, argument: str) -> Iterator[str]:  # noqa: ARG001
    said = next((said for said in reversed(answers(chat.conversation)) if said), "")
    yield from map(str, range(1, len(code_blocks(said)) + 1))


COMMANDS: tuple[Command, ...] = (
    Command("raw", "[N]", "the source of the last answer, or of turn N: shown and copied", _raw, _turns),
    Command("copy", "[N]", "copy the last answer, or its code block N", _copy, _code_numbers),
)
