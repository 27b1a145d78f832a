"""The prompt: where messages are typed, in the way that the terminal and the person need."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from minichat.terminal.echo import echo_off
from minichat.terminal.output import is_moving

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat
    from minichat.terminal.graphics import Graphics
    from minichat.terminal.interrupt import Waiting
    from minichat.terminal.line_editor import LineEditor
    from minichat.terminal.plain_prompt import PlainPrompt


class Prompt:
    """Reads one message after the other."""

    def __init__(self, chat: Chat) -> None:
        self._is_plain = chat.plain or not is_moving(sys.stdout)
        self._reader = _plain(chat) if self._is_plain else _editing(chat)

    def keeps_terminal(self) -> AbstractContextManager[None]:
        """Inside, what is typed between two prompts is not shown, and belongs to the next one."""
        return nullcontext() if self._is_plain else echo_off()

    def read(self, draft: str = "", waiting: Waiting | None = None) -> str:
        """What was typed: a message, or a command with its slash. EOFError on Ctrl-D.

        draft: what stands there already, to be edited. waiting: keeps a Ctrl-C that comes when no key is taken.
        """
        return self._reader.read(draft, waiting)

    def is_typed_ahead(self) -> bool:
        """Whether something was typed since the last message, which waits to be read."""
        return self._reader.is_typed_ahead()

    def graphics(self) -> Graphics | None:
        """How the terminal shows pictures; it is asked now, if it was not. None for not at all."""
        return self._reader.graphics()


def _plain(chat: Chat) -> PlainPrompt:
    from minichat.terminal.plain_prompt import PlainPrompt

    return PlainPrompt(chat)


def _editing(chat: Chat) -> LineEditor:
    with echo_off():  # what is typed meanwhile belongs to the prompt
        from minichat.terminal.line_editor import LineEditor

    return LineEditor(chat)
