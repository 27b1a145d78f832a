"""Messages of a conversation, and how they are read from JSON in OpenAI's shape.

    [{"role": "system", "content": "Be brief."},
     {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
     {"role": "assistant", "content": "Hel", "prefix": true}]

`role` is system, user or assistant. `content` is a string or a list of text chunks; the chunks that are not empty are
joined with a blank line, as mistral-common joins them. `prefix` marks a last answer that the model is to continue.
Anything else is refused by name rather than dropped: tools, images, fields that would silently mean nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from quant.errors import TemplateError

ROLES = ("system", "user", "assistant", "tool")
JOINT = "\n\n"  # between the chunks of a message, and between messages that are merged

MAX_JSON_CHARACTERS = 64 * 1024 * 1024
_FIELDS = {"role", "content", "prefix", "tool_calls"}


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
    """

    role: str
    content: str | tuple[Part, ...]
    tokens: tuple[int, ...] | None = None
    prefix: bool = False
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The content's text parts, joined with a blank line; what is no text is left out."""
        if isinstance(self.content, str):
            return self.content
        return JOINT.join(part.text for part in self.content if isinstance(part, TextPart) and part.text)


def parse_messages(json_text: str) -> list[Message]:
    """The messages in a JSON text. Raises TemplateError, one line that names the message (counted from 1).

    Whether a template can express them is for `render` to say.

    >>> parse_messages('[{"role": "user", "content": "Hello"}]')
    [Message(role='user', content='Hello', tokens=None, prefix=False)]
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
    if role == "tool" or item.get("tool_calls"):
        raise TemplateError(f"{where} uses tools, which this version of minichat cannot express")
    if role not in ROLES:
        raise TemplateError(f"{where} has the role {_quoted(role)}; known roles: {', '.join(ROLES)}")
    if unknown := sorted(set(item) - _FIELDS):
        raise TemplateError(f"{where} has a field that minichat does not know: {_quoted(unknown[0])}")
    prefix = item.get("prefix", False)
    if not isinstance(prefix, bool) or (role != "assistant" and ("prefix" in item or "tool_calls" in item)):
        raise TemplateError(f'{where}: "prefix" is true or false, and only an assistant message has it')
    return Message(role, _content(item, role, where), prefix=prefix)


def _content(item: dict[str, object], role: str, where: str) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return JOINT.join(filter(None, (_chunk(chunk, where) for chunk in content)))
    if content is None and role == "assistant":
        return ""
    raise TemplateError(f'{where} needs "content": a string or a list of {{"type": "text", "text": "..."}}')


def _chunk(chunk: object, where: str) -> str:
    kind = chunk.get("type") if isinstance(chunk, dict) else None
    if not isinstance(chunk, dict) or kind != "text":
        raise TemplateError(f"{where} has content of the type {_quoted(kind)}; minichat knows only text")
    text = chunk.get("text")
    if not isinstance(text, str) or set(chunk) != {"type", "text"}:
        raise TemplateError(f'{where}: a text chunk is {{"type": "text", "text": "..."}} and nothing else')
    return text


def _quoted(value: object) -> str:
    """A value from outside, short and on one line."""
    if isinstance(value, str):
        return json.dumps(value[:40])
    return "null" if value is None else "that is no string"
