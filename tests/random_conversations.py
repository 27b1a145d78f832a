"""Conversations that are hard for a template, in OpenAI's shape, from a seeded generator.

Most are ones that some version can express; now and then anything goes. A conversation is a list of messages and a list
of tools, or None for no tools.
"""

from __future__ import annotations

import json
import random
from typing import Any

from random_text import random_text

Messages = list[dict[str, Any]]
Tools = list[dict[str, Any]]

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_NAMES = ("get_current_weather", "f", "now", "a-b_C9", "x" * 64, "INST")
_TEXTS = (
    *("", "", " ", "  \n ", "a", "b  ", " c", "d\n", "e \n ", "\n", "  f\t ", "Hello, world!", "INST", "[/INST]"),
    *("[REFERENCE_DOC_3] says", "see [REF]this[/REF] ", "[REFERENCE_DOC_19][REFERENCE_DOC_1]0", " " * 300, "\n" * 40),
)
_NUMBERS = (0, -1, 1.0, 1.5, -0.0, 1e5, 1e-7, 1e300, 2**63, 12345678901234567890123, True, None)


def content(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(_TEXTS)
    return random_text(rng, longest=4) + rng.choice(("", "", " ", "   ", "\n"))


def value(rng: random.Random, depth: int = 3) -> Any:
    """A JSON value."""
    choice = rng.random()
    if depth == 0 or choice < 0.35:
        return content(rng)
    if choice < 0.6:
        return rng.choice(_NUMBERS)
    if choice < 0.8:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {content(rng): value(rng, depth - 1) for _ in range(rng.randint(0, 3))}


def json_text(rng: random.Random) -> str:
    """A JSON text, spaced and escaped in one of many ways; now and then none."""
    choice = rng.random()
    if choice < 0.1:
        return rng.choice(
            ("", "{}", "null", "NaN", "-Infinity", '{"a": 1, "a": 2}', "1E5", "1E999", "{'a': 1}", "[1,]")
        )
    if choice < 0.2:
        return content(rng)
    whole = {content(rng): value(rng) for _ in range(rng.randint(0, 3))} if choice < 0.8 else value(rng)
    return json.dumps(
        whole,
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice((None, None, 1)),
        separators=rng.choice((None, (",", ":"), (" , ", " : "))),
    )


def tools(rng: random.Random) -> Tools | None:
    if rng.random() < 0.4:
        return None
    return [_tool(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]


def _tool(rng: random.Random) -> dict[str, Any]:
    parameters: dict[str, Any] = rng.choice(({}, {"type": "object"}, {"type": "object", "properties": {}}))
    if rng.random() < 0.6:
        properties = {
            content(rng): {"type": rng.choice(("string", "integer", ["number", "null"])), "description": content(rng)}
            for _ in range(rng.randint(0, 3))
        }
        parameters = {"type": "object", "properties": properties, "x-" + content(rng): value(rng)}
    function: dict[str, Any] = {"name": rng.choice(_NAMES), "parameters": parameters}
    if rng.random() < 0.7:
        function["description"] = content(rng)
    if rng.random() < 0.3:
        function = dict(sorted(function.items(), key=lambda _: rng.random()))
    if rng.random() < 0.2:
        function["strict"] = rng.random() < 0.5
    return {"type": "function", "function": function} if rng.random() < 0.8 else {"function": function}


def chunks(rng: random.Random, role: str) -> Messages:
    """Parts of a content: texts, some empty, at least one not, and what else a message of this role may have."""
    parts: Messages = [{"type": "text", "text": content(rng)} for _ in range(rng.randint(0, 3))]
    parts.insert(rng.randint(0, len(parts)), {"type": "text", "text": content(rng) or "x"})
    if role == "user" and rng.random() < 0.4:
        url = "data:" + content(rng)
        image: dict[str, Any] = {"type": "image_url", "image_url": rng.choice((url, {"url": url, "detail": "low"}))}
        parts.insert(rng.choice((len(parts), rng.randint(0, len(parts)))), image)
    if role in ("assistant", "system") and rng.random() < 0.4:
        thinking: dict[str, Any] = {"type": "thinking", "thinking": content(rng)}
        if rng.random() < 0.3:
            thinking["closed"] = rng.random() < 0.5
        parts.insert(rng.choice((0, rng.randint(0, len(parts)))), thinking)
    return parts


def conversation(rng: random.Random, version: str) -> tuple[Messages, Tools | None]:
    """One that this version can probably express."""
    messages: Messages = [_said(rng, "system", version) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    rich = version != "v1"
    for _ in range(rng.randint(0, 4)):
        messages += [_said(rng, "user", version) for _ in range(rng.choice((1, 1, 1, 2)))]
        if rng.random() < 0.1:
            messages.append(_said(rng, "system", version))
        if rich and rng.random() < 0.5:
            messages += _called(rng, version)
        messages += [_said(rng, "assistant", version) for _ in range(rng.choice((0, 1, 1, 2)))]
        if messages[-1]["role"] == "tool" and rng.random() < 0.5:
            messages.append(_said(rng, "assistant", version))
    choice = rng.random()
    if choice < 0.5 or not messages or (messages[-1]["role"] == "assistant" and choice < 0.7):
        messages.append(_said(rng, "user", version))
        if rng.random() < 0.1:
            messages.append(_said(rng, "system", version))
    elif choice < 0.7 and rich:
        messages += [_said(rng, "user", version), *_called(rng, version)]
    if messages[-1]["role"] == "assistant":
        messages[-1]["prefix"] = True
    return messages, tools(rng) if rich else None


def _said(rng: random.Random, role: str, version: str) -> dict[str, Any]:
    said: Any = chunks(rng, role) if rng.random() < 0.25 else content(rng)
    if isinstance(said, list):
        spoken = {"text"} | ({"image_url"} if version not in ("v1", "v2", "v3") else set())
        spoken |= {"thinking"} if version == "v13" else set()
        said = [part for part in said if part["type"] in spoken or rng.random() < 0.02]
    elif role == "assistant" and not said and (version not in ("v7", "v7-tekken", "v11", "v13") or rng.random() < 0.5):
        said = "answer "
    return {"role": role, "content": said}


def call_id(rng: random.Random, version: str) -> str:
    if version == "v13" and rng.random() < 0.3:
        return content(rng) or "0"
    return "".join(rng.choices(_ID_LETTERS, k=9))


def _called(rng: random.Random, version: str) -> Messages:
    """An answer with calls, and their results; the last ones may be missing where nothing comes after."""
    calls = []
    for _ in range(1 if version == "v2" else rng.choice((1, 1, 2, 3))):
        arguments: Any = json_text(rng)
        if rng.random() < 0.1:
            arguments = rng.choice((None, {content(rng): value(rng)}))
        calls.append({"id": call_id(rng, version), "function": {"name": rng.choice(_NAMES), "arguments": arguments}})
        if rng.random() < 0.5:
            calls[-1]["type"] = "function"
    answer: dict[str, Any] = {"role": "assistant", "tool_calls": calls}
    if version in ("v7", "v7-tekken", "v11", "v13") and rng.random() < 0.3:
        answer["content"] = _said(rng, "assistant", version)["content"]
    elif rng.random() < 0.3:
        answer["content"] = rng.choice((None, ""))
    results: Messages = []
    for call in rng.sample(calls, len(calls)) if rng.random() < 0.4 else calls:
        result: dict[str, Any] = {"role": "tool", "tool_call_id": call["id"]}
        result["content"] = json_text(rng) if rng.random() < 0.8 else chunks(rng, "tool")
        if rng.random() < 0.6:
            result["name"] = rng.choice(_NAMES)
        results.append(result)
    return [answer, *results]


def broken(rng: random.Random, version: str) -> tuple[Messages, Tools | None]:
    """A conversation with one to three things changed: many of them can be expressed by no version."""
    messages, offered = conversation(rng, version)
    messages = json.loads(json.dumps(messages))
    for _ in range(rng.randint(1, 3)):
        offered = _broken_once(rng, version, messages, offered)
    return messages, offered


def _broken_once(rng: random.Random, version: str, messages: Messages, offered: Tools | None) -> Tools | None:
    i = rng.randrange(len(messages)) if messages else 0
    change = rng.randrange(14)
    if change == 0 and messages:
        del messages[i]
    elif change == 1 and messages:
        messages.insert(i, json.loads(json.dumps(rng.choice(messages))))
    elif change == 2 and len(messages) > 1:
        j = rng.randrange(len(messages))
        messages[i], messages[j] = messages[j], messages[i]
    elif change == 3:
        messages.insert(i, _said(rng, rng.choice(("system", "user", "assistant")), version))
    elif change == 4:
        messages[i:i] = _called(rng, rng.choice(("v3", "v13", version)))
    elif change == 5:
        messages.insert(i, {"role": "tool", "content": "x", "tool_call_id": call_id(rng, version)})
    elif change == 6:
        for message in messages:
            if message["role"] == "tool" and rng.random() < 0.5:
                message["tool_call_id"] = rng.choice(
                    (None, "", "null", "12345678", "1234567890", "abc defgh", "A1b2C3d4E")
                )
    elif change == 7:
        for call in (call for message in messages for call in message.get("tool_calls") or []):
            if rng.random() < 0.5:
                call["id"] = rng.choice(("", "null", "12345678", "1234567890", "abc-defgh", "A1b2C3d4E"))
    elif change == 8:
        for call in (call for message in messages for call in message.get("tool_calls") or []):
            call["function"]["name"] = rng.choice(("", "a b", "x" * 65, "é", "[INST]", "ok"))
    elif change == 9 and messages:
        messages[i]["content"] = rng.choice(("", "x", [{"type": "thinking", "thinking": "t"}]))
    elif change == 10 and messages and messages[i]["role"] == "assistant":
        messages[i]["prefix"] = rng.random() < 0.5
    elif change == 11 and messages and messages[i]["role"] == "assistant":
        messages[i]["tool_calls"] = rng.choice((None, [], [{"id": call_id(rng, "v3"), "function": {"name": "f"}}]))
    elif change == 12:
        schema = rng.choice(({"type": "objekt"}, {"required": "a"}, {"properties": []}, {"minimum": "1"}, {"enum": 3}))
        return [{"type": "function", "function": {"name": rng.choice(("f", "a b", "")), "parameters": schema}}]
    else:
        messages.insert(i, {"role": "user", "content": [{"type": "image_url", "image_url": "data:x"}]})
    return offered
