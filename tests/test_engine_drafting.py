"""Tokens that are decoded ahead, on models: the same answer as one by one, whatever was guessed and by whom."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import llama_cpp  # noqa: F401 (before the binding: whole, for the other tests in this process)
import passkey
import pytest
from program import fails, minichat

from convert.gguf_file import read_header
from convert.pipeline import convert
from minichat import tokenizer as tokenizers
from minichat.engine import drafting, generation, sampler
from minichat.engine.drafting import Draft, open_draft
from minichat.engine.grammar import constrained
from minichat.engine.llama import Llama
from minichat.engine.speculation import EXACT, Speculation
from minichat.engine.types import Done, LoadOptions, Sampling
from minichat.template.pieces import Control, Text
from minichat.tokenizer import Tokenizer
from quant.errors import GgufError

OPTIONS = LoadOptions(ctx=2048, threads=1, device="cpu")
GREEDY = Sampling(0.0, 40, 0.95, 0.05, 1)
DRAWN = Sampling(1.0, 40, 0.95, 0.05, 7)
JSON = r'root ::= "{" ("\"" [a-z]{1,8} "\": " [0-9]{1,6} ", "){4} "}"'


class Rig:
    def __init__(self, path: Path) -> None:
        self.path, self.llama = path, Llama(path, OPTIONS)
        llama = self.llama
        self.tokenizer: Tokenizer = tokenizers.load(read_header(path), llama.sentencepiece, llama.token_bytes, False)

    def prompt(self, words: int) -> list[int]:
        rng = random.Random(words)
        text = " ".join(passkey.sentence(rng) for _ in range(words // 5 + 1))
        return self.tokenizer.encode([Control("<s>"), Control("[INST]"), Text(text), Control("[/INST]")])

    def answer(
        self,
        prompt: list[int],
        sampling: Sampling,
        speculation: Speculation | None,
        longest: int = 40,
        grammar: str | None = None,
    ) -> Done:
        with ExitStack() as kept:
            samplers = kept.enter_context(sampler.chain(sampling))

            def draw(at: int) -> int | None:
                return self.llama.sample(samplers, at)

            if grammar is not None:
                constraint = constrained(self.llama, self.tokenizer, samplers, sampling, grammar)
                draw = kept.enter_context(constraint).draw  # type: ignore[assignment]
            *_, done = generation.generate(
                self.llama, self.tokenizer, prompt, draw, longest, lambda: False, speculation=speculation
            )
        assert isinstance(done, Done)
        assert self.llama.cached == [*prompt, *done.tokens][: len(self.llama.cached)]
        return done


class HalfRight(Speculation):
    """Always guesses, and of a known answer: every third time all right, else wrong from some place on."""

    def __init__(self, prompt: Sequence[int], tokens: Sequence[int], vocabulary: int) -> None:
        super().__init__(lambda _: False)
        self._known, self._rng, self._vocabulary = [*prompt, *tokens], random.Random(1), vocabulary

    def guess(self, room: int) -> list[int]:
        super().guess(0)
        at = len(self._text)
        guessed = self._known[at : at + min(room, self._rng.randrange(EXACT))]
        wrong = self._rng.randrange(len(guessed) * 3 // 2 + 1)
        if wrong < len(guessed):
            guessed[wrong] = (guessed[wrong] + 1) % self._vocabulary
        self.drafted += len(guessed)
        self._guessed = list(guessed)
        return guessed


@pytest.fixture(scope="module")
def rigs(small_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rig]:
    windows = tmp_path_factory.mktemp("drafting") / "windows.gguf"
    convert(passkey.CHECKPOINT, windows, "f32")
    return {"full": Rig(small_gguf), "windows": Rig(windows)}


# 1,000 words are more than the window and a batch: the cache of the layers with windows goes round.
@pytest.mark.parametrize(("kind", "words"), [("full", 20), ("full", 100), ("windows", 20), ("windows", 1000)])
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_the_answer_is_the_same(rigs: dict[str, Rig], kind: str, words: int, sampling: Sampling) -> None:
    rig = rigs[kind]
    prompt = rig.prompt(words)
    plain = rig.answer(prompt, sampling, None)
    rig.llama.clear()
    guessing = HalfRight(prompt, plain.tokens, rig.llama.vocabulary)
    quick = rig.answer(prompt, sampling, guessing)
    assert (quick.tokens, quick.text, quick.reason) == (plain.tokens, plain.text, plain.reason)
    assert quick.stats.drafted > quick.stats.accepted > len(plain.tokens) // 3 - 2
    # What is in the cache afterwards is what a next turn needs.
    after = [*prompt, *quick.tokens, *rig.prompt(5)]
    there = rig.answer(after, GREEDY, None, 10)
    assert there.stats.reused_tokens >= len(prompt)
    rig.llama.clear()
    assert there.tokens == rig.answer(after, GREEDY, None, 10).tokens


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_a_grammar_is_kept_to(rigs: dict[str, Rig], sampling: Sampling) -> None:
    rig = rigs["full"]
    prompt = rig.prompt(20)
    plain = rig.answer(prompt, sampling, None, 60, JSON)
    assert plain.text.startswith('{"')
    quick = rig.answer(prompt, sampling, HalfRight(prompt, plain.tokens, rig.llama.vocabulary), 60, JSON)
    assert (quick.tokens, quick.reason) == (plain.tokens, plain.reason)
    assert quick.stats.accepted > 5


def test_a_draft_model_keeps_in_step(rigs: dict[str, Rig]) -> None:
    rig = rigs["full"]
    prompt = rig.prompt(30)
    plain = rig.answer(prompt, GREEDY, None)
    draft = open_draft(rig.path, OPTIONS, read_header(rig.path))
    known = [*prompt, *plain.tokens]
    for length in (len(prompt) + 1, len(prompt) + 9, len(prompt) + 3, len(prompt) + 30, 2):
        guessed = draft.guess(known[:length], 4)
        assert len(guessed) == 4
        if length > len(prompt):
            assert guessed == known[length : length + 4]
    assert draft.guess([*known, *[1] * 2048], 4) == []  # more than it has room for
    draft.abort(on=True)
    assert draft.guess(rig.prompt(200), 4) == []
    draft.abort(on=False)
    assert isinstance(draft, Draft)


@pytest.mark.parametrize(("on_gpu", "layers"), [(True, -1), (False, 0)])
def test_a_draft_model_goes_where_it_is_told(
    rigs: dict[str, Rig], on_gpu: bool, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[LoadOptions] = []

    def loaded(path: Path, options: LoadOptions) -> Llama:
        asked.append(options)
        return Llama(path, options)

    monkeypatch.setattr(drafting, "Llama", loaded)
    path = rigs["full"].path
    open_draft(path, LoadOptions(threads=1, gpu_layers=7), read_header(path), on_gpu)
    assert [options.gpu_layers for options in asked] == [layers]


def test_a_draft_model_speaks_for_the_other(rigs: dict[str, Rig]) -> None:
    rig = rigs["full"]
    prompt = rig.prompt(30)
    plain = rig.answer(prompt, GREEDY, None)
    speculation = Speculation(rig.llama.ends, open_draft(rig.path, OPTIONS, read_header(rig.path)))
    speculation._costs[True].of = lambda _: 1.0  # type: ignore[method-assign] # worth it, whatever is measured
    for _ in range(2):
        rig.llama.clear()
        quick = rig.answer(prompt, GREEDY, speculation)
        assert quick.tokens == plain.tokens
        assert quick.stats.drafted >= quick.stats.accepted > 0


def test_another_vocabulary_is_refused(rigs: dict[str, Rig]) -> None:
    with pytest.raises(GgufError, match=r"its vocabulary is another: [\d,]+ tokens, not [\d,]+"):
        open_draft(rigs["windows"].path, OPTIONS, read_header(rigs["full"].path))


def test_from_the_command_line(rigs: dict[str, Rig], tmp_path: Path) -> None:
    one, other = rigs["full"].path, rigs["windows"].path
    quick = ["--device", "cpu", "--threads", "1", "--ctx", "256"]
    done = minichat("run", one, "Hello", "--draft", one, "--max-tokens", "4", *quick, "--json")
    assert done.returncode == 0, done.stderr
    assert '"drafted"' in done.stdout
    fails(3, "cannot draft for this model", "run", one, "Hello", "--draft", other, *quick)
    fails(3, "nowhere.gguf", "run", one, "Hello", "--draft", tmp_path / "nowhere.gguf", *quick)
