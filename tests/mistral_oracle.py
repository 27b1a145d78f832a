"""mistral-common as the oracle, and its vocabularies as a GGUF's header would hold them.

The metadata is built from mistral-common's own files, with GPT-2's byte-to-character table derived here once more, so
that nothing of minichat decides what is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import mistral_common
import numpy as np
from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct.chunk import ImageChunk, ImageURLChunk
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers import image
from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder, ImageEncoding, SpecialImageIDs
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from PIL import Image
from sentencepiece import SentencePieceProcessor

DATA = Path(mistral_common.__file__).parent / "data"
TEKKEN = DATA / "tekken_240911.json"
SENTENCEPIECE = DATA / "mistral_instruct_tokenizer_240323.model.v3"
# v7m1 is v7 that takes images.
SENTENCEPIECES = {
    "v1": DATA / "tokenizer.model.v1",
    "v2": DATA / "mistral_instruct_tokenizer_240216.model.v2",
    "v3": SENTENCEPIECE,
    "v7": DATA / "mistral_instruct_tokenizer_241114.model.v7m1",
}
TEKKENS = {"v3-tekken": "v3", "v7-tekken": "v7", "v11": "v11", "v13": "v13"}
MARKS = ("[IMG]", "[IMG_BREAK]", "[IMG_END]")  # of a picture
VERSIONS = ("v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11", "v13")
# What mistral-common raises for a request that it does not express; pydantic's errors are ValueErrors.
REFUSALS = (MistralCommonException, ValueError, AssertionError, NotImplementedError)


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


def special_tokens() -> list[dict[str, Any]]:
    """As the published vocabularies since V11 list them: four names more, at 32 to 35."""
    names: list[str] = [str(token["token_str"]) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
    names += [f"<SPECIAL_{i}>" for i in range(len(names), 32)] + ["[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"]
    return [{"rank": i, "token_str": name, "is_control": True} for i, name in enumerate(names)]


class Pictures(ImageEncoder):
    """mistral-common's encoder for pictures that nobody has: their size follows from what they are called."""

    def __call__(self, content: ImageChunk | ImageURLChunk) -> ImageEncoding:
        assert isinstance(content, ImageURLChunk)
        width, height = size_of_picture(content.get_url())
        return super().__call__(ImageChunk(image=Image.new("RGB", (width, height))))


def pictures_tokens(
    encoder: ImageEncoder, sizes: Iterable[tuple[int, int]]
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """For each picture of so many pixels its tokens, and the size that it is scaled to, without the work of it."""
    scaled: list[tuple[int, int]] = []

    def transform(picture: Any, size: tuple[int, int]) -> Any:
        scaled.append(size)
        return np.zeros(0)

    for size in sizes:
        with mock.patch.object(image, "transform_image", transform):
            tokens = encoder(ImageChunk(image=Image.new("1", size))).tokens
        yield tokens, scaled.pop()


def picture_encoder(limits: tuple[int, int, int], marks: Iterable[int]) -> ImageEncoder:
    """limits: a patch, and the longest side, in pixels; how many patches a side are merged. marks: as in MARKS."""
    return ImageEncoder(ImageConfig(*limits), SpecialImageIDs(*marks))


def size_of_picture(source: str) -> tuple[int, int]:
    """Pixels, of up to four patches each way."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return digest[0] % 112 + 1, digest[1] % 112 + 1


@cache
def oracle(version: str) -> MistralTokenizer:
    if version in SENTENCEPIECES:
        tokenizer: MistralTokenizer = MistralTokenizer.from_file(str(SENTENCEPIECES[version]))
    else:
        content = tekken_json()
        listed = {"special_tokens": special_tokens()} if version in ("v11", "v13") else {}
        config = {**content["config"], "version": TEKKENS[version]}
        tokenizer = tokenizer_from_json({**content, **listed, "config": config})
    instruct: Any = tokenizer.instruct_tokenizer
    if instruct.image_encoder is not None:
        marks = map(instruct.tokenizer.get_special_token, MARKS)
        instruct.image_encoder = Pictures(ImageConfig(14, 1540, 2), SpecialImageIDs(*marks))
    return tokenizer


def expected_ids(
    messages: list[dict[str, Any]], version: str, tools: list[dict[str, Any]] | None = None
) -> list[int] | None:
    """mistral-common's ids for messages and tools in OpenAI's shape; None if it refuses them."""
    try:
        request: ChatCompletionRequest[Any] = ChatCompletionRequest(messages=messages, tools=tools)
        tokens: list[int] = oracle(version).encode_chat_completion(request).tokens
    except REFUSALS:
        return None
    return tokens


@cache
def header(version: str) -> Header:
    if version in SENTENCEPIECES:
        return Header(sentencepiece_metadata(version))
    return Header(tekken_metadata(oracle(version)))


def byte_table() -> list[str]:
    """GPT-2's character for each byte: printable ones stand for themselves, the others follow from U+0100."""
    table, extra = [], 0x100
    for byte in range(256):
        shown = byte < 256 and unicodedata.category(chr(byte))[0] not in "CZ" and chr(byte) != " "
        table.append(chr(byte) if shown else chr(extra))
        extra += not shown
    return table


def tekken_metadata(tokenizer: MistralTokenizer, path: Path = TEKKEN) -> dict[str, Any]:
    """path: where its ordinary tokens are."""
    tekkenizer = tokenizer.instruct_tokenizer.tokenizer
    special, total = tekkenizer.num_special_tokens, tekkenizer.n_words
    table = byte_table()
    vocab = json.loads(path.read_text(encoding="utf-8"))["vocab"] if path != TEKKEN else tekken_json()["vocab"]
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
def sentencepiece(version: str = "v3") -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(SENTENCEPIECES[version]))


@cache
def user_defined(version: str) -> frozenset[int]:
    """The ids of symbols that SentencePiece finds in any text, such as [REFERENCE_DOC_0]."""
    model = sentencepiece(version)
    named = (i for i in range(model.vocab_size()) if re.fullmatch(r"\[/?REF.*\]", model.id_to_piece(i)))
    return frozenset(i for i in named if model.encode(model.id_to_piece(i))[1:] == [i])


def sentencepiece_metadata(version: str = "v3") -> dict[str, Any]:
    model, symbols = sentencepiece(version), user_defined(version)
    ids = range(model.vocab_size())
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in ids]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": [4 if i in symbols else kind for i, kind in zip(ids, kinds, strict=True)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": True,
    }
