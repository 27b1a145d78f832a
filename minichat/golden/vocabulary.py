"""Vocabularies whose ids are known, and whether the one in a GGUF's metadata is such a vocabulary, unchanged.

What is known stands in JSON files beside this module: `texts.json` holds strings and conversations, every other file
their ids in one vocabulary as mistral-common makes them. tests/make_golden.py writes those.

A vocabulary is known by its ordinary tokens alone: versions differ in their control tokens, and fine-tunes give those
other names. Its tokens are hashed in blocks. If most of the blocks are those of a known vocabulary it is that one, and
a block that differs is damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

_BLOCK = 256  # tokens
_HEX = 8  # letters of a block's hash that are kept
N_BYTES = 256  # the first ordinary tokens
_FOLDER = Path(__file__).parent
_TEXTS = "texts.json"

# tokenizer.ggml.token_type
NORMAL, USER_DEFINED, BYTE = 1, 4, 6


@dataclass(frozen=True)
class Texts:
    """strings: to be tokenized as they are. conversations: `messages` and `tools` in OpenAI's shape, for a template."""

    strings: list[str]
    conversations: list[dict[str, Any]]


@dataclass(frozen=True)
class Golden:
    """A known vocabulary, and the ids that it gives.

    model: tokenizer.ggml.model. first: the id of its first ordinary token; the 256 bytes come first. count: of its
    ordinary tokens. blocks: `fingerprint` of them. last_merged: SentencePiece's tokens of the lowest score; the scores
    of all others fall as their ids rise.
    strings: the ids of each of `Texts.strings`. conversations: those of `Texts.conversations`, by template;
    None for one that the template cannot express.
    """

    name: str
    model: str
    first: int
    count: int
    blocks: str
    last_merged: list[int]
    strings: list[list[int]]
    conversations: dict[str, list[list[int] | None]]

    @property
    def end(self) -> int:
        return self.first + self.count


@cache
def texts() -> Texts:
    return Texts(**_read(_FOLDER / _TEXTS))


@cache
def known() -> tuple[Golden, ...]:
    files = sorted(path for path in _FOLDER.glob("*.json") if path.name != _TEXTS)
    return tuple(Golden(**_read(path)) for path in files)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def fingerprint(tokens: Sequence[str]) -> str:
    """The beginnings of the blocks' hashes, one after the other.

    >>> fingerprint(["a"] * 256 + ["b"])
    '7f895133a8950f05'
    """
    blocks = (tokens[start : start + _BLOCK] for start in range(0, len(tokens), _BLOCK))
    return "".join(hashlib.sha256(json.dumps(block).encode()).hexdigest()[:_HEX] for block in blocks)


def recognise(metadata: Mapping[str, Any]) -> Golden | None:
    """The known vocabulary that is in a GGUF's metadata, changed or not; None for any other.

    A vocabulary with ordinary tokens of its own behind the known ones is another: they change how a text is split.
    The metadata is one that `minichat.tokenizer.load` accepts.
    """
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    for golden in known():
        if metadata["tokenizer.ggml.model"] != golden.model or len(tokens) < golden.end:
            continue
        if not {NORMAL, USER_DEFINED, BYTE}.isdisjoint(types[golden.end :]):
            continue
        ours = fingerprint(tokens[golden.first : golden.end])
        if 2 * len(_differing(ours, golden.blocks)) * _HEX < len(golden.blocks):
            return golden
    return None


def difference(metadata: Mapping[str, Any], golden: Golden) -> str | None:
    """What of a vocabulary that was recognised is not as it should be: the first such thing, by its id."""
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    if differing := _differing(fingerprint(tokens[golden.first : golden.end]), golden.blocks):
        start = golden.first + differing[0] * _BLOCK
        return f"one of the tokens {start} to {min(start + _BLOCK, golden.end) - 1} is not that of {golden.name}"
    is_bytes = NORMAL if golden.model == "gpt2" else BYTE
    for token_id in range(golden.first, golden.end):
        expected = is_bytes if token_id < golden.first + N_BYTES else NORMAL
        if types[token_id] != expected:
            return f"token {token_id} is of the type {types[token_id]} and should be of {expected}"
    return None if golden.model == "gpt2" else _misplaced_score(metadata.get("tokenizer.ggml.scores"), golden)


def _differing(ours: str, theirs: str) -> list[int]:
    """Numbers of the blocks that differ, of two fingerprints of the same length."""
    return [n // _HEX for n in range(0, len(theirs), _HEX) if ours[n : n + _HEX] != theirs[n : n + _HEX]]


def _misplaced_score(scores: Any, golden: Golden) -> str | None:
    """The order of the scores is the order of the merges; their values count for nothing else."""
    if not isinstance(scores, list) or len(scores) < golden.end or not all(isinstance(s, float) for s in scores):
        return "its tokens have no scores"
    falling = [n for n in range(golden.first + N_BYTES, golden.end) if n not in golden.last_merged]
    pairs = [*pairwise(falling), *((falling[-1], last) for last in golden.last_merged)]
    wrong = next((after for before, after in pairs if not scores[before] > scores[after]), None)
    return None if wrong is None else f"the score of token {wrong} is not below that of the token before it"
