"""Messages of a conversation, and how they are read from JSON in OpenAI's shape.

    [{"role": "system", "content": "Be brief."},
     {"role": "user", "content": [{"type": "text", "text": "What is this?"},
                                  {"type": "image_url", "image_url": {"url": "cat.png"}}]},
     {"role": "assistant", "tool_calls": [{"id": "D681PevKs", "function": {"name": "look", "arguments": "{}"}}]},
     {"role": "tool", "tool_call_id": "D681PevKs", "content": "a cat"},
     {"role": "assistant", "content": "A c", "prefix": true}]

`role` is system, user, assistant or tool. `content` is a string or a list of chunks: text, image_url, image, thinking.
Text chunks alone are one text: those that are not empty are joined with a blank line, as mistral-common joins them.
`arguments` is JSON text, or an object. `prefix` marks a last answer that the model is to continue. Anything else is
refused by name rather than dropped: audio, fields that would silently mean nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from quant.errors import TemplateError

ROLES = ("system", "user", "assistant", "tool")
JOINT = "\n\n"  # between the chunks of a message, and between messages that are merged

MAX_JSON_CHARACTERS = 64 * 1024 * 1024
_FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "prefix", "tool_calls"},
    "tool": {"role", "content", "tool_call_id", "name"},
}


@dataclass(frozen=True)
class TextPart:
    """A text among other parts of a message."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """A picture's place among other parts. source: where it comes from, a path or a URL; not looked at here."""

    source: str


@dataclass(frozen=True)
class ThinkPart:
    """What a model thought before it answered. closed: whether it had come to an end of it."""

    text: str
    closed: bool = True


Part = TextPart | ImagePart | ThinkPart
Content = str | tuple[Part, ...]


@dataclass(frozen=True)
class Call:
    """A model's call of a tool. arguments: JSON text. id: what the result refers to; None where none was given."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True)
class Message:
    """One message.

    content: a text, or parts in order.
    tokens: the ids of an answer as the model wrote them, without the end token; they stand for `content` and `calls`.
    prefix: the last message only, an answer that the model is to continue: no end token follows it.
    calls: of an assistant's message, the tools that it calls.
    call_id, name: of a tool's message, the call that it answers and the tool's name.
    cut: whether an answer did not come to its end: it was stopped, or ran into a limit. No template cares.
    """

    role: str
    content: Content
    tokens: tuple[int, ...] | None = None
    prefix: bool = False
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    name: str | None = None
    cut: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        """The content's text parts, joined with a blank line; what is no text is left out."""
        if isinstance(self.content, str):
            return self.content
        return JOINT.join(part.text for part in self.content if isinstance(part, TextPart) and part.text)


def parse_messages(json_text: str) -> list[Message]:
    """The messages in a JSON text. Raises TemplateError, one line that names the message (counted from 1).

    Whether a template can express them is for `render` to say.

    >>> [message.text for message in parse_messages('[{"role": "user", "content": "Hello"}]')]
    ['Hello']
    """
    if len(json_text) > MAX_JSON_CHARACTERS:
        raise TemplateError(f"the messages are longer than {MAX_JSON_CHARACTERS // 2**20} million characters")
    try:
        value = json.loads(json_text)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"the messages are not valid JSON: {_reason(error)}") from error
    if not isinstance(value, list):
        raise TemplateError('the messages must be a JSON list: [{"role": "user", "content": "..."}]')
    return [_message(item, f"message {number}") for number, item in enumerate(value, start=1)]


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"


def _message(item: object, where: str) -> Message:
    if not isinstance(item, dict):
        raise TemplateError(f'{where} must be an object: {{"role": "user", "content": "..."}}')
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise TemplateError(f"{where} has the role {_quoted(role)}; known roles: {', '.join(ROLES)}")
    if unknown := sorted(set(item) - _FIELDS[role]):
        known = [other for other, fields in _FIELDS.items() if unknown[0] in fields]
        reason = f"that only a message of the role {known[0]} has" if known else "that minichat does not know"
        raise TemplateError(f"{where} has a field {reason}: {_quoted(unknown[0])}")
    prefix = item.get("prefix", False)
    if not isinstance(prefix, bool):
        raise TemplateError(f'{where}: "prefix" is true or false')
    calls = item.get("tool_calls")
    if not isinstance(calls, list | None):
        raise TemplateError(f'{where}: "tool_calls" is a list')
    return Message(
        role,
        _content(item, role, where),
        prefix=prefix,
        calls=tuple(_call(call, where) for call in calls or ()),
        call_id=_text_or_null(item, "tool_call_id", where),
        name=_text_or_null(item, "name", where),
    )


def _content(item: dict[str, object], role: str, where: str) -> Content:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = tuple(_part(chunk, where) for chunk in content)
        if all(isinstance(part, TextPart) for part in parts):
            return JOINT.join(part.text for part in parts if isinstance(part, TextPart) and part.text)
        return parts
    if content is None and role == "assistant":
        return ""
    raise TemplateError(f'{where} needs "content": a string or a list of {{"type": "text", "text": "..."}}')


def _part(chunk: object, where: str) -> Part:
    kind = chunk.get("type") if isinstance(chunk, dict) else None
    if not isinstance(chunk, dict) or kind not in ("text", "image_url", "image", "thinking"):
        raise TemplateError(f"{where} has content of the type {_quoted(kind)}; known: text, image_url, image, thinking")
    value = chunk.get(kind)
    if kind == "image_url" and isinstance(value, dict) and set(value) <= {"url", "detail"}:
        value = value.get("url")
    closed = chunk.get("closed", True)
    known = {"type", kind, "closed"} if kind == "thinking" else {"type", kind}
    if not isinstance(value, str) or not isinstance(closed, bool) or not set(chunk) <= known:
        example = '{"type": "image_url", "image_url": {"url": "..."}}' if kind == "image_url" else _example(kind)
        raise TemplateError(f"{where}: a chunk of the type {kind} is {example} and nothing else")
    if kind == "text":
        return TextPart(value)
    return ThinkPart(value, closed) if kind == "thinking" else ImagePart(value)


def _example(kind: str) -> str:
    return json.dumps({"type": kind, kind: "..."})


def _call(call: object, where: str) -> Call:
    function = call.get("function") if isinstance(call, dict) else None
    if (
        not isinstance(call, dict)
        or not isinstance(function, dict)
        or not isinstance(function.get("name"), str)
        or not isinstance(function.get("arguments", 0), str | dict | None)
        or not set(call) <= {"id", "type", "function"}
        or not set(function) <= {"name", "arguments"}
        or call.get("type", "function") != "function"
    ):
        example = '{"id": "...", "type": "function", "function": {"name": "...", "arguments": "{}"}}'
        raise TemplateError(f"{where}: a call is {example} and nothing else")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return Call(function["name"], arguments or "{}", _text_or_null(call, "id", where))


def _text_or_null(item: dict[str, object], key: str, where: str) -> str | None:
    value = item.get(key)
    if not isinstance(value, str | None):
        raise TemplateError(f"{where}: {_quoted(key)} is a string")
    return value


def _quoted(value: object) -> str:
    """A value from outside, short and on one line."""
    if isinstance(value, str):
        return json.dumps(value[:40])
    return "null" if value is None else "that is no string"
