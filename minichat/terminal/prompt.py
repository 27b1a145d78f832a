"""The line where messages are typed: keys, history, completion, and the line at the bottom."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style

from minichat.terminal.commands import COMMANDS
from minichat.terminal.sanitize import clean_line

if TYPE_CHECKING:
    from pathlib import Path

    from prompt_toolkit.document import Document

    from minichat.terminal.chat import Chat

_PLACEHOLDER = "Send a message (/help for help)"
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack", "placeholder": "fg:ansibrightblack"})


class Prompt:
    """Reads one message after the other."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._hint = ""
        self._session: PromptSession[str] = PromptSession(
            message=">>> ",
            multiline=True,
            prompt_continuation=lambda width, line, is_wrapped: "    " if is_wrapped else "... ",  # noqa: ARG005
            placeholder=self._placeholder,
            history=open_history(chat.history_path),
            key_bindings=self._keys(),
            enable_suspend=True,
            completer=_CommandCompleter(),
            complete_while_typing=Condition(self._is_command),
            reserve_space_for_menu=len(COMMANDS) + 1,
            bottom_toolbar=self._toolbar,
            style=_STYLE,
        )

    def read(self) -> str:
        """What was typed, as text that can be encoded. EOFError on Ctrl-D."""
        self._hint = ""
        text = self._session.prompt()
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def _is_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")

    def _placeholder(self) -> StyleAndTextTuples:
        """Gone when the prompt is left: it is no part of the scrollback."""
        return [] if self._session.app.is_done else [("class:placeholder", _PLACEHOLDER)]

    def _toolbar(self) -> StyleAndTextTuples:
        return [("", clean_line(self._hint or toolbar_text(self._chat)))]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        @keys.add("c-j")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline(copy_margin=False)

        @keys.add("tab", filter=Condition(self._is_command))
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            found = list(_CommandCompleter().get_completions(buffer.document, CompleteEvent()))
            if len(found) == 1:
                buffer.apply_completion(found[0])  # at once: the menu may not be there yet
            elif buffer.complete_state:
                buffer.complete_next()
            else:
                buffer.start_completion(select_first=True)

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self._hint = "Ctrl-D or /bye leaves"

        return keys


def toolbar_text(chat: Chat) -> str:
    """The model, how much of its context is used, and how fast it last was."""
    parts = [chat.model_name]
    if chat.info is not None and chat.stats is not None:
        parts.append(f"{chat.stats.context_tokens:,}/{chat.info.ctx:,}")
        if chat.stats.decode_tokens_per_s:
            parts.append(f"{chat.stats.decode_tokens_per_s:.0f} tokens/s")
    return " · ".join(parts)


def open_history(path: Path | None) -> History:
    """History in a file that only its owner may read; in memory where there is no such place."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError:
        return InMemoryHistory()
    return _History(path)


class _History(FileHistory):
    """A disk that is full must not end the chat."""

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string.encode("utf-8", "replace").decode())
        except OSError:
            pass


class _CommandCompleter(Completer):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        text = document.text
        if not text.startswith("/") or any(char.isspace() for char in text):
            return
        for command in COMMANDS:
            if command.name.startswith(text[1:].lower()):
                yield Completion(
                    "/" + command.name, -len(text), display_meta=f"{command.argument} {command.help}".strip()
                )
