r"""Conversations as JSON lines: what a session's file says. Pure; standard library only.

    {"minichat": 1, "created": "2026-11-21T06:27:00+00:00"}
    {"model": "demo", "vocabulary": 4096, "template": "v7-tekken", "system": null, "messages": [{"role": "user", ...}]}
    {"summary": {"title": "Hello!", "model": "demo", "turns": 1}}
    {"partial": "Hello! How "}
    {"from": 1, "gone": 0, "messages": [{"role": "assistant", "content": "Hello! How are you?", "tokens": [...]}]}
    {"summary": {"title": "Hello!", "model": "demo", "turns": 1}}

A file only ever grows. Each save is one record: `gone` messages from number `from` on (counted from 0) are replaced by
`messages`; a record without `from` holds the whole conversation. Settings are in a record where they have changed.
Pieces of the answer under way follow the record that they answer, until the next one. A summary stands behind each
record, so that a list of sessions is made from their last lines.

What is read may be torn, damaged or made by anybody: a last line that is no record is dropped, a line in the middle
that is none takes all with it up to the next record of a whole conversation, and no value is trusted before it is
checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from minichat.session_message import DamagedError, message_value, read_message
from minichat.template.messages import Message
from minichat.worded import worded
from quant.errors import DataError

if TYPE_CHECKING:
    from datetime import datetime

VERSION = 1
MAX_BYTES = 256 << 20
_MAX_TITLE = 200  # characters
_SETTINGS = ("model", "vocabulary", "template", "system")
_HEADER = b'{"minichat"'


@dataclass(frozen=True)
class Settings:
    """What a conversation was held with.

    vocabulary: how many tokens the model knows, None if that was not known: ids of another vocabulary mean nothing.
    """

    model: str = ""
    vocabulary: int | None = None
    template: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class State:
    """A conversation as its file tells it.

    title: the first question since the conversation was empty. partial: what came of the answer under way.
    """

    settings: Settings = Settings()
    messages: tuple[Message, ...] = ()
    title: str = ""
    partial: str = ""

    @property
    def turns(self) -> int:
        return sum(message.role == "user" for message in self.messages)


@dataclass(frozen=True)
class Reading:
    """A file, read.

    whole_bytes: so much of it is whole lines and the last record. is_ended: whether that ends with a line's end.
    damaged_line: the number of the line, from 1, from which on all is lost; None if nothing is.
    """

    state: State
    whole_bytes: int
    is_ended: bool
    damaged_line: int | None = None


def difference(before: Sequence[Message], now: Sequence[Message]) -> tuple[int, int, list[Message]]:
    """From which number on how many messages are gone, and what is in their place. Messages are told by identity.

    >>> a, b, c = (Message("user", text) for text in "abc")
    >>> difference([a, b], [a, b, c])[:2], difference([a, b, c], [b, c])[:2], difference([a, b], [a])[:2]
    ((2, 0), (0, 1), (1, 1))
    """
    shorter = min(len(before), len(now))
    first = next((i for i in range(shorter) if before[i] is not now[i]), shorter)
    last = next((i for i in range(shorter - first) if before[-1 - i] is not now[-1 - i]), shorter - first)
    return first, len(before) - first - last, list(now[first : len(now) - last])


def title_of(title: str, messages: Sequence[Message]) -> str:
    """The title that a conversation has now: the one it had, else its first question, on one line; "" while empty."""
    if not messages:
        return ""
    question = next((worded(message.content) for message in messages if message.role == "user"), "")
    return title or " ".join(question[: 4 * _MAX_TITLE].split())[:_MAX_TITLE]


def header_line(created: datetime) -> bytes:
    return _line({"minichat": VERSION, "created": created.isoformat(timespec="seconds")})


def record_lines(before: State, now: State, *, whole: bool = False) -> bytes:
    """The record that leads from one state to the next, and the summary of that. whole: whatever was before."""
    record: dict[str, Any] = {
        name: getattr(now.settings, name)
        for name in _SETTINGS
        if whole or getattr(now.settings, name) != getattr(before.settings, name)
    }
    if whole:
        record["messages"] = [message_value(message) for message in now.messages]
    else:
        first, gone, messages = difference(before.messages, now.messages)
        record |= {"from": first, "gone": gone, "messages": [message_value(message) for message in messages]}
    summary = {"title": now.title, "model": now.settings.model[:_MAX_TITLE], "turns": now.turns}
    return _line(record) + _line({"summary": summary})


def partial_line(text: str) -> bytes:
    return _line({"partial": text})


def read_state(data: bytes, where: str) -> Reading:
    """What a file says. Raises DataError, one line, for one that is no session at all.

    where: the file, for the message.
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"{where} is longer than {MAX_BYTES >> 20} MB: this is no session of minichat")
    if b"\n" not in data and (_HEADER.startswith(data) or data.startswith(_HEADER)):
        return Reading(State(), 0, True)  # its very first write was torn
    replay = _Replay()
    start, number = 0, 0
    while start < len(data):
        end = data.find(b"\n", start)
        line = data[start:] if end < 0 else data[start:end]
        number += 1
        try:
            if number == 1:
                _check_header(line, where)
            elif line:
                replay.take(_object(line))
        except DamagedError:
            if end < 0:
                break
            if replay.damaged_line is None:
                replay.damaged_line = number
        start = len(data) if end < 0 else end + 1
    return Reading(replay.state(), start, data[:start].endswith(b"\n"), replay.damaged_line)


class _Replay:
    """The conversation, record by record. damaged_line: from it on, records build on what is not known."""

    def __init__(self) -> None:
        self.damaged_line: int | None = None
        self._settings = Settings()
        self._messages: list[Message] = []
        self._title = ""
        self._partial: list[str] = []

    def take(self, record: dict[str, Any]) -> None:
        """Raises DamagedError for what is no record; then nothing has changed."""
        if "messages" in record and ("from" not in record or self.damaged_line is None):
            self._take_messages(record)
        elif isinstance(record.get("partial"), str) and len(record) == 1:
            if self.damaged_line is None:
                self._partial.append(record["partial"])
        elif "messages" not in record and set(record) != {"summary"}:
            raise DamagedError

    def state(self) -> State:
        return State(self._settings, tuple(self._messages), self._title, "".join(self._partial))

    def _take_messages(self, record: dict[str, Any]) -> None:
        is_whole = "from" not in record
        first, gone = (0, len(self._messages)) if is_whole else (record["from"], record.get("gone", 0))
        if not isinstance(record["messages"], list) or type(first) is not int or type(gone) is not int:
            raise DamagedError
        if not (0 <= first <= len(self._messages) and 0 <= gone <= len(self._messages) - first):
            raise DamagedError
        settings = _settings(Settings() if is_whole else self._settings, record)
        self._messages[first : first + gone] = [read_message(value) for value in record["messages"]]
        self._settings = settings
        self._title = title_of(self._title, self._messages)
        self._partial.clear()
        if is_whole:
            self.damaged_line = None


def read_summary(line: bytes) -> tuple[str, str, int] | None:
    """Title, model and turns from a last line; None if it is no summary."""
    if not line.startswith(b'{"summary"'):
        return None
    try:
        summary = _object(line)["summary"]
    except DamagedError:
        return None
    if not isinstance(summary, dict):
        return None
    title, model, turns = (summary.get(name) for name in ("title", "model", "turns"))
    if not isinstance(title, str) or not isinstance(model, str) or type(turns) is not int:
        return None
    return title[:_MAX_TITLE], model[:_MAX_TITLE], turns


def _check_header(line: bytes, where: str) -> None:
    try:
        version = _object(line).get("minichat")
    except DamagedError:
        version = None
    if type(version) is not int:
        raise DataError(
            f"{where} is no session of minichat: its first line is not {_HEADER.decode()}: {VERSION}, ...}}"
        )
    if version != VERSION:
        raise DataError(f"{where} is a session of another version of minichat: use that one")


def _settings(old: Settings, record: dict[str, Any]) -> Settings:
    new = replace(old, **{name: record[name] for name in _SETTINGS if name in record})
    if (
        not isinstance(new.model, str)
        or not (new.vocabulary is None or type(new.vocabulary) is int)
        or not isinstance(new.template, str | None)
        or not isinstance(new.system, str | None)
        or not set(record) <= {"from", "gone", "messages", *_SETTINGS}
    ):
        raise DamagedError
    return new


def _line(value: object) -> bytes:
    r"""
    >>> _line({"partial": "é"})
    b'{"partial": "\xc3\xa9"}\n'
    """
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character, which only an escape can stand for
        return json.dumps(value).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedError from error
    if not isinstance(value, dict):
        raise DamagedError
    return value
