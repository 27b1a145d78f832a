"""The golden ids: equal to mistral-common's, and what `verify` finds with them in vocabularies that are damaged."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import make_golden
import pytest
from gguf_samples import METADATA
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_oracle import DATA, SENTENCEPIECES, TEKKEN, oracle, special_tokens, tekken_json
from program import fails, minichat

from convert import gguf_writer as w
from convert import sentencepiece_model, tekken
from convert.gguf_file import read_header
from convert.vocab import Vocabulary
from minichat import verification
from minichat.engine.client import Engine
from minichat.golden import TokenCheck, check_tokens, replay
from minichat.golden import vocabulary as vocabularies
from minichat.golden.vocabulary import difference, known, recognise, texts
from minichat.store import Store
from minichat.template import VERSIONS
from minichat.template.pieces import Piece
from minichat.terminal.progress import WorkProgress
from quant.errors import EngineError, GgufError

PUBLISHED = [path for path in sorted(DATA.iterdir()) if path.suffix != ".v7m1"]
V3 = SENTENCEPIECES["v3"]
# How many of the golden conversations each version can express; the others hold tools, calls with text, thinking.
EXPRESSED = {"v1": 5, "v2": 8, "v3": 8, "v3-tekken": 8, "v7": 9, "v7-tekken": 9, "v11": 9, "v13": 10}
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5


@cache
def vocabulary(path: Path) -> Vocabulary:
    """Without most of Tekken's merges: llama.cpp asks for some, and no id of ours comes from them."""
    told = (tekken if path.suffix == ".json" else sentencepiece_model).load(path)
    return replace(told, merges=told.merges[:1]) if told.merges else told


def keys(told: Vocabulary, template: str | None = None) -> dict[str, w.Value]:
    """A vocabulary as a GGUF has it. llama.cpp reads one without tensors."""
    merges = {} if told.merges is None else {"tokenizer.ggml.merges": w.strings(told.merges)}
    scores = {} if told.scores is None else {"tokenizer.ggml.scores": w.f32s(told.scores)}
    named = {} if template is None else {"minichat.template": w.string(template)}
    return {
        "general.architecture": w.string("llama"),
        "tokenizer.ggml.model": w.string(told.model),
        "tokenizer.ggml.pre": w.string(told.pre),
        "tokenizer.ggml.tokens": w.strings(told.tokens),
        "tokenizer.ggml.token_type": w.i32s(told.types),
        "tokenizer.ggml.bos_token_id": w.u32(told.bos),
        "tokenizer.ggml.eos_token_id": w.u32(told.eos),
        "tokenizer.ggml.unknown_token_id": w.u32(told.unknown),
        "tokenizer.ggml.add_space_prefix": w.boolean(told.space_prefix),
        **merges,
        **scores,
        **named,
    }


def metadata(told: Vocabulary) -> dict[str, Any]:
    return {key: value.value for key, value in keys(told).items()}


def file(folder: Path, told: Vocabulary, template: str | None = None) -> Path:
    path = folder / "vocabulary.gguf"
    path.write_bytes(w.lay_out(keys(told, template), []).header)
    return path


def checked(folder: Path, told: Vocabulary, template: str | None = None) -> TokenCheck:
    path = file(folder, told, template)
    return check_tokens(path, read_header(path))


def changed(values: Sequence[Any], changes: dict[int, Any]) -> list[Any]:
    return [changes.get(n, value) for n, value in enumerate(values)]


def swapped(values: Sequence[Any], a: int, b: int) -> list[Any]:
    return changed(values, {a: values[b], b: values[a]})


# The files


def test_the_golden_ids_are_mistral_common_s() -> None:
    documents = make_golden.documents()
    for name, content in documents.items():
        assert (make_golden.FOLDER / name).read_text(encoding="utf-8") == content, "run tests/make_golden.py again"
    assert {path.name for path in make_golden.FOLDER.glob("*.json")} == {*documents, "texts.json"}


def test_every_template_has_golden_conversations() -> None:
    assert {name for found in known() for name in found.conversations} == VERSIONS.keys()
    assert len(texts().strings) >= 60
    for found in known():
        assert len(found.strings) == len(texts().strings)
        assert all(len(ids) == len(texts().conversations) for ids in found.conversations.values())


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_all_published_vocabularies_are_known(path: Path) -> None:
    told = metadata(vocabulary(path))
    found = recognise(told)
    assert found is not None and difference(told, found) is None
    theirs = oracle("v3-tekken") if path == TEKKEN else MistralTokenizer.from_file(str(path))
    assert found.strings == [make_golden.ids_of(theirs, text) for text in texts().strings]


def test_examples() -> None:
    for module in (replay, vocabularies):
        assert doctest.testmod(module).failed == 0


# Sound files


@pytest.mark.parametrize(
    ("path", "template", "about"),
    [
        (TEKKEN, "v3-tekken", "Tekken"),
        (TEKKEN, "v7-tekken", "Tekken"),
        (SENTENCEPIECES["v1"], "v1", "SentencePiece of 32,000 tokens"),
        (SENTENCEPIECES["v2"], "v2", "SentencePiece of 32,768 tokens"),
        (V3, "v3", "SentencePiece of 32,768 tokens"),
        (SENTENCEPIECES["v7"], "v7", "SentencePiece of 32,768 tokens"),
        (make_golden.DEMO, "v3-tekken", "the demo model"),
        (make_golden.DEMO, "v7-tekken", "the demo model"),
    ],
)
def test_sound_vocabularies(tmp_path: Path, path: Path, template: str, about: str) -> None:
    found = checked(tmp_path, vocabulary(path), template)
    assert found == TokenCheck("golden", about, len(texts().strings), EXPRESSED[template])


@pytest.mark.parametrize("version", ["v11", "v13"])
def test_vocabularies_that_list_their_control_tokens(tmp_path: Path, version: str) -> None:
    content = tekken_json()
    listed = {**content, "special_tokens": special_tokens(), "config": {**content["config"], "version": version}}
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(listed), encoding="utf-8")
    found = checked(tmp_path, vocabulary(path), version)
    assert found == TokenCheck("golden", "Tekken", len(texts().strings), EXPRESSED[version])


def test_without_a_template_strings_are_checked_only(tmp_path: Path) -> None:
    for template in (None, "v3-tekken"):  # the latter is none of this vocabulary
        found = checked(tmp_path, vocabulary(V3), template)
        assert found == TokenCheck("golden", "SentencePiece of 32,768 tokens", len(texts().strings))


def test_the_template_that_was_recorded_elsewhere(tmp_path: Path) -> None:
    path = file(tmp_path, vocabulary(V3))
    assert check_tokens(path, read_header(path), "v3").conversations == EXPRESSED["v3"]


def test_padding_and_other_names_of_control_tokens_change_nothing(tmp_path: Path) -> None:
    told = vocabulary(V3)
    names = changed(told.tokens, {20: "<|im_start|>", 21: "<|im_end|>"})
    assert told.scores is not None
    padded = replace(
        told,
        tokens=[*names, "[PAD32768]", "<x>"],
        types=[*told.types, UNUSED, CONTROL],
        scores=[*told.scores, 0.0, 0.0],
    )
    assert checked(tmp_path, padded, "v3").kind == "golden"
    assert checked(tmp_path, padded, "v3").problem is None


# Vocabularies that are not known


def test_a_vocabulary_with_tokens_of_its_own(tmp_path: Path) -> None:
    told = vocabulary(V3)
    assert told.scores is not None
    grown = replace(told, tokens=[*told.tokens, "▁minichat"], types=[*told.types, 1], scores=[*told.scores, -5.0])
    found = checked(tmp_path, grown, "v3")
    assert (found.kind, found.about) == ("round trip", "32769 tokens that are not known")
    assert (found.problem, found.conversations) == (None, EXPRESSED["v3"])


def test_a_trained_model_with_a_vocabulary_of_its_own(small_gguf: Path) -> None:
    done = minichat("verify", small_gguf, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (facts,) = json.loads(done.stdout)
    about = {"kind": "round trip", "about": "1280 tokens that are not known", "problem": None}
    assert facts["tokens"] == {**about, "strings": len(texts().strings), "conversations": EXPRESSED["v7-tekken"]}
    assert minichat("verify", small_gguf).stdout.splitlines()[1].split()[3:5] == ["round", "trip"]


def test_bytes_that_decode_to_their_names(tmp_path: Path) -> None:
    told = vocabulary(V3)
    keep = [n for n in range(32768) if n < 9000 or len(told.tokens[n]) == 1]
    tokens, types = [told.tokens[n] for n in keep], [told.types[n] for n in keep]
    scores = [(told.scores or [])[n] for n in keep]
    cut = replace(told, tokens=tokens, types=types, scores=scores)
    assert checked(tmp_path, cut, "v3").problem is None
    # Its 256th token of the type byte is now another newline, so that it could express every text.
    newline = tokens.index("<0x0A>")
    wrong = replace(cut, tokens=[*tokens, "<0x0A> "], types=[*changed(types, {newline: 1}), 6], scores=[*scores, 0.0])
    with pytest.raises(GgufError, match="no name of a byte"):
        checked(tmp_path, wrong)
    assert checked(tmp_path, replace(cut, types=changed(types, {newline: 1}))).kind == "not checked"


class WrongEngine(Engine):
    """An engine whose ids `spoil` changes."""

    spoil: Callable[[list[int]], list[int]]

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        ids, spans = super().tokenize(pieces)
        return type(self).spoil(ids), spans


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda ids: ids[:-1], "the ids of 'Hello, world!' decode to another text"),
        (lambda ids: [*ids[:2], 3, *ids[2:]], "of 'Hello, world!' one id is 3, a control token"),
        (
            lambda ids: [i for i in ids if i != 4],
            "of conversation 1 in v7-tekken id number 3 should be 4 and is missing",
        ),
    ],
)
def test_a_round_trip_that_fails(
    small_gguf: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[list[int]], list[int]], says: str
) -> None:
    monkeypatch.setattr(WrongEngine, "spoil", staticmethod(spoil), raising=False)
    monkeypatch.setattr(replay, "Engine", WrongEngine)
    (verdict,) = verification.verify(str(small_gguf), Store.default(), WorkProgress)
    assert verdict.problem == says


# Damage


def test_two_tekken_tokens_that_changed_places(tmp_path: Path) -> None:
    told = vocabulary(TEKKEN)
    world = told.tokens.index("Ġworld")
    path = file(tmp_path, replace(told, tokens=swapped(told.tokens, world, world + 1)), "v7-tekken")
    fails_with = f"of 'Hello, world!' id number 3 is {world + 1} and should be {world}; one of the tokens 4"
    done = minichat("verify", path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"minichat: vocabulary.gguf is damaged: {fails_with}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.splitlines()[1].split()[-2:] == ["wrong", "damaged"]


def test_a_token_that_no_golden_string_has(tmp_path: Path) -> None:
    told = vocabulary(TEKKEN)
    (golden,) = (found for found in known() if found.name == "Tekken")
    used = {i for ids in golden.strings for i in ids}
    place = next(i for i in range(100_000, 131_000) if not {i, i + 1} & used)
    found = checked(tmp_path, replace(told, tokens=swapped(told.tokens, place, place + 1)))
    first = place - (place - 1000) % 256
    assert found.problem == f"one of the tokens {first} to {first + 255} is not that of Tekken"


def test_a_control_token_under_another_id(tmp_path: Path) -> None:
    told = vocabulary(TEKKEN)
    found = checked(tmp_path, replace(told, tokens=swapped(told.tokens, 4, 5)), "v3-tekken")
    assert found.problem == "of conversation 1 in v3-tekken id number 10 is 5 and should be 4"


def test_damage_that_the_tokenizer_refuses(tmp_path: Path) -> None:
    told = vocabulary(TEKKEN)
    twice = checked(tmp_path, replace(told, tokens=changed(told.tokens, {131_071: told.tokens[5000]})))
    assert twice.problem == "one of the tokens 131048 to 131071 is not that of Tekken"
    path = file(tmp_path, replace(told, types=changed(told.types, {5000: CONTROL})))
    (verdict,) = verification.verify(str(path), Store.default(), WorkProgress)
    says = "the file's vocabulary is damaged: a control token stands among Tekken's ordinary ones"
    assert (verdict.problem, verdict.advice) == (says, "fetch it or convert it again")


def test_damage_of_a_sentencepiece_vocabulary(tmp_path: Path) -> None:
    told = vocabulary(V3)
    scores = told.scores or []
    the, he = told.tokens.index("▁the"), told.tokens.index("he")
    for damaged, says in [
        (replace(told, tokens=swapped(told.tokens, the, he)), "of 'The quick brown fox jump'… id number"),
        (replace(told, scores=swapped(scores, 20_000, 20_001)), "the score of token 20001 is not below that of"),
        (replace(told, scores=changed(scores, {1027: 0.0})), "the score of token 1027 is not below that of"),
        (replace(told, scores=[-1000.0] * len(scores)), "of 'The quick brown fox jump'… id number 4 is"),
        (
            replace(told, types=changed(told.types, {20_000: CONTROL})),
            "token 20000 is of the type 3 and should be of 1",
        ),
        (
            replace(told, types=changed(told.types, {3: USER_DEFINED})),
            "of 'What does [INST] do? [/I'… id number 3 is 29473 and should be 1501",
        ),
    ]:
        problem = checked(tmp_path, damaged).problem
        assert problem is not None and says in problem, (problem, says)


def test_scores_that_are_none() -> None:
    told = metadata(vocabulary(V3))
    found = recognise(told)
    assert found is not None
    for scores in (None, [], [0] * 32768, 7):
        assert difference({**told, "tokenizer.ggml.scores": scores}, found) == "its tokens have no scores"


# What cannot be checked


@pytest.mark.parametrize(
    ("model", "pre", "about"),
    [
        ("gpt2", "llama-bpe", "its vocabulary is of another family: 'gpt2' with 'llama-bpe'"),
        ("bert", "x" * 99, "its vocabulary is of another family: 'bert' with '" + "x" * 39),
        ("llama", "default", "its vocabulary cannot express every text"),
    ],
)
def test_vocabularies_of_other_families(tmp_path: Path, model: str, pre: str, about: str) -> None:
    told = Vocabulary(model, ["<s>", "a", "b"], [3, 1, 1], 0, 0, 0, None, None, pre)
    path = file(tmp_path, told, "v3")
    done = minichat("verify", path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (facts,) = json.loads(done.stdout)
    assert facts["tokens"] == asdict(TokenCheck("not checked", about))


def test_a_file_without_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(w.lay_out({"general.architecture": METADATA["general.architecture"]}, []).header)
    assert check_tokens(path, read_header(path)) == TokenCheck("not checked", "the file has no vocabulary")
    assert "not checked  sound header" in minichat("verify", path).stdout


def test_what_llama_cpp_does_not_take(tmp_path: Path) -> None:
    unknown = {**keys(vocabulary(make_golden.DEMO)), "general.architecture": w.string("mistral9")}
    path = tmp_path / "new.gguf"
    path.write_bytes(w.lay_out(unknown, []).header)
    done = minichat("verify", path)
    assert done.returncode == 3 and "unknown model architecture: 'mistral9'" in done.stderr
    header = read_header(path)
    verdict = verification.Verdict("new", path, 0, hash_checked=True)
    whole = verification._with_tokens(verdict, header, None)
    assert whole.problem is None and whole.tokens is not None and "mistral9" in whole.tokens.about


def test_an_engine_that_dies(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise EngineError("the engine died: SIGABRT")

    monkeypatch.setattr(replay, "Engine", dies)
    (verdict,) = verification.verify(str(small_gguf), Store.default(), WorkProgress)
    assert verdict.problem == "its vocabulary cannot be loaded: the engine died: SIGABRT"
    assert "doctor" in verdict.advice


def test_the_demo_as_it_ships() -> None:
    done = minichat("convert", make_golden.DEMO.parent, "-q", "q8_0", "--name", "mine")
    assert done.returncode == 0, done.stderr
    done = minichat("verify", "mine")
    assert done.stdout.splitlines()[1].split()[-2:] == ["golden", "whole"]
    fails(3, "no such file", "verify", "./absent.gguf")
