"""Strings and conversations, tokenized by the engine with a file's own vocabulary, against what should come of them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minichat import tokenizer as tokenizers
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions
from minichat.golden.vocabulary import BYTE, N_BYTES, Golden, difference, recognise, texts
from minichat.template import VERSIONS, render
from minichat.template.messages import parse_messages
from minichat.template.pieces import Control, Piece, Text
from minichat.template.tools import parse_tools
from quant.errors import EngineError, GgufError, TemplateError

if TYPE_CHECKING:
    from minichat.tokenizer import Header, Tokenizer

_EXCERPT = 24  # characters
_MAX_NAMES = 64  # of a vocabulary's own control tokens that are tried as content
_MAX_NAME = 100  # characters


@dataclass(frozen=True)
class TokenCheck:
    """What was found out about a file's vocabulary.

    about: which vocabulary it is; for "not checked", why. strings, conversations: how many were to be tokenized.
    problem: the first thing that is wrong, by its id; None if nothing is.
    """

    kind: Literal["golden", "round trip", "not checked"]
    about: str
    strings: int = 0
    conversations: int = 0
    problem: str | None = None


def check_tokens(path: Path, header: Header, template: str | None = None) -> TokenCheck:
    """Tokenizes with the vocabulary of the GGUF at `path`, whose header has been read; takes about half a second.

    template: what was recorded of a file that does not say itself which template it was trained on.
    Raises GgufError for a file that the tokenizer or llama.cpp does not take, EngineError if the engine died.
    """
    if (why := _unreadable(header)) is not None:
        return TokenCheck("not checked", why)
    tokenizer = tokenizers.load(header)
    golden = recognise(header.metadata)
    damage = None if golden is None else difference(header.metadata, golden)
    named = header.metadata.get("minichat.template", template)
    version = named if isinstance(named, str) and named in _templates(golden) else None
    try:
        with Engine(path, LoadOptions(vocab_only=True)) as engine:
            problem = next(_problems(engine, tokenizer, golden, version), None)
    except (EngineError, GgufError):
        if damage is None:
            raise
        problem = None
    return TokenCheck(
        "round trip" if golden is None else "golden",
        f"{tokenizer.n_vocab} tokens that are not known" if golden is None else golden.name,
        len(texts().strings),
        _expressible(golden, version),
        "; ".join(filter(None, (problem, damage))) or None,
    )


def _templates(golden: Golden | None) -> Container[str]:
    """The templates whose conversations can be checked."""
    return VERSIONS if golden is None else VERSIONS.keys() & golden.conversations.keys()


def _unreadable(header: Header) -> str | None:
    """Why the vocabulary is none that minichat reads; None if it is."""
    model, pre = (header.metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    if model is None:
        return "the file has no vocabulary"
    if model == "llama":
        types = header.metadata.get("tokenizer.ggml.token_type")
        if isinstance(types, list) and types.count(BYTE) < N_BYTES:
            return "its vocabulary cannot express every text"
    elif (model, pre) != ("gpt2", "tekken"):
        return f"its vocabulary is of another family: {model!r:.40} with {pre!r:.40}"
    return None


def _problems(engine: Engine, tokenizer: Tokenizer, golden: Golden | None, version: str | None) -> Iterator[str]:
    strings, conversations = texts().strings, texts().conversations
    for n, text in enumerate(strings):
        ids, _ = engine.tokenize([Text(text)])
        if golden is not None and (told := _first_difference(ids, golden.strings[n])) is not None:
            yield f"of {_excerpt(text)} {told}"
        yield from _lost(tokenizer, text, ids)
    names = "".join([name for name in tokenizer.controls if len(name) <= _MAX_NAME][:_MAX_NAMES])
    yield from _lost(tokenizer, names, engine.tokenize([Text(names)])[0])
    for n, conversation in enumerate(conversations if version is not None else ()):
        expected = golden.conversations[version or ""][n] if golden is not None else None
        try:
            pieces = _rendered(conversation, version or "")
        except TemplateError as error:
            if expected is not None:
                yield f"of conversation {n + 1} in {version}: {error}"
            continue
        ids, _ = engine.tokenize(pieces)
        if expected is not None:
            told = _first_difference(ids, expected)
        else:
            told = _first_difference(_controls_in(ids, tokenizer), _controls_of(pieces, tokenizer))
        if told is not None:
            yield f"of conversation {n + 1} in {version} {told}"


def _expressible(golden: Golden | None, version: str | None) -> int:
    """How many of the conversations the version has a form for: V1 has no tools, only V13 thinks."""
    if version is None:
        return 0
    if golden is not None:
        return sum(ids is not None for ids in golden.conversations[version])
    count = 0
    for conversation in texts().conversations:
        with suppress(TemplateError):
            _rendered(conversation, version)
            count += 1
    return count


def _rendered(conversation: Mapping[str, Any], version: str) -> list[Piece]:
    tools = parse_tools(conversation["tools"], "the tools")
    return render(parse_messages(json.dumps(conversation["messages"])), version, tools)


def _lost(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> Iterator[str]:
    """Whether ids are those of a text at all: no control tokens, and together its bytes."""
    if found := _controls_in(ids, tokenizer):
        yield f"of {_excerpt(text)} one id is {found[0]}, a control token"
    decoded, raw = b"".join(map(tokenizer.token_bytes, ids)), text.encode()
    if isinstance(tokenizer, tokenizers.SentencePieceTokenizer):  # its ▁ is a space, and most put one before a text
        raw = text.replace("▁", " ").encode()
        decoded = decoded.removeprefix(b" ") if decoded != raw else decoded
    if decoded != raw:
        yield f"the ids of {_excerpt(text)} decode to another text"


def _controls_in(ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    controls = set(tokenizer.controls.values())
    return [token_id for token_id in ids if token_id in controls]


def _controls_of(pieces: Sequence[Piece], tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.controls[piece.name] for piece in pieces if isinstance(piece, Control)]


def _first_difference(found: Sequence[int], expected: Sequence[int]) -> str | None:
    """Where the ids differ, counted from 1.

    >>> _first_difference([7, 8], [7, 9, 3])
    'id number 2 is 8 and should be 9'
    """
    for n, (ours, theirs) in enumerate(zip(found, expected, strict=False), start=1):
        if ours != theirs:
            return f"id number {n} is {ours} and should be {theirs}"
    n = min(len(found), len(expected))
    if len(found) > n:
        return f"id number {n + 1} is {found[n]} and should not be there"
    return f"id number {n + 1} should be {expected[n]} and is missing" if len(expected) > n else None


def _excerpt(text: str) -> str:
    return ascii(text) if len(text) <= _EXCERPT else f"{text[:_EXCERPT]!a}…"
