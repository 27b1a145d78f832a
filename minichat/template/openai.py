"""Messages in OpenAI's shape, as the templates of other families want them. Pure; standard library only."""

from __future__ import annotations

from typing import Any

from minichat.template.json_text import value_of
from minichat.template.messages import ImagePart, Message
from quant.errors import TemplateError


def message_value(message: Message) -> dict[str, Any]:
    """A message as plain data; a call's arguments are an object, which most templates turn into JSON themselves.

    Raises TemplateError for images and for an answer to be continued, which such templates have no common form for.

    >>> message_value(Message("user", "Hi"))
    {'role': 'user', 'content': 'Hi'}
    """
    if not isinstance(message.content, str) and any(isinstance(part, ImagePart) for part in message.content):
        raise TemplateError("the model's own template is given no images: only some of Mistral's are")
    if message.prefix:
        raise TemplateError("the model's own template has no form for an answer that is to be continued")
    value: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        value["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": value_of(call.arguments)},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        value |= {"tool_call_id": message.call_id, "name": message.name}
    return value
