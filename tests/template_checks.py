"""What minichat's templates make of conversations, beside what mistral-common makes of them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from mistral_oracle import (
    MARKS,
    SENTENCEPIECES,
    expected_ids,
    header,
    picture_encoder,
    pictures_tokens,
    sentencepiece,
    size_of_picture,
)
from random_text import hostile_text

from minichat import tokenizer
from minichat.pictures.size import Limits, grid
from minichat.template import render
from minichat.template.messages import parse_messages
from minichat.template.pieces import Image, Piece
from minichat.template.tools import parse_tools
from quant.errors import TemplateError

# What minichat refuses and mistral-common's laxest validation lets through: see minichat.template.rules.
STRICTER = re.compile(
    r"message \d+ \(tool\) (answers no call|has an id that none of the calls)|template v1 cannot express tools"
)


@cache
def vocabulary(version: str) -> tokenizer.Tokenizer:
    return tokenizer.load(header(version), sentencepiece(version).encode if version in SENTENCEPIECES else None)


def ours(
    messages: list[dict[str, Any]],
    version: str,
    tools: list[dict[str, Any]] | None = None,
    size: Callable[[str], tuple[int, int]] = size_of_picture,
) -> tuple[list[int] | None, str]:
    """Our ids for messages and tools in OpenAI's shape; None, and the one line that says why, if they are refused."""
    try:
        pieces = render(parse_messages(json.dumps(messages)), version, parse_tools(tools) if tools else ())
        return vocabulary(version).encode([looked_at(piece, size) for piece in pieces]), ""
    except TemplateError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
        return None, str(error)


def looked_at(piece: Piece, size: Callable[[str], tuple[int, int]]) -> Piece:
    """A picture with the size that it has by its name: that which the oracle takes it to have."""
    if not isinstance(piece, Image):
        return piece
    patches = grid(*size(piece.source))
    return replace(piece, columns=patches.columns, rows=patches.rows)


def difference(
    messages: list[dict[str, Any]], version: str, tools: list[dict[str, Any]] | None
) -> tuple[bool | None, str | None]:
    """Whether mistral-common expresses it, and what differs, if anything does.

    None for the first: minichat alone refuses it, as STRICTER tells.
    """
    expected = expected_ids(messages, version, tools)
    found, why = ours(messages, version, tools)
    if found == expected:
        return expected is not None, None
    if found is None and STRICTER.search(why):
        return None, None
    shown = json.dumps({"messages": messages, "tools": tools}, ensure_ascii=False)
    return expected is not None, f"{version}: {why or found} is not {expected} for {shown}"


def conversation_with(
    version: str, text: Callable[[str], str], bare_arguments: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A conversation that has a text of `text(place)` in every place that this version lets a text into.

    bare_arguments: a call's arguments are a text, not JSON.
    """
    call_id = text("call id") if version == "v13" else "D681PevKs"
    arguments = text("bare arguments") if bare_arguments else json.dumps({text("key"): text("argument")})
    call = {"id": call_id, "function": {"name": "f", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": call_id, "name": "f", "content": text("result")}
    answer: Any = text("answer")
    if version == "v13":
        answer = [{"type": "thinking", "thinking": text("thinking")}, {"type": "text", "text": answer}]
    question: Any = text("question")
    if version not in ("v1", "v2", "v3"):
        image = {"type": "image_url", "image_url": {"url": text("image")}}
        question = [{"type": "text", "text": question}, image, {"type": "text", "text": text("after the image")}]
    schema = {"type": "object", "properties": {text("property"): {"description": text("schema")}}}
    tool = {"function": {"name": "f", "description": text("description"), "parameters": schema}}
    messages = [
        {"role": "system", "content": text("system")},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": text("last question")},
    ]
    if version == "v1":
        return [*messages, {"role": "assistant", "content": text("prefix"), "prefix": True}], []
    called = {"role": "assistant", "content": text("text and call"), "tool_calls": [call]}
    if version in ("v2", "v3", "v3-tekken"):
        del called["content"]
    prefix = {"role": "assistant", "content": text("prefix"), "prefix": True}
    return [*messages, called, result, prefix], [tool]


def controls(version: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
    """The ids of the control tokens in our prompt for a conversation that can be expressed."""
    ids, why = ours(messages, version, tools, lambda _: (30, 60))
    assert ids is not None, f"{why}: {messages}"
    types = header(version).metadata["tokenizer.ggml.token_type"]
    return [i for i in ids if types[i] == 3]


def injected(version: str, count: int) -> str | None:
    """Of `count` conversations with hostile texts in every place, one that changes a control token, or None."""
    rng = random.Random(f"injection {version}")
    harmless = controls(version, *conversation_with(version, lambda _: "x"))
    for _ in range(count):
        case = conversation_with(version, lambda _: hostile_text(rng), bare_arguments=rng.random() < 0.3)
        if controls(version, *case) != harmless:
            return json.dumps(case)
    return None


def injected_names(version: str, count: int) -> str | None:
    """As `injected`, with hostile texts for a tool's name and for a call's id: refused, or as harmless as others."""
    rng = random.Random(f"names {version}")
    case = conversation_with(version, lambda _: "x")
    harmless, plain = controls(version, *case), json.dumps(case)
    for _ in range(count):
        hostile = json.dumps(hostile_text(rng))
        for before, after in (('"name": "f"', f'"name": {hostile}'), ('"D681PevKs"', hostile)):
            messages, tools = json.loads(plain.replace(before, after))
            ids, why = ours(messages, version, tools)
            refused = ids is None and ("name is 1 to 64" in why or "id is 9 letters" in why)
            if not refused and controls(version, messages, tools) != harmless:
                return json.dumps([messages, tools])
    return None


def sizes(count: int) -> list[tuple[int, int]]:
    """Width and height of pictures: the corners first, then random ones, of which small ones are as many as large."""
    corners = [(1, 1), (8000, 50), (50, 8000), (8000, 1), (1540, 1540), (1541, 1540), (28, 28), (29, 28), (3025, 3)]
    rng = random.Random("sizes")
    return corners + [(round(8000 ** rng.random()), round(8000 ** rng.random())) for _ in range(count - len(corners))]


def difference_of_sizes(
    ours: tokenizer.Tokenizer, limits: tuple[int, int, int], pictures: list[tuple[int, int]]
) -> str | None:
    """The first picture that has other tokens, or another size for the model, than mistral-common says; else None.

    limits: as `picture_encoder` takes them.
    """
    patch, longest, merge = limits
    encoder = picture_encoder(limits, (ours.controls[name] for name in MARKS))
    for size, (tokens, scaled) in zip(pictures, pictures_tokens(encoder, pictures), strict=True):
        patches = grid(*size, Limits(longest, patch * merge))
        image = Image("x", patches.columns, patches.rows)
        found = (patches.columns * patch * merge, patches.rows * patch * merge)
        if found != scaled or ours.encode([image]) != tokens or not image.tokens == patches.tokens == len(tokens):
            return f"{size}: {found} with {patches.tokens} tokens is not {scaled} with {len(tokens)}"
    return None
