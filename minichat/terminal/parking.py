"""The model that was talked to before /model stays loaded, as long as memory allows: /model back finds its cache.

One model at most is kept so. Its weights are mapped: where memory gets short the system drops them by itself. What its
cache takes it cannot drop: so the engine is ended when less than `SPARE_BYTES` are free beside the weights in use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minichat.engine.types import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions, ModelInfo
    from minichat.template.messages import Message
    from minichat.terminal.chat import Chat

SPARE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Parked:
    """path: of the model's file; load: how it was loaded; messages: the conversation as this model left it."""

    engine: Engine
    path: Path
    load: LoadOptions
    info: ModelInfo
    messages: Sequence[Message]


def park(chat: Chat, parked: Parked, in_use: ModelInfo, available: Callable[[], int | None] | None = None) -> None:
    """Keeps an engine for the way back, in the place of one that was kept, or ends it for want of memory.

    in_use: the model that is talked to from now on.
    """
    close(chat)
    chat.parked = parked
    give_way(chat, in_use, available)


def give_way(chat: Chat, in_use: ModelInfo | None, available: Callable[[], int | None] | None = None) -> None:
    """Ends the engine that is kept if memory has got short."""
    if chat.parked is None:
        return
    from minichat.machine import available_bytes

    free = (available or available_bytes)()
    if free is None or free < SPARE_BYTES + (in_use.size_bytes if in_use is not None else 0):
        close(chat)


def take(chat: Chat, path: Path, load: LoadOptions) -> Parked | None:
    """The engine that was kept, if it has this file, as it is now, loaded in this way; any other one is ended."""
    parked = chat.parked
    is_same = parked is not None and (parked.path, parked.load, parked.info.stamp) == (path, load, stamp_of(path))
    if parked is None or not is_same or parked.engine.has_died():
        close(chat)
        return None
    chat.parked = None
    return parked


def close(chat: Chat) -> None:
    """Ends the engine that is kept."""
    if chat.parked is not None:
        chat.parked.engine.close()
        chat.parked = None


def with_tokens(messages: Sequence[Message], known: Sequence[Message]) -> list[Message]:
    """The messages, and what is the same in `known` with the ids that it has there."""
    found = list(messages)
    for n, (message, other) in enumerate(zip(messages, known, strict=False)):
        if message.tokens is None and replace(other, tokens=None) == message:
            found[n] = other
    return found
