"""The prompt for screen readers and for terminals that cannot move their cursor: a label, and a line after it.

Nothing is drawn twice and nothing appears by itself. Where Python has readline, the line can be edited, earlier ones
come back with the arrows, and a paste of many lines stays one message; else lines are as the terminal gives them.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from minichat.terminal.attaching import attach_in
from minichat.terminal.cost import describe, measure
from minichat.terminal.history_file import open_file
from minichat.terminal.output import is_moving, say
from minichat.terminal.typed import is_open, message_of

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat
    from minichat.terminal.interrupt import Waiting

LABEL = "You: "


class PlainPrompt:
    """Reads one message after the other, by Python's `input`."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._history = open_file(chat.history_path)
        self._last = ""
        self._line = _line_editor(chat.keys)
        for entry in self._history.entries() if self._history is not None else ():
            self._line.add_history(entry)

    def read(self, draft: str = "", waiting: Waiting | None = None) -> str:
        """What was typed. EOFError on Ctrl-D. draft: what stands there already, to be edited.

        `waiting` lets a Ctrl-C through while a line is typed.
        """
        while (text := self._try_to_read(draft, waiting)) is None:
            draft = ""
        self._remember(text)
        self._tell_files(text)
        return message_of(text)

    def is_typed_ahead(self) -> bool:
        """What waits in the terminal goes behind the draft, where it is heard."""
        return False

    def graphics(self) -> None:
        """What does not move shows no pictures."""

    def _try_to_read(self, draft: str, waiting: Waiting | None) -> str | None:
        """None after a remark on why there is no message."""
        try:
            with waiting.suspended() if waiting is not None else nullcontext():
                return self._read_message(draft)
        except KeyboardInterrupt:
            self._chat.edit_no_more()
            say("\nCtrl-D or /bye leaves")
        except UnicodeDecodeError:
            say("that was no text in the terminal's encoding")
        except EOFError:
            say("")
            raise
        return None

    def _tell_files(self, text: str) -> None:
        """What a message with files costs; that of another is not worth the listening."""
        if "@" in text and not text.startswith("/"):
            cost = measure(text, self._chat.engine, partial(attach_in, self._chat))
            if cost.files or cost.pictures:
                say(f"({describe(cost)})")

    def _remember(self, text: str) -> None:
        if text.strip() and text != self._last:
            self._last = text
            self._line.add_history(text)
            if self._history is not None:
                self._history.add(text)

    def _read_message(self, draft: str) -> str:
        """A line, or the lines of a block."""
        text = self._line.read(LABEL, draft)
        while is_open(text):
            text += "\n" + self._line.read("", "")
        return text


class _Bare:
    """A line as the terminal gives it."""

    def add_history(self, entry: str) -> None:
        """There is no way back to it."""

    def read(self, label: str, draft: str) -> str:
        if draft:
            say(f"It was: {draft}")
        return input(label)


class _Readline(_Bare):
    """A line that can be edited."""

    def __init__(self, keys: str) -> None:
        import readline

        self._readline = readline
        readline.set_auto_history(False)  # what else is asked in this program is no message
        readline.parse_and_bind(f"set editing-mode {keys}")
        if is_moving(sys.stdout):
            readline.parse_and_bind("set enable-bracketed-paste on")  # Python turns it off

    def add_history(self, entry: str) -> None:
        self._readline.add_history(entry)

    def read(self, label: str, draft: str) -> str:
        self._readline.set_startup_hook((lambda: self._readline.insert_text(draft)) if draft else None)
        try:
            return input(label)
        finally:
            self._readline.set_startup_hook(None)


def _line_editor(keys: str) -> _Bare:
    try:
        return _Readline(keys)
    except ImportError:
        return _Bare()
