"""Messages -> turns: what is joined before a template is applied. Pure; the same for all versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from minichat.template.messages import JOINT, Content, Message, Part, TextPart


def turns_of(messages: Sequence[Message]) -> list[Message]:
    """Runs of user and of assistant messages as one message each; system messages and results as they are.

    An answer alone in its run keeps its tokens. In a longer run no tokens are known for the text between two answers,
    so the run is made of their contents.
    """
    turns: list[Message] = []
    for role, group in groupby(messages, key=lambda message: message.role):
        run = list(group)
        if role in ("system", "tool") or len(run) == 1:
            turns += [replace(message, content=joined([message.content])) for message in run]
        else:
            content = joined(message.content for message in run)
            calls = tuple(call for message in run for call in message.calls)
            turns.append(Message(role, content, prefix=run[-1].prefix, calls=calls))
    return turns


def joined(contents: Iterable[Content]) -> Content:
    """Contents as one: texts in a row become one, with blank lines between; empty texts are left out.

    >>> joined(["a", (TextPart(""), TextPart("b"))])
    'a\\n\\nb'
    """
    flat: list[Part] = []
    for content in contents:
        flat += (TextPart(content),) if isinstance(content, str) else content
    parts: list[Part] = []
    for is_text, group in groupby(flat, key=lambda part: isinstance(part, TextPart)):
        run = list(group)
        text = JOINT.join(part.text for part in run if isinstance(part, TextPart) and part.text)
        parts += run if not is_text else [TextPart(text)] if text else []
    if all(isinstance(part, TextPart) for part in parts):
        return JOINT.join(part.text for part in parts if isinstance(part, TextPart))
    return tuple(parts)


def in_order_of_calls(turns: Sequence[Message]) -> list[Message]:
    """The turns, with each run of results in the order of the calls that they answer."""
    ordered: list[Message] = []
    places: dict[str | None, int] = {}
    for role, group in groupby(turns, key=lambda turn: turn.role):
        run = list(group)
        if role == "assistant":
            places = {call.id: place for place, call in enumerate(run[-1].calls)}
        ordered += sorted(run, key=lambda turn: places.get(turn.call_id, 0)) if role == "tool" else run
    return ordered
