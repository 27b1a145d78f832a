"""The tokenizer against mistral-common: every id, every byte."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import llama_oracle
import pytest
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_oracle import (
    DATA,
    SENTENCEPIECES,
    Header,
    header,
    oracle,
    sentencepiece,
    sentencepiece_metadata,
    tekken_json,
    tekken_metadata,
    tokenizer_from_json,
)
from random_text import CONTROL_NAMES, SENTENCES, random_text

from minichat import tekken
from minichat.other_tokenizer import OtherTokenizer
from minichat.template.pieces import Control, Text, Tokens
from minichat.tokenizer import Tokenizer, load
from quant.errors import GgufError, TemplateError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("v3", "v3-tekken")  # one SentencePiece vocabulary, one Tekken
VOCABULARIES = (*SENTENCEPIECES, "v3-tekken", "v13")  # without those that differ in no token


@cache
def tokenizer(version: str) -> Tokenizer:
    return load(header(version), sentencepiece(version).encode if version in SENTENCEPIECES else None)


def expected(version: str, text: str) -> list[int]:
    ids: list[int] = oracle(version).instruct_tokenizer.tokenizer.encode(text, bos=False, eos=False)
    return ids


def bare(kind: str = "v3-tekken", **changes: Any) -> Header:
    """A header with some keys changed, or gone if None."""
    metadata = {**header(kind).metadata, **{f"tokenizer.ggml.{key}": value for key, value in changes.items()}}
    return Header({key: value for key, value in metadata.items() if value is not None})


# Text -> ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_of_many_languages(kind: str, sentence: str) -> None:
    assert tokenizer(kind).encode([Text(sentence)]) == expected(kind, sentence)


@pytest.mark.parametrize(("kind", "count"), [("v3", 4_000), ("v3-tekken", 20_000)])
def test_random_strings(kind: str, count: int) -> None:
    rng = random.Random(f"strings {kind}")
    for _ in range(count):
        text = random_text(rng)
        assert tokenizer(kind).encode([Text(text)]) == expected(kind, text), repr(text)


def test_the_pattern_is_that_of_both_published_vocabularies() -> None:
    assert tekken_json()["config"]["pattern"] == tekken.PATTERN
    older = (DATA / "tekken_240718.json").read_text(encoding="utf-8")
    assert f'"pattern": {json.dumps(tekken.PATTERN)}' in older


def test_a_trimmed_vocabulary_with_few_control_tokens() -> None:
    content = tekken_json()
    sizes = {"default_vocab_size": 4096, "default_num_special_tokens": 64, "version": "v7"}
    trimmed = tokenizer_from_json({**content, "config": {**content["config"], **sizes}})
    ours = load(Header(tekken_metadata(trimmed)))
    assert (ours.n_vocab, ours.controls["[SYSTEM_PROMPT]"], ours.controls["<SPECIAL_63>"]) == (4096, 17, 63)
    rng = random.Random("trimmed")
    for text in [*SENTENCES, *(random_text(rng) for _ in range(1_000))]:
        ids = trimmed.instruct_tokenizer.tokenizer.encode(text, bos=False, eos=False)
        assert ours.encode([Text(text)]) == ids, repr(text)
        assert max(ids, default=0) < 4096


def test_texts_are_tokenized_apart_and_empty_ones_are_nothing() -> None:
    for kind in KINDS:
        ours = tokenizer(kind)
        assert ours.encode([]) == ours.encode([Text("")]) == []
        assert ours.encode([Text("Hel"), Text(""), Text("lo")]) == expected(kind, "Hel") + expected(kind, "lo")
        assert ours.encode([Control("[INST]"), Tokens((5000, 3)), Control("</s>")]) == [3, 5000, 3, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ufeff\ud800", "\ufeff\ufffd"),
    ],
)
def test_surrogates_are_repaired(kind: str, broken: str, whole: str) -> None:
    assert tokenizer(kind).encode([Text(broken)]) == expected(kind, whole)
    if kind == "v3-tekken":  # mistral-common has no answer for SentencePiece
        assert expected(kind, broken) == expected(kind, whole)


# Long runs


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_space_runs_are_cut_to_the_same_ids(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekken, "LONGEST_SPACE_RUN", longest)
    rng = random.Random(longest)
    characters = "     \t\u00a0\u2003\u3000\u0085\u2028\x0b\x1c\x1f\u200b\n\r/!a\u0301A1я你"
    for _ in range(4_000):
        text = "".join(rng.choice(characters) * rng.choice((1, 1, 2, 3, 9)) for _ in range(rng.randint(0, 12)))
        assert tokenizer("v3-tekken").encode([Text(text)]) == expected("v3-tekken", text), repr(text)


@pytest.mark.parametrize(
    "text",
    [" " * 300_000, " " * 300_000 + "a", "a \n" + "\t \u3000" * 100_000 + "!", "\n" * 300_000],
    ids=["end", "word", "mixed", "newlines"],
)
def test_long_space_runs_that_tiktoken_can_still_cut(text: str) -> None:
    assert tokenizer("v3-tekken").encode([Text(text)]) == expected("v3-tekken", text)


@pytest.mark.parametrize(
    "text",
    [" " * 1_200_000, "x" + "\u3000\t" * 600_000 + "y", "\n" + " " * 1_200_000 + "\nz  "],
    ids=["end", "mixed", "lines"],
)
def test_space_runs_that_overflow_tiktoken(text: str) -> None:
    ours = tokenizer("v3-tekken")
    ids = ours.encode([Text(text)])
    assert b"".join(map(ours.token_bytes, ids)) == text.encode()
    # The same run at a third of its length has the same tokens, over and over.
    assert set(ids) == set(ours.encode([Text(text.replace(" " * 800_000, "").replace("\u3000\t" * 400_000, ""))]))


def test_a_text_that_tiktoken_cannot_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekken, "LONGEST_SPACE_RUN", 10**7)
    with pytest.raises(TemplateError, match="a text of 1200000 characters cannot be tokenized"):
        tokenizer("v3-tekken").encode([Text(" " * 1_200_000)])


@pytest.mark.parametrize(
    "part", ["a", "A", "ab", "é", "\u0301", "क्", "你", "!", "-", "/", "1", "\r\n", " \n", "\0", "😀", "ab "]
)
def test_long_texts_of_any_kind_end(part: str) -> None:
    text = part * (300_000 // len(part))
    ours = tokenizer("v3-tekken")
    ids = ours.encode([Text(text)])
    assert b"".join(map(ours.token_bytes, ids)) == text.encode()


def test_space_runs_just_below_the_bound_are_found_in_linear_time() -> None:
    text = (" " * tekken.LONGEST_SPACE_RUN + "a") * 200
    assert tekken.cut_space_runs(text, tekken.LONGEST_SPACE_RUN) == [(text, False)]


# Control tokens


@pytest.mark.parametrize("version", VOCABULARIES)
def test_names_of_control_tokens_in_a_text_are_text(version: str) -> None:
    ours = tokenizer(version)
    special = oracle(version).instruct_tokenizer.tokenizer.special_ids
    assert len(special) > 700 or (version == "v1" and special == {1, 2})
    rng = random.Random("names")
    for _ in range(500):
        text = "".join(rng.choice((*CONTROL_NAMES, " ", "\n", "hi")) for _ in range(rng.randint(1, 6)))
        assert special.isdisjoint(ours.encode([Text(text)])), repr(text)


@pytest.mark.parametrize("version", VOCABULARIES)
def test_control_tokens_and_sizes(version: str) -> None:
    ours, theirs = tokenizer(version), oracle(version).instruct_tokenizer.tokenizer
    assert (ours.bos, ours.eos, ours.n_vocab) == (theirs.bos_id, theirs.eos_id, theirs.n_words)
    assert set(ours.controls.values()) | {0} == theirs.special_ids | {0}
    assert all(theirs.get_special_token(name) == i for name, i in ours.controls.items())
    name = "</s>" if version == "v1" else "[INST]"
    assert ours.token_bytes(ours.controls[name]) == b""
    assert ours.text([ours.controls[name]]) == name


# Ids -> text


def test_bytes_of_every_tekken_token() -> None:
    ours, theirs = tokenizer("v3-tekken"), oracle("v3-tekken").instruct_tokenizer.tokenizer
    assert [ours.token_bytes(i) for i in range(ours.n_vocab)] == [
        theirs.id_to_byte_piece(i) for i in range(ours.n_vocab)
    ]
    for i in [*range(0, ours.n_vocab, 97), 1001, 1200]:
        assert ours.text([i]) == theirs.id_to_piece(i)


def test_every_sentencepiece_token() -> None:
    ours, theirs = tokenizer("v3"), oracle("v3").instruct_tokenizer.tokenizer
    letter = ours.encode([Text("a")])[0]
    for i in range(ours.n_vocab):
        assert ours.text([i]) == theirs.id_to_piece(i)
        assert ours.decode([i]) == theirs.decode([i])
        assert ours.token_bytes(i).decode("utf-8", "replace") == theirs.decode([letter, i])[1:]


@pytest.mark.parametrize("version", VOCABULARIES)
def test_text_of_ids_equals_mistral_commons(version: str) -> None:
    ours, theirs = tokenizer(version), oracle(version)
    rng = random.Random("ids")
    for _ in range(1_000):
        ids = [rng.randrange(rng.choice((20, 1300, ours.n_vocab))) for _ in range(rng.randint(0, 12))]
        assert ours.text(ids) == theirs.decode(ids, special_token_policy=SpecialTokenPolicy.KEEP)


@pytest.mark.parametrize("version", VOCABULARIES)
def test_what_was_encoded_is_decoded(version: str) -> None:
    ours = tokenizer(version)
    rng = random.Random("round trip")
    for text in [*SENTENCES, *(random_text(rng) for _ in range(500))]:
        ids = ours.encode([Text(text)])
        assert ours.decode([*ids, ours.eos]) == oracle(version).decode(ids)
        if version not in SENTENCEPIECES:
            assert ours.decode(ids) == text


def test_an_answer_of_a_sentencepiece_model_begins_without_a_space() -> None:
    ours = tokenizer("v3")
    ids = ours.encode([Text("Hello there")])
    assert [ours.answer_bytes(token, first=i == 0) for i, token in enumerate(ids)] == [b"Hello", b" there"]
    assert [ours.token_bytes(token) for token in ids] == [b" Hello", b" there"]
    assert (
        tokenizer("v3-tekken").answer_bytes(tokenizer("v3-tekken").encode([Text(" Hello")])[0], first=True) == b" Hello"
    )


# What cannot be used


def test_vocabularies_of_other_kinds_are_left_to_llama_cpp() -> None:
    for changes in ({"model": "bert", "pre": None}, {"pre": "llama-bpe"}, {"pre": None}):
        other = load(bare(**changes), lambda text: [1000 + len(text)], lambda token: b"A" * (token % 2))
        assert isinstance(other, OtherTokenizer)
        assert other.encode([Text("abc")]) == [1003]
        assert other.token_bytes(1065) == b"A"
        with pytest.raises(GgufError, match="in the engine only"):
            load(bare(**changes)).encode([Text("abc")])
        with pytest.raises(GgufError, match="makes control tokens of ordinary text"):
            load(bare(**changes), lambda text: [len(text)]).encode([Text("abc")])
    for no_kind, message in ((None, "no vocabulary"), (7, "of the kind 7")):
        with pytest.raises(GgufError, match=message):
            load(bare(model=no_kind))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_vocabularies(kind: str) -> None:
    tokens, types = header(kind).metadata["tokenizer.ggml.tokens"], header(kind).metadata["tokenizer.ggml.token_type"]
    changes: list[dict[str, Any]] = [
        {"tokens": None},
        {"tokens": []},
        {"tokens": [*tokens[:-1], 7]},
        {"tokens": tokens[:-1]},
        {"token_type": None},
        {"token_type": 3},
        {"bos_token_id": len(tokens)},
        {"eos_token_id": "2"},
    ]
    if kind == "v3":
        changes.append({"tokens": ["<0x1G>" if token == "<0x0A>" else token for token in tokens]})
    else:
        changes.append({"tokens": [*tokens[:-1], "a b"]})
        changes.append({"tokens": [*tokens[:1000], tokens[1001], tokens[1000], *tokens[1002:]]})
        changes.append({"token_type": [*types[:5000], 3, *types[5001:]]})
        changes.append({"token_type": [3] * len(types)})
    for change in changes:
        with pytest.raises(GgufError) as caught:
            load(bare(kind, **change))
        assert "\n" not in str(caught.value)


def test_a_token_that_is_there_twice_is_refused_when_text_is_encoded() -> None:
    tokens = header("v3-tekken").metadata["tokenizer.ggml.tokens"]
    with pytest.raises(GgufError, match="twice"):
        load(bare(tokens=[*tokens[:-1], tokens[1300]])).encode([Text("a")])


def test_padding_after_the_ordinary_tokens_is_left_alone() -> None:
    metadata = header("v3-tekken").metadata
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    ours = load(bare(tokens=[*tokens, "[PAD131072]"], token_type=[*types, 5]))
    assert ours.encode([Text("Hello [PAD131072]")]) == expected("v3-tekken", "Hello [PAD131072]")
    assert (ours.token_bytes(131072), ours.text([131072]), ours.n_vocab) == (b"", "[PAD131072]", 131073)


def test_ids_and_control_tokens_that_are_not_there() -> None:
    for kind in KINDS:
        ours = tokenizer(kind)
        for token in (-1, ours.n_vocab, 10**12):
            with pytest.raises(GgufError, match="not in the model's vocabulary"):
                ours.token_bytes(token)
            with pytest.raises(GgufError, match="not in the model's vocabulary"):
                ours.text([1, token])
            with pytest.raises(GgufError, match="not in the model's vocabulary"):
                ours.encode([Tokens((1, token))])
        with pytest.raises(GgufError, match=r"no control token \[THINK\]"):
            ours.encode([Control("[THINK]")])
    with pytest.raises(GgufError, match="in the engine"):
        load(header("v3")).encode([Text("a")])


def test_loading_imports_nothing_heavy() -> None:
    program = (
        "import sys, minichat.template, minichat.tokenizer as t\n"
        "heavy = {'numpy', 'llama_cpp', 'tiktoken', 'gguf', 'sentencepiece', 'rich'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# llama.cpp's own SentencePiece


@pytest.mark.parametrize("version", SENTENCEPIECES)
def test_llama_cpp_gives_the_ids_of_sentencepiece(tmp_path: Path, version: str) -> None:
    path = llama_oracle.write_vocabulary(tmp_path / "vocabulary.gguf", sentencepiece_metadata(version))
    rng = random.Random(f"llama.cpp {version}")
    with llama_oracle.vocabulary(path) as vocab:
        ours = load(header(version), lambda text: llama_oracle.tokenize(vocab, text))
        for text in [*SENTENCES, *(random_text(rng) for _ in range(1_000))]:
            assert ours.encode([Text(text)]) == expected(version, text), repr(text)
