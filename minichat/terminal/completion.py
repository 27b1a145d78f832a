"""Completion: slash commands, their arguments, and the paths of files to attach."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion

from minichat.terminal.commands import COMMANDS
from minichat.terminal.paths import complete_path
from minichat.terminal.sanitize import clean_line
from quant.errors import MinichatError

if TYPE_CHECKING:
    from prompt_toolkit.document import Document

    from minichat.terminal.chat import Chat
    from minichat.terminal.commands.command import Command

_AT = re.compile(r"""(?<![^\s(\[{<"'])@(?:(")([^"\n]*)|([^\s"]*))\Z""")  # as in minichat.attachments, up to the cursor


class ChatCompleter(Completer):
    """What may follow the text before the cursor."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        text = document.text_before_cursor
        if text.startswith("/"):
            name, blank, argument = _split(text)
            return self._arguments(name, argument) if blank else _commands(name)
        return _attachments(document.current_line_before_cursor)

    def _arguments(self, name: str, argument: str) -> Iterator[Completion]:
        command = next((command for command in COMMANDS if command.name == name.lower()), None)
        if command is None or "\n" in argument:
            return
        try:
            for candidate in self._candidates(command, argument):
                if clean_line(candidate) == candidate:
                    yield Completion(candidate, -len(argument))
        except (MinichatError, OSError):
            return  # a store that cannot be read has no names

    def _candidates(self, command: Command, argument: str) -> Iterable[str]:
        if command.complete is not None:
            return command.complete(self._chat, argument)
        return complete_path(argument) if "FILE" in command.argument else ()


def is_completed_while_typing(text: str, line: str) -> bool:
    """Whether a menu may open by itself. `text`: all before the cursor; `line`: of its line."""
    if text.startswith("/"):
        name, blank, _ = _split(text)
        return any(command.name == name if blank else command.name.startswith(name) for command in COMMANDS)
    return "@" in line and _AT.search(line) is not None


def _split(text: str) -> tuple[str, bool, str]:
    """The name of a command, whether it has ended, and the argument so far."""
    name = re.split(r"\s", text, maxsplit=1)[0]
    argument = text[len(name) :].lstrip()
    return name[1:], name != text, argument


def _commands(name: str) -> Iterator[Completion]:
    for command in COMMANDS:
        if command.name.startswith(name.lower()):
            end = " " if command.complete is not None or command.argument[:1] not in ("", "[") else ""
            meta = f"{command.argument} {command.help}".strip()
            yield Completion(f"/{command.name}{end}", -len(name) - 1, display=f"/{command.name}", display_meta=meta)


def _attachments(line: str) -> Iterator[Completion]:
    match = _AT.search(line)
    if match is None:
        return
    typed = match[2] or match[3] or ""
    for path in complete_path(typed):
        if path == typed or '"' in path:
            continue  # it is there already, or there is no way to type it
        is_quoted = bool(match[1]) or bool(re.search(r"\s", path))
        end = "/" if path.endswith("/") else ""
        text = f'@"{path}{"" if end else chr(34)}' if is_quoted else f"@{path}"
        yield Completion(text, match.start() - len(line), display=path.rstrip("/").rpartition("/")[2] + end)
