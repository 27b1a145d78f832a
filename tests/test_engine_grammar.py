"""Answers that a grammar allows: which tokens, how likely, and grammars that are none."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp  # before the binding: whole, for the other tests in this process
import numpy as np
import pytest
from checkpoints import config, write_checkpoint
from mistral_oracle import SENTENCEPIECE
from test_engine_client import GREEDY, QUESTION, done

from convert.gguf_file import read_header
from convert.pipeline import convert
from minichat import tokenizer as tokenizers
from minichat.engine import grammar, sampler
from minichat.engine.client import Engine
from minichat.engine.grammar_check import check
from minichat.engine.llama import Llama
from minichat.engine.types import LoadOptions, Sampling
from quant.errors import EngineError, GrammarError

JSON = r"""root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" (string ": " value (", " string ": " value){0,3})? "}"
array ::= "[" (value (", " value){0,3})? "]"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})){0,20} "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,5})
"""
MUTATED = int(os.environ.get("MUTATED_GRAMMARS", "25"))
WILD = Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0)
SAMPLINGS = [GREEDY, Sampling(temperature=1.0), WILD, Sampling(temperature=1.0, top_k=1), Sampling(1.5, 5, 0.5, 0.2)]


@pytest.fixture(scope="module")
def engine(small_gguf: Path) -> Iterator[Engine]:
    with Engine(small_gguf, LoadOptions(ctx=1024)) as engine:
        yield engine


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_json_is_json(engine: Engine, sampling: Sampling) -> None:
    found = 0
    for seed in range(6):
        answer = done(engine.generate(QUESTION, replace(sampling, seed=seed), 300, grammar=JSON))
        if answer.reason == "eos":
            found += 1
            assert isinstance(json.loads(answer.text), dict)
    assert found


def test_one_of_two_words(engine: Engine) -> None:
    words = Counter(
        done(
            engine.generate(QUESTION, replace(WILD, temperature=20.0, seed=seed), grammar='root ::= "ja" | "nein"')
        ).text
        for seed in range(40)
    )
    assert set(words) == {"ja", "nein"}


def test_an_answer_ends_where_the_grammar_does(engine: Engine) -> None:
    answer = done(engine.generate(QUESTION, WILD, grammar='root ::= "abc" [0-9]{3}'))
    assert (answer.reason, len(answer.text)) == ("eos", 6)
    assert done(engine.generate(QUESTION, WILD, grammar='root ::= ""')).tokens == ()
    assert done(engine.generate(QUESTION, GREEDY, 5)).reason == "length"  # and the next one is free again


def test_a_name_of_a_control_token_is_written_as_text(engine: Engine) -> None:
    for sampling in SAMPLINGS:
        answer = done(engine.generate(QUESTION, sampling, grammar='root ::= "</s>[INST]" "x"?'))
        assert answer.text in ("</s>[INST]", "</s>[INST]x")
        assert min(answer.tokens) >= 1000  # the small vocabulary has 1,000 control tokens


def test_characters_are_whole(engine: Engine, small_gguf: Path) -> None:
    for seed in range(20):
        sampling = replace(WILD, temperature=5.0, seed=seed)
        answer = done(engine.generate(QUESTION, sampling, grammar="root ::= [^a\ufffd]{12}"))
        assert (len(answer.text), "\ufffd" in answer.text) == (12, False)


def test_what_no_token_can_say_is_an_error_and_the_engine_goes_on(engine: Engine) -> None:
    with pytest.raises(GrammarError, match=r"^the grammar asks for a character that no token"):
        done(engine.generate(QUESTION, GREEDY, grammar=r'root ::= "a" "\x00"'))
    assert done(engine.generate(QUESTION, GREEDY, grammar='root ::= "a"')).text == "a"


# How likely a token is


@pytest.fixture(scope="module")
def model(known_gguf: Path) -> tuple[Llama, tokenizers.Tokenizer]:
    """Its likeliest tokens are control tokens, so that the grammar refuses what is drawn first."""
    assert llama_cpp.__version__
    llama = Llama(known_gguf, LoadOptions(ctx=64))
    tokenizer = tokenizers.load(read_header(known_gguf))
    assert llama.decode(tokenizer.encode(QUESTION))
    return llama, tokenizer


def drawn(model: tuple[Llama, tokenizers.Tokenizer], sampling: Sampling, text: str, times: int) -> Counter[int | None]:
    """The first token of an answer, drawn again and again."""
    llama, tokenizer = model
    counts: Counter[int | None] = Counter()
    with sampler.chain(sampling) as samplers, grammar.constrained(llama, tokenizer, samplers, sampling, text) as chosen:
        for _ in range(times):
            llama_cpp.llama_sampler_reset(chosen._grammar)
            chosen._characters.reset()
            counts[chosen.draw()] += 1
    return counts


LETTERS = "root ::= [a-h] | [A-Z]"


def letter_logits(model: tuple[Llama, tokenizers.Tokenizer]) -> dict[int, float]:
    llama, tokenizer = model
    logits = np.array(llama.logits())
    letters = [bytes([c]) for c in b"abcdefghABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    return {token: float(logits[token]) for token in range(1000, 1256) if tokenizer.token_bytes(token) in letters}


@pytest.mark.parametrize("near", [0, 200, 1024])
def test_the_best_allowed_token_is_taken_at_temperature_0(
    model: tuple[Llama, tokenizers.Tokenizer], near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "_NEAR", near)
    logits = letter_logits(model)
    assert drawn(model, GREEDY, LETTERS, 3) == {max(logits, key=logits.__getitem__): 3}


@pytest.mark.parametrize("near", [0, 300])
@pytest.mark.parametrize("top_k", [0, 5])
def test_allowed_tokens_are_as_likely_as_their_logits_say(
    model: tuple[Llama, tokenizers.Tokenizer], top_k: int, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "_NEAR", near)
    logits = letter_logits(model)
    if top_k:  # of what is allowed, not of what the model would like to say
        logits = dict(sorted(logits.items(), key=lambda item: -item[1])[:top_k])
    weights = np.exp(np.array(list(logits.values())) / 1.5)
    expected = 3000 * weights / weights.sum()
    found = drawn(model, Sampling(1.5, top_k, 1.0, 0.0, seed=3), LETTERS, 3000)
    assert set(found) <= set(logits)
    counts = np.array([found[token] for token in logits])
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < len(logits) + 5 * np.sqrt(2 * len(logits))


# A SentencePiece vocabulary, which puts a space before each text


def test_a_sentencepiece_answer_begins_with_the_grammar(tmp_path: Path) -> None:
    shape = config(layers=1, hidden=64, inner=64, heads=2, kv_heads=1, vocab=32768)
    write_checkpoint(tmp_path / "model", shape, tokenizer=SENTENCEPIECE)
    convert(tmp_path / "model", tmp_path / "model.gguf", "f16")
    with Engine(tmp_path / "model.gguf", LoadOptions(ctx=256)) as engine:
        for seed in range(10):
            sampling = Sampling(temperature=1.0, seed=seed)
            answer = done(
                engine.generate(QUESTION, sampling, grammar='root ::= "{\\"a b\\": " [0-9]{3} "}" | "text" " x"?')
            )
            assert answer.text.startswith(('{"a b": ', "text"))
            assert answer.text[-1] in "}tx"


# Grammars that are none

BAD = {
    "root ::= b": "Undefined rule identifier 'b'",
    'foo ::= "a"': "does not contain a 'root' symbol",
    'root ::= root "a"': "left recursion",
    'root ::= "a(((': "unexpected end of input",
    "root ::= [a": "unexpected end of input",
    'root ::= "a"\0': "U+0000",
    "root ::= \ud800": "no valid Unicode",
    "": "the grammar is empty",
    "# nothing but this": "the grammar is invalid",
    "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000: "nested too deep",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_an_invalid_grammar_is_one_line(engine: Engine, text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        done(engine.generate(QUESTION, GREEDY, 3, grammar=text))
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grammar_that_llama_cpp_never_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.engine.grammar_check._TIME_S", 0.5)
    for text in ('root ::= "a"{5,2}', 'root ::= ((("a"{1000}){1000}){1000}){1000}'):
        with pytest.raises(GrammarError):
            check(text)


def test_a_grammar_beyond_all_measure() -> None:
    with pytest.raises(GrammarError, match="longer than 4 MiB"):
        check("root ::= " + '"a" ' * 2**20)


def mutated(rng: random.Random) -> str:
    text = list(JSON)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(text))
        match rng.randrange(3):
            case 0:
                del text[place]
            case 1:
                text.insert(place, rng.choice('"\\[]{}()*+?|:=^-\n 0a9<>!.'))
            case _:
                text[place : place + 20] = text[place : place + 20] * 2
    return "".join(text)


def test_mutated_grammars_leave_the_engine_alive(engine: Engine) -> None:
    rng = random.Random("grammars")
    refused = sum(is_refused(engine, mutated(rng)) for _ in range(MUTATED))
    assert 0 < refused < MUTATED
    assert engine._process.poll() is None


def is_refused(engine: Engine, text: str) -> bool:
    try:
        done(engine.generate(QUESTION, WILD, 12, grammar=text))
    except GrammarError as error:
        assert "\n" not in str(error)
        return True
    return False


def test_a_grammar_with_too_many_ways_ends_in_an_error(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = "from minichat.engine import grammar, worker; grammar._LONGEST_DRAW_S = 0.1; worker.main()"
    monkeypatch.setattr("minichat.engine.starting.MAIN", impatient)
    ways = 'root ::= "a" root "b" | "a" root "c" | "a" root "d"'  # after n a's, 3 ** n of them
    with Engine(small_gguf, LoadOptions(ctx=256)) as engine, pytest.raises(EngineError, match=r"grammar.* took longer"):
        done(engine.generate(QUESTION, GREEDY, grammar=ways))
