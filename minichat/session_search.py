"""Where a text stands in a conversation. Pure; standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minichat.template.messages import Message
from minichat.worded import worded

_AROUND = 40  # characters before and behind what was found


@dataclass(frozen=True)
class Found:
    """A place where a text was found. turn: the number of the question, from 1, that it is in or behind."""

    name: str
    turn: int
    role: str
    excerpt: str


def text_pattern(text: str) -> re.Pattern[str]:
    """What finds a text as it is, in any case of letters."""
    return re.compile(re.escape(text), re.IGNORECASE)


def file_pattern(text: str) -> re.Pattern[str]:
    r"""What finds a text as JSON spells it: a file without it need not be read.

    >>> bool(file_pattern('"a').search(r'{"content": "say \"A\""}'))
    True
    """
    return text_pattern(json.dumps(text, ensure_ascii=False)[1:-1])


def find_text(name: str, messages: Sequence[Message], pattern: re.Pattern[str]) -> Iterator[Found]:
    """The first place in each message, calls and their results too, where `pattern` is found.

    >>> said = [Message("user", "Hi"), Message("assistant", "Hello there")]
    >>> list(find_text("a", said, re.compile("there")))
    [Found(name='a', turn=1, role='assistant', excerpt='Hello there')]
    """
    turn = 0
    for message in messages:
        turn += message.role == "user"
        for text in (worded(message.content), *(f"{call.name} {call.arguments}" for call in message.calls)):
            if match := pattern.search(text):
                yield Found(name, turn, message.role, _excerpt(text, match.start(), match.end()))
                break


def _excerpt(text: str, start: int, end: int) -> str:
    r"""What was found with the words around it, on one line.

    >>> _excerpt("one two\nthree", 4, 7), _excerpt("a" * 9 + " b " * 20 + "c", 69, 70)
    ('one two three', '…b b b b b b b b b b b b b c')
    """
    end = min(end, start + 4 * _AROUND)
    before, after = text[max(start - _AROUND, 0) : start], text[end : end + _AROUND]
    if start > _AROUND:
        before = "…" + before.partition(" ")[2].lstrip()
    if end + _AROUND < len(text):
        after = after.rpartition(" ")[0].rstrip() + "…"
    return " ".join(f"{before}{text[start:end]}{after}".split())
