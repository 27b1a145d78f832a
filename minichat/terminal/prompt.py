"""The prompt: where messages are typed, in the way that the terminal and the person need."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minichat.terminal.interrupt import echo_off
from minichat.terminal.output import is_moving

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat
    from minichat.terminal.line_editor import LineEditor
    from minichat.terminal.plain_prompt import PlainPrompt


class Prompt:
    """Reads one message after the other."""

    def __init__(self, chat: Chat) -> None:
        self._reader = _plain(chat) if chat.plain or not is_moving(sys.stdout) else _editing(chat)

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
