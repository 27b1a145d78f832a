"""The prompt: where messages are typed, in the way that the terminal and the person need."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from minichat.terminal.echo import echo_off
from minichat.terminal.output import is_moving

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat
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

    def read(self, draft: str = "") -> str:
        """What was typed: a message, or a command with its slash. EOFError on Ctrl-D.

        draft: what stands there already, to be edited.
        """
        return self._reader.read(draft)


def _plain(chat: Chat) -> PlainPrompt:
    from minichat.terminal.plain_prompt import PlainPrompt

    return PlainPrompt(chat)


def _editing(chat: Chat) -> LineEditor:
    with echo_off():  # what is typed meanwhile belongs to the prompt
        from minichat.terminal.line_editor import LineEditor

    return LineEditor(chat)
