"""A checkpoint's tokenizer as a GGUF vocabulary.

`load_vocabulary` reads either of Mistral's two kinds, tekken.json (`convert.tekken`) or a SentencePiece model
(`convert.sentencepiece_model`), holds it against the size of the embedding, and fills up unused ids.
"""

from collections import Counter
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from quant.errors import CheckpointError


class TokenType(IntEnum):
    """GGUF's kinds of tokens; SentencePiece's numbers are the same."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """What the `tokenizer.ggml.*` keys say. `template`: the version of the instruct template, if the file tells it.

    model "gpt2" (Tekken): tokens are byte-to-unicode mapped, `merges` are pairs of tokens in order of rank.
    model "llama" (SentencePiece): `scores` rank the merges.
    """

    model: str
    tokens: list[str]
    types: list[int]
    bos: int
    eos: int
    unknown: int
    pad: int | None
    template: str | None
    pre: str = "default"
    merges: list[str] | None = None
    scores: list[float] | None = None
    space_prefix: bool = False


def load_vocabulary(path: Path, vocab_size: int) -> Vocabulary:
    """The vocabulary in tekken.json or in a SentencePiece model, filled up to the embedding's `vocab_size` rows.

    CheckpointError if the file is damaged, or has more tokens than the embedding has rows.
    """
    from convert import sentencepiece_model, tekken

    vocabulary = tekken.load(path) if path.suffix == ".json" else sentencepiece_model.load(path)
    n_tokens = len(vocabulary.tokens)
    if n_tokens > vocab_size:
        raise CheckpointError(f"{path} has {n_tokens} tokens, and the model (config.json: vocab_size) {vocab_size}")
    if len(set(vocabulary.tokens)) != n_tokens:  # llama.cpp aborts on such a file
        twice = Counter(vocabulary.tokens).most_common(1)[0][0]
        raise CheckpointError(f"{path} is damaged: the token {twice[:40]!r} stands in it twice")
    return _filled(vocabulary, vocab_size)


def _filled(vocabulary: Vocabulary, vocab_size: int) -> Vocabulary:
    first = len(vocabulary.tokens)
    missing = vocab_size - first
    if not missing:
        return vocabulary
    return replace(
        vocabulary,
        tokens=vocabulary.tokens + [f"[PAD{i}]" for i in range(first, vocab_size)],
        types=vocabulary.types + [int(TokenType.UNUSED)] * missing,
        scores=None if vocabulary.scores is None else vocabulary.scores + [-1000.0] * missing,
    )
