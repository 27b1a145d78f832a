"""mistral-common as the oracle, and its vocabularies as a GGUF's header would hold them.

The metadata is built from mistral-common's own files, with GPT-2's byte-to-character table derived here once more, so
that nothing of minichat decides what is right.
"""

from __future__ import annotations

import base64
import json
import tempfile
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from sentencepiece import SentencePieceProcessor

DATA = Path(mistral_common.__file__).parent / "data"
TEKKEN = DATA / "tekken_240911.json"
SENTENCEPIECE = DATA / "mistral_instruct_tokenizer_240323.model.v3"
VERSIONS = ("v3", "v3-tekken", "v7-tekken")


@dataclass
class Header:
    """The part of a GGUF's header that the tokenizer reads."""

    metadata: dict[str, Any]


@cache
def tekken_json() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(TEKKEN.read_text(encoding="utf-8"))
    return content


def tokenizer_from_json(content: dict[str, Any]) -> MistralTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tekken.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return MistralTokenizer.from_file(str(path))


@cache
def oracle(version: str) -> MistralTokenizer:
    if version == "v3":
        return MistralTokenizer.from_file(str(SENTENCEPIECE))
    if version == "v3-tekken":
        return MistralTokenizer.from_file(str(TEKKEN))
    content = tekken_json()
    return tokenizer_from_json({**content, "config": {**content["config"], "version": "v7"}})


@cache
def header(version: str) -> Header:
    return Header(sentencepiece_metadata() if version == "v3" else tekken_metadata(oracle(version)))


def byte_table() -> list[str]:
    """GPT-2's character for each byte: printable ones stand for themselves, the others follow from U+0100."""
    table, extra = [], 0x100
    for byte in range(256):
        shown = byte < 256 and unicodedata.category(chr(byte))[0] not in "CZ" and chr(byte) != " "
        table.append(chr(byte) if shown else chr(extra))
        extra += not shown
    return table


def tekken_metadata(tokenizer: MistralTokenizer) -> dict[str, Any]:
    tekkenizer = tokenizer.instruct_tokenizer.tokenizer
    special, total = tekkenizer.num_special_tokens, tekkenizer.n_words
    table = byte_table()
    vocab = tekken_json()["vocab"]
    names = [tekkenizer.id_to_piece(i) for i in range(special)]
    ordinary = ["".join(table[b] for b in base64.b64decode(token["token_bytes"])) for token in vocab[: total - special]]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "tekken",
        "tokenizer.ggml.tokens": names + ordinary,
        "tokenizer.ggml.token_type": [3] * special + [1] * len(ordinary),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


@cache
def sentencepiece() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(SENTENCEPIECE))


def sentencepiece_metadata() -> dict[str, Any]:
    model = sentencepiece()
    ids = range(model.vocab_size())
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in ids]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": True,
    }
