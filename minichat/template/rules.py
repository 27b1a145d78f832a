"""What a conversation may be: each version's limits, and the refusals.

What mistral-common's validation refuses is refused here, with the number of the message, counted from 1. So are three
things that it lets through in its laxest mode: a result that answers no call, a list of tools for a version that would
drop it without a word, and a name or an id that ends with a line end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minichat.template.messages import ROLES, ImagePart, Message, ThinkPart
from quant.errors import TemplateError

NAME = re.compile("[a-zA-Z0-9_-]{1,64}")  # of a tool
_NINE = re.compile("[a-zA-Z0-9]{9}")
_AFTER = {
    "system": ("system", "user", "assistant"),
    "user": ("system", "user", "assistant"),
    "assistant": ("user", "assistant", "tool"),
    "tool": ("user", "assistant", "tool"),
}


@dataclass(frozen=True)
class Rules:
    """What a version can express.

    tools: lists of tools, calls and results.
    call_ids: of calls and results; not looked at, nine letters or digits, or anything that is not empty.
    unique_ids: whether a call's id and a result's may be there only once.
    one_result: whether only one result can answer the last question's calls.
    text_and_calls: whether one answer can hold both. Then an empty answer is let through beside another.
    images: in the user's messages.
    thinking: in system messages and answers.
    """

    version: str
    tools: bool
    call_ids: Literal["none", "nine", "any"]
    unique_ids: bool
    one_result: bool
    text_and_calls: bool
    images: bool
    thinking: bool

    def refusal(self, what: str) -> TemplateError:
        return TemplateError(f"the template {self.version} cannot express {what}")


def check(messages: Sequence[Message], rules: Rules) -> None:
    """Raises TemplateError for what cannot be expressed, one message at a time and in their order."""
    if not messages:
        raise TemplateError("the conversation is empty: it needs at least one message")
    previous: Message | None = None
    for number, message in enumerate(messages, start=1):
        where = f"message {number} ({message.role})"
        if message.role not in _AFTER:
            raise TemplateError(f"message {number} has an unknown role; known roles: {', '.join(ROLES)}")
        if previous is not None and message.role not in _AFTER[previous.role]:
            raise TemplateError(f"{where} cannot follow a message of the role {previous.role}")
        _check_fields(message, where)
        _check_content(message, where, rules)
        if message.role == "assistant":
            _check_answer(message, where, rules, last=number == len(messages))
        elif message.role == "tool":
            _check_id(message.call_id, where, rules)
            if message.name is not None:
                _check_name(message.name, where)
        previous = message
    if messages[-1].role == "assistant" and (len(messages) == 1 or not messages[-1].prefix):
        raise TemplateError("the conversation cannot end with an answer, unless it is a prefix after another message")
    _check_results(messages, rules)


def check_turns(turns: Sequence[Message], rules: Rules) -> None:
    """Raises TemplateError for what cannot be expressed once messages have been joined into turns."""
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=-1)
    results = 0
    for i, turn in enumerate(turns):
        if turn.role == "assistant":
            if not turn.content and not turn.calls and turn.tokens is None:
                raise TemplateError("the conversation has an answer without content")
            if turn.content and turn.calls and turn.tokens is None and not rules.text_and_calls:
                raise rules.refusal("an answer that has both a text and calls")
        results = results + 1 if turn.role == "tool" else 0
        if rules.one_result and results > 1 and i > last_user:
            raise rules.refusal("several results of one answer's calls")


def _check_fields(message: Message, where: str) -> None:
    """That each role has only the fields that are its own."""
    if message.role != "assistant" and (message.prefix or message.tokens is not None or message.calls):
        raise TemplateError(f"{where}: only an assistant message can be a prefix, call tools or carry tokens")
    if message.role != "tool" and (message.call_id is not None or message.name is not None):
        raise TemplateError(f"{where}: only a tool message answers a call")


def _check_content(message: Message, where: str, rules: Rules) -> None:
    for part in () if isinstance(message.content, str) else message.content:
        if isinstance(part, ImagePart):
            if message.role != "user":
                raise TemplateError(f"{where} has an image, which only a user message can have")
            if not rules.images:
                raise rules.refusal(f"the image in {where}")
        elif isinstance(part, ThinkPart):
            if message.role not in ("system", "assistant"):
                raise TemplateError(f"{where} has thinking, which only an assistant or a system message can have")
            if not rules.thinking:
                raise rules.refusal(f"the thinking in {where}")


def _check_answer(message: Message, where: str, rules: Rules, last: bool) -> None:
    if message.prefix and not last:
        raise TemplateError(f"{where} is a prefix to continue, so it must be the last message")
    if message.calls and not rules.tools:
        raise rules.refusal(f"the call in {where}")
    for call in message.calls:
        _check_id(call.id, where, rules)
        _check_name(call.name, where)
    if rules.text_and_calls or message.tokens is not None:
        return
    if message.calls and _has_content(message):
        raise rules.refusal(f"both a text and calls, as in {where}")
    if not message.calls and not _has_content(message):
        raise TemplateError(f"{where} has no content")


def _has_content(message: Message) -> bool:
    return bool(message.text) or any(isinstance(part, ThinkPart) for part in message.content)


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise TemplateError(f"{where}: a tool's name is 1 to 64 letters, digits, - and _, not {name[:70]!r}")


def _check_id(call_id: str | None, where: str, rules: Rules) -> None:
    if rules.call_ids == "none":
        return
    if not call_id or call_id == "null":
        raise TemplateError(f"{where} needs the id of its call")
    if rules.call_ids == "nine" and not _NINE.fullmatch(call_id):
        raise TemplateError(f"{where}: a call's id is 9 letters or digits in {rules.version}, not {call_id[:40]!r}")


def _check_results(messages: Sequence[Message], rules: Rules) -> None:
    """That results answer calls, each its own, and that no answer follows calls with some of them left open.

    The calls of a conversation's first message do not count, as in mistral-common.
    """
    count, ids = 0, set[str | None]()
    results, answered = 0, set[str | None]()
    for number, message in enumerate(messages, start=1):
        where = f"message {number} ({message.role})"
        if message.role == "tool":
            if results == count:
                raise TemplateError(f"{where} answers no call: more results than calls before it")
            if rules.call_ids != "none" and message.call_id not in ids:
                raise TemplateError(f"{where} has an id that none of the calls before it has")
            if rules.unique_ids and message.call_id in answered:
                raise TemplateError(f"{where} answers a call that has its result already")
            results += 1
            answered.add(message.call_id)
        elif message.role == "assistant" and number > 1:
            if results != count:
                raise TemplateError(f"{where} comes before the results of {count - results} calls")
            count, ids = len(message.calls), {call.id for call in message.calls}
            results, answered = 0, set()
            if rules.unique_ids and len(ids) < count:
                raise TemplateError(f"{where} has two calls with one id")
