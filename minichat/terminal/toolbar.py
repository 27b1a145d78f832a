"""The line below the prompt: the model, its context, its speed, and what the message would cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prompt_toolkit.utils import get_cwidth

from minichat.terminal.cost import Cost, brought, describe, tokens
from minichat.terminal.sanitize import clean_line

if TYPE_CHECKING:
    from minichat.terminal.chat import Chat

_BETWEEN = " · "
_SHORTEST_NAME = 8  # cells that are left of a model's name before other parts go


def toolbar_text(chat: Chat, columns: int = 80, cost: Cost | None = None, mode: str = "") -> str:
    """All that fits into `columns` cells; what matters least goes first."""
    for parts in _versions(chat, cost, mode):
        line = _BETWEEN.join(clean_line(part) for part in parts if part)
        if get_cwidth(line) <= columns:
            return line
    return cut(line, columns)


def cut(text: str, columns: int) -> str:
    """As much of a line as fits into `columns` cells.

    >>> cut("mistral", 7), cut("mistral", 4), cut("日本語", 5)
    ('mistral', 'mis…', '日本…')
    """
    if get_cwidth(text) <= columns:
        return text
    width, shown = 1, ""
    for char in text:
        width += get_cwidth(char)
        if width > columns:
            break
        shown += char
    return shown + "…" if columns > 0 else ""


def _versions(chat: Chat, cost: Cost | None, mode: str) -> Iterator[list[str]]:
    """From the longest to the shortest."""
    model, name = chat.model_name, chat.model_name.partition(":")[0]
    rate = chat.stats.decode_tokens_per_s if chat.stats is not None else 0
    context = _context(chat)
    long, short = (f"{rate:.0f} tokens/s", f"{rate:.0f}/s") if rate else ("", "")
    price, medium, small = _price(cost)
    yield [mode, model, context, long, price]
    yield [mode, name, context, short, price]
    yield [mode, name, context, short, medium]
    yield [mode, name, context, "", medium]
    yield [mode, name, context, short, small]
    yield [mode, name, context, "", small]
    yield [mode, cut(name, _SHORTEST_NAME), context, "", small]
    yield [mode, context or name, small]
    yield [mode, small or context or name]


def _context(chat: Chat) -> str:
    if chat.info is None or chat.used is None:
        return ""
    return f"{chat.used:,}/{chat.info.ctx:,}"


def _price(cost: Cost | None) -> tuple[str, str, str]:
    """The cost in words, shorter, and as a number."""
    if cost is None:
        return "", "", ""
    if cost.problem:
        return cost.problem, cost.problem, cost.problem
    number = f"+{tokens(cost)}"
    return f"+{describe(cost)}", number + brought(cost), number
