"""SentencePiece's user-defined symbols, through llama.cpp, against SentencePiece itself."""

from __future__ import annotations

import random
from pathlib import Path

import llama_oracle
import pytest
from mistral_oracle import Header, sentencepiece, sentencepiece_metadata, user_defined
from random_text import symbols_text

from minichat import tokenizer
from minichat.template.pieces import Text

EXAMPLES = (
    *(
        "[REF]",
        "[REF]a",
        "a[REF]",
        "a[REF]b",
        "a [REF] b",
        " [REF]",
        "[REF] ",
        "[REF][/REF]",
        "[REF]\n[/REF]",
        "[[REF]]",
    ),
    *("[REFERENCE_DOC_1]0", "[REFERENCE_DOC_10]", "[REFERENCE_DOC_20]", "[REFERENCE_DOC_", "[REF", "\ue000[REF]\ue000"),
)


@pytest.mark.parametrize("version", ["v3", "v7"])
def test_texts_with_symbols(tmp_path: Path, version: str) -> None:
    metadata, theirs = sentencepiece_metadata(version), sentencepiece(version)
    assert len(user_defined(version)) == {"v3": 20, "v7": 22}[version]
    rng = random.Random(f"symbols {version}")
    with llama_oracle.vocabulary(llama_oracle.write_vocabulary(tmp_path / "v.gguf", metadata)) as vocab:
        ours = tokenizer.load(Header(metadata), lambda text: llama_oracle.tokenize(vocab, text))
        wrong = 0
        for text in [*EXAMPLES, *(symbols_text(rng) for _ in range(1_500))]:
            assert ours.encode([Text(text)]) == theirs.encode(text), repr(text)
            wrong += llama_oracle.tokenize(vocab, text) != theirs.encode(text)
        assert wrong > 100, "llama.cpp has become right: minichat.symbols may go"


def test_many_symbols_take_no_longer_than_their_number() -> None:
    calls = 0

    def encode(text: str) -> list[int]:
        nonlocal calls
        calls += 1
        return [0, *text.encode()]

    from minichat.symbols import Symbols

    symbols = Symbols({"[REF]": 7, "[/REF]": 8}, encode, "\ue000")
    assert symbols.encode("[REF]a[/REF]" * 10_000) == [0, *[7, 97, 8] * 10_000]
    assert calls == 10_001
    assert symbols.encode("plain") == [0, *b"plain"]
