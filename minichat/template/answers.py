"""What a model answered: its text, its thoughts, the tools that it calls. Pure; standard library only.

    V2, V3, V7   text[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}, "id": "D681PevKs"}]
    V11          text[TOOL_CALLS]f[CALL_ID]D681PevKs[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]8OtiR4NcS[ARGS]{}
    V13          [THINK]thoughts[/THINK]text[TOOL_CALLS]f[ARGS]{"a": 1}

An answer comes in spans, (text, whether it is the name of a control token): only the control token begins a call, and
a text that reads [TOOL_CALLS] is a text. Any answer can be read: what is malformed is told, not raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minichat.template import VERSIONS
from minichat.template.messages import Call
from minichat.template.rules import NAME

MAX_CALLS = 128
MAX_CHARACTERS = 1 << 20  # of one answer's calls


@dataclass(frozen=True)
class ReadAnswer:
    """An answer, read.

    calls: in their order; `arguments` is JSON text in the form that templates show, `id` None where none was given.
    problem: one line that says what is malformed; then `calls` holds those before it.
    """

    text: str
    thinking: str
    calls: tuple[Call, ...]
    problem: str | None


class _MalformedError(Exception):
    pass


Section = list[tuple[str, list[str]]]  # [TOOL_CALLS] and the control tokens after it, each with the texts behind it


def read_answer(spans: Sequence[tuple[str, bool]], version: str) -> ReadAnswer:
    """The parts of an answer. version: a name of VERSIONS; a template that has no calls reads none.

    Whether a tool of that name exists and takes such arguments is not looked at, nor whether an id is a good one.

    >>> read_answer([("[TOOL_CALLS]", True), ("now", False), ("[ARGS]", True), ("{}", False)], "v13")
    ReadAnswer(text='', thinking='', calls=(Call(name='now', arguments='{}', id=None),), problem=None)
    """
    text: list[str] = []
    thinking: list[str] = []
    sections: list[Section] = []
    into = text
    for content, is_control in spans:
        if is_control and content == "[TOOL_CALLS]":
            sections.append([(content, [])])
        elif is_control and content in ("[THINK]", "[/THINK]") and not sections:
            into = thinking if content == "[THINK]" else text
        elif not sections:
            into.append("" if is_control else content)
        elif is_control:
            sections[-1].append((content, []))
        else:
            sections[-1][-1][1].append(content)
    calls: list[Call] = []
    problem = None
    try:
        for call in _calls(sections, version):
            if len(calls) == MAX_CALLS:
                raise _MalformedError(f"there are more than {MAX_CALLS} calls")
            calls.append(call)
    except _MalformedError as error:
        problem = str(error)
    return ReadAnswer("".join(text), "".join(thinking), tuple(calls), problem)


def _calls(sections: list[Section], version: str) -> Iterator[Call]:
    syntax = VERSIONS[version].call_syntax if version in VERSIONS else "none"
    if sections and syntax == "none":
        raise _MalformedError("the model calls tools, which this template cannot express")
    if sum(len(text) for section in sections for _, texts in section for text in texts) > MAX_CHARACTERS:
        raise _MalformedError(f"the calls are longer than {MAX_CHARACTERS:,} characters")
    for section in sections:
        marks = [mark for mark, _ in section]
        texts = ["".join(texts) for _, texts in section]
        if syntax == "list":
            yield from _of_list(marks, texts)
        else:
            yield _of_marks(marks, texts)


def _of_list(marks: list[str], texts: list[str]) -> Iterator[Call]:
    if len(marks) > 1:
        raise _MalformedError(f"the calls are broken off by {marks[1][:40]!r}")
    items = _json(texts[0], "the calls")
    if not isinstance(items, list) or not items:
        raise _MalformedError('the calls are no JSON list: [{"name": "...", "arguments": {}}]')
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or "arguments" not in item:
            raise _MalformedError(f'call {number} is not {{"name": "...", "arguments": {{}}}}')
        call_id = item.get("id")
        yield _call(item.get("name"), item["arguments"], call_id if isinstance(call_id, str) and call_id else None)


def _of_marks(marks: list[str], texts: list[str]) -> Call:
    name = texts[0].strip()
    if marks[1:] not in (["[ARGS]"], ["[CALL_ID]", "[ARGS]"]):
        wrong = next((mark for mark in marks[1:] if mark not in ("[CALL_ID]", "[ARGS]")), None)
        what = f"is broken off by {wrong[:40]!r}" if wrong else "is not NAME[ARGS]JSON"
        raise _MalformedError(f"the call of {name[:64]!r} {what}")
    call_id = texts[1].strip() if len(texts) == 3 else ""
    return _call(name, _json(texts[-1], f"the arguments of {name[:64]!r}"), call_id or None)


def _call(name: object, arguments: Any, call_id: str | None) -> Call:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        shown = repr(name[:40]) if isinstance(name, str) else "what is no text"
        raise _MalformedError(f"a tool's name is 1 to 64 letters, digits, - and _, not {shown}")
    return Call(name, _well_formed(json.dumps(arguments, ensure_ascii=False)), call_id)


def _json(text: str, what: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value)  # so that it can be written again
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        where = "they break off" if at_end else f"{error.msg} at character {error.pos + 1}"
        raise _MalformedError(f"{what} are no JSON: {where}") from error
    except (ValueError, RecursionError) as error:
        raise _MalformedError(f"{what} are no JSON: {_reason(error)}") from error
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "they are nested too deeply"
    return "they hold NaN or Infinity" if str(error) == _CONSTANT else "a number has too many digits"


_CONSTANT = "constant"


def _no_constant(_: str) -> Any:
    raise ValueError(_CONSTANT)


def _well_formed(text: str) -> str:
    """The text with each lone surrogate, which JSON can spell but no file can hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
