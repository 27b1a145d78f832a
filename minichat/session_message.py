"""A message of a session as JSON, with all that it holds, and back. Pure; standard library only.

    {"role": "user", "content": "Hi"}
    {"role": "user", "content": [{"text": "What is this?"}, {"image": "cat.png"}]}
    {"role": "assistant", "content": "", "tokens": [9, 8], "calls": [{"name": "f", "arguments": "{}", "id": null}]}
    {"role": "tool", "content": "22", "call_id": "D681PevKs", "name": "f"}
    {"role": "assistant", "content": [{"thinking": "Hm", "closed": false}], "cut": true}

Unlike OpenAI's shape, which `minichat.template.messages` reads, nothing is lost on the way.
"""

from __future__ import annotations

from typing import Any

from minichat.template.messages import ROLES, Call, Content, ImagePart, Message, Part, TextPart, ThinkPart

_MAX_TOKEN = 2**31 - 1


class DamagedError(Exception):
    """A value that no session holds."""


def message_value(message: Message) -> dict[str, Any]:
    """
    >>> message_value(Message("assistant", "Hi", (5,), cut=True))
    {'role': 'assistant', 'content': 'Hi', 'tokens': (5,), 'cut': True}
    """
    value: dict[str, Any] = {"role": message.role, "content": _content_value(message.content)}
    if message.tokens is not None:
        value["tokens"] = message.tokens
    if message.prefix:
        value["prefix"] = True
    if message.calls:
        value["calls"] = [{"name": one.name, "arguments": one.arguments, "id": one.id} for one in message.calls]
    if message.call_id is not None:
        value["call_id"] = message.call_id
    if message.name is not None:
        value["name"] = message.name
    if message.cut:
        value["cut"] = True
    return value


def _content_value(content: Content) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part_value(part) for part in content]


def _part_value(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        return {"image": part.source}
    if isinstance(part, ThinkPart):
        return {"thinking": part.text} if part.closed else {"thinking": part.text, "closed": False}
    return {"text": part.text}


_FIELDS = {"role", "content", "tokens", "prefix", "calls", "call_id", "name", "cut"}


def read_message(value: object) -> Message:
    """The message that a JSON value is. Raises DamagedError.

    >>> read_message({"role": "user", "content": "Hi"}).text
    'Hi'
    """
    if not isinstance(value, dict) or not set(value) <= _FIELDS or value.get("role") not in ROLES:
        raise DamagedError
    tokens, calls = value.get("tokens"), value.get("calls", [])
    if not isinstance(tokens, list | None) or not isinstance(calls, list):
        raise DamagedError
    if any(type(token) is not int or not 0 <= token <= _MAX_TOKEN for token in tokens or ()):
        raise DamagedError
    flags = value.get("prefix", False), value.get("cut", False)
    names = value.get("call_id"), value.get("name")
    if not all(isinstance(flag, bool) for flag in flags) or not all(isinstance(name, str | None) for name in names):
        raise DamagedError
    return Message(
        value["role"],
        _content(value.get("content")),
        None if tokens is None else tuple(tokens),
        flags[0],
        tuple(_call(call) for call in calls),
        *names,
        cut=flags[1],
    )


def _content(value: object) -> Content:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise DamagedError
    return tuple(_part(part) for part in value)


def _part(value: object) -> Part:
    if not isinstance(value, dict):
        raise DamagedError
    match value:
        case {"text": str(text)} if len(value) == 1:
            return TextPart(text)
        case {"image": str(source)} if len(value) == 1:
            return ImagePart(source)
        case {"thinking": str(text)} if len(value) == 1:
            return ThinkPart(text)
        case {"thinking": str(text), "closed": bool(closed)} if len(value) == 2:
            return ThinkPart(text, closed)
    raise DamagedError


def _call(value: object) -> Call:
    if not isinstance(value, dict):
        raise DamagedError
    match value:
        case {"name": str(name), "arguments": str(arguments), "id": str() | None as call_id} if len(value) == 3:
            return Call(name, arguments, call_id)
    raise DamagedError
