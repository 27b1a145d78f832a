"""What a slash command is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat


@dataclass(frozen=True)
class Command:
    """run: gets the chat and what was typed after the name; it returns True to leave the chat.
    complete: whole candidates for what was typed after the name so far; they need not begin with it.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Chat, str], bool]
    complete: Callable[[Chat, str], Iterable[str]] | None = None
