"""What is decoded again, and what not: on a model that attends to everything, one with windows, a recurrent one.

The oracle of every logit is a model that has read the same tokens from the beginning.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import passkey
import pytest
import recurrent
from numpy.typing import NDArray

from convert.pipeline import convert
from minichat.engine.generation import prefill
from minichat.engine.llama import BATCH, Llama
from minichat.engine.reuse import Reuse
from minichat.engine.types import LoadOptions
from quant.errors import EngineError

OPTIONS = LoadOptions(ctx=2048, threads=1, device="cpu")
# Between the logits of one prompt that was decoded in other batches: caches are float16, recurrent states are not.
CLOSE = {"full": 0.3, "windows": 0.3, "recurrent": 1e-3}


FORGETFUL = pytest.mark.parametrize("pair", ["windows", "recurrent"], indirect=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reuse")
    convert(passkey.CHECKPOINT, folder / "windows.gguf", "f32")
    shutil.copytree(passkey.CHECKPOINT, folder / "full")
    config = json.loads((folder / "full" / "config.json").read_text())
    config["layer_types"] = ["full_attention"] * len(config["layer_types"])
    (folder / "full" / "config.json").write_text(json.dumps(config))
    convert(folder / "full", folder / "full.gguf", "f32")
    recurrent.write(folder / "recurrent.gguf")
    return {kind: folder / f"{kind}.gguf" for kind in CLOSE}


@pytest.fixture(scope="module")
def loaded(files: dict[str, Path]) -> dict[str, tuple[Llama, Llama]]:
    """Of each kind one model, and one to compare it with."""
    return {kind: (Llama(path, OPTIONS), Llama(path, OPTIONS)) for kind, path in files.items()}


@pytest.fixture(params=["full", "windows", "recurrent"])
def pair(request: pytest.FixtureRequest, loaded: dict[str, tuple[Llama, Llama]]) -> Iterator[tuple[Llama, Llama]]:
    """A model whose cache is empty, and its oracle. Copies are worth their time, whatever this machine measures."""
    llama, oracle = loaded[request.param]
    llama.clear()
    llama._reuse.shelf.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reuse, "timed", lambda *_: None)
        llama._reuse._token_s = 1.0
        yield llama, oracle


def ids(seed: str, n: int, below: int = 120) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(20, below) for _ in range(n)]


def ask(llama: Llama, prompt: Sequence[int], answer: Sequence[int] = ()) -> tuple[int, NDArray[np.float32]]:
    """Has a prompt read, and an answer said; how many tokens of the prompt were decoded, and the logits after it."""
    *_, last = prefill(llama, prompt, lambda: False)
    assert last.done == len(prompt)
    logits = np.array(llama.logits(), np.float32)
    say(llama, answer)
    return len(prompt) - last.reused, logits


def say(llama: Llama, answer: Sequence[int]) -> None:
    """The first token alone, as ever; then a few at a time, which is quicker."""
    assert not answer or llama.decode(answer[:1])
    for n in range(1, len(answer), 40):
        assert llama.decode(answer[n : n + 40])


def fresh(oracle: Llama, prompt: Sequence[int]) -> NDArray[np.float32]:
    oracle.clear()
    oracle._reuse.shelf.clear()
    return ask(oracle, prompt)[1]


def is_right(pair: tuple[Llama, Llama], prompt: Sequence[int], decoded: int) -> None:
    """The prompt costs so many tokens, and leads to the same logits as if nothing had been there before."""
    llama, oracle = pair
    cost, logits = ask(llama, prompt)
    assert cost == decoded
    assert np.abs(logits - fresh(oracle, prompt)).max() < close(llama)


def close(llama: Llama) -> float:
    return CLOSE["recurrent" if llama._is_recurrent() else "full"]


def test_logits_tell_prompts_apart(pair: tuple[Llama, Llama]) -> None:
    """The test of these tests: another token, one too few and one too many."""
    prompt = ids("prompt", 60)
    right = fresh(pair[1], prompt)
    for other in ([*prompt[:-3], 21, *prompt[-2:]], [*prompt[:-3], *prompt[-2:]], [*prompt[:-3], 21, *prompt[-3:]]):
        assert np.abs(fresh(pair[1], other) - right).max() > 2 * close(pair[0])


def test_of_twenty_turns_each_decodes_what_is_new(pair: tuple[Llama, Llama]) -> None:
    prompt: list[int] = []
    for turn in range(20):
        question, answer = ids(f"q{turn}", 20), ids(f"a{turn}", 30)
        new = len(question) + (1 if turn else 0)  # the last token of an answer is drawn, and not decoded
        prompt += question
        assert ask(pair[0], prompt, answer[:-1])[0] == new
        prompt += answer
    is_right(pair, [*prompt, *ids("last", 20)], 21)


@FORGETFUL
@pytest.mark.parametrize("answer", [5, 700])
def test_an_answer_again(pair: tuple[Llama, Llama], answer: int) -> None:
    """/retry: nothing but the prompt's last token, however long the old answer was."""
    prompt = ids("prompt", 300)
    ask(pair[0], prompt, ids("answer", answer))
    is_right(pair, prompt, 1)
    is_right(pair, prompt, 1)


@FORGETFUL
@pytest.mark.parametrize("answer", [5, 700])
def test_a_question_edited_or_undone(pair: tuple[Llama, Llama], answer: int) -> None:
    """/edit, /undo: what stands before the turn is there; of a window, if not by cutting, by a copy."""
    first, reply = ids("first", 400), ids("reply", 100)
    ask(pair[0], first, reply)
    behind = [*first, *reply]
    ask(pair[0], [*behind, *ids("old", 20)], ids("answer", answer))
    is_right(pair, [*behind, *ids("new", 25)], 25)


@FORGETFUL
def test_an_early_turn_edited_goes_on_from_the_nearest_copy(pair: tuple[Llama, Llama]) -> None:
    """The copies stand where turns begin: an edit in the middle of a question costs that question."""
    llama, _ = pair
    prompt: list[int] = []
    begins = []
    for turn in range(4):
        begins.append(len(prompt))
        prompt += ids(f"q{turn}", 200)
        ask(llama, prompt, ids(f"a{turn}", 200))
        prompt += ids(f"a{turn}", 200)
    edited = [*prompt[: begins[2] + 50], *ids("other", 50)]
    shared = 50 if llama._is_recurrent() or llama.kept_from() > 0 else 0
    is_right(pair, edited, 50 + shared)


def test_a_conversation_that_is_left_and_come_back_to(pair: tuple[Llama, Llama]) -> None:
    """/load and back, an edit that is given up: the branch was set aside."""
    one, other = ids("one", 300), ids("two", 200)
    ask(pair[0], one, ids("answer", 50))
    ask(pair[0], other)
    is_right(pair, [*one, *ids("answer", 50), *ids("more", 20)], 20)
    is_right(pair, [*other, 77], 1)


def test_an_aborted_batch_leaves_what_was_there(pair: tuple[Llama, Llama]) -> None:
    llama, _ = pair
    prompt = ids("prompt", 600)
    ask(llama, prompt)
    llama.abort(on=True)
    assert not llama.decode(ids("more", 100))
    llama.abort(on=False)
    assert llama.cached == prompt[: len(llama.cached)]
    lost = len(prompt) - len(llama.cached)
    assert lost <= 1  # of a recurrent state, the copy before the prompt's last token
    is_right(pair, [*prompt, *ids("more", 100)], 100 + lost)


def test_a_context_that_grows_keeps_the_ways_back(
    files: dict[str, Path], loaded: dict[str, tuple[Llama, Llama]]
) -> None:
    """Of a window the longer context holds no more than what the last token sees; the copies are as good in it."""
    small, oracle = Llama(files["windows"], replace(OPTIONS, ctx=1280)), loaded["windows"][1]
    loaded["grown"] = small, oracle  # llama.cpp logs to the last one that was made: it has to live on
    small._reuse._token_s = 1.0
    prompt = ids("prompt", 300)
    ask(small, prompt, ids("answer", 900))
    small.resize(2048)
    is_right((small, oracle), prompt, 1)


@FORGETFUL
def test_without_memory_for_copies_all_is_decoded_again(
    pair: tuple[Llama, Llama], monkeypatch: pytest.MonkeyPatch
) -> None:
    llama, _ = pair
    monkeypatch.setattr(llama._reuse.shelf, "_free", lambda: 0)
    prompt = ids("prompt", 300)
    ask(llama, prompt, ids("answer", 900))
    is_right(pair, prompt, 1 if llama.kept_from() == 0 else len(prompt))
    ask(llama, ids("other", 50))
    is_right(pair, prompt, len(prompt))
    assert len(llama._reuse.shelf) == 0


def test_a_copy_that_cannot_be_put_back_is_dropped(pair: tuple[Llama, Llama], monkeypatch: pytest.MonkeyPatch) -> None:
    llama, _ = pair
    one = ids("one", 300)
    ask(llama, one)
    ask(llama, ids("two", 100))
    monkeypatch.setattr(llama, "set_state", lambda *_: False)
    is_right(pair, [*one, 77], 301)


@FORGETFUL
def test_a_copy_that_takes_longer_than_decoding_is_not_made(pair: tuple[Llama, Llama]) -> None:
    llama, _ = pair
    llama._reuse._token_s = 1e-12
    ask(llama, ids("one", 300), ids("answer", 700))
    ask(llama, ids("two", 100))
    assert len(llama._reuse.shelf) == 0


def test_random_walks(pair: tuple[Llama, Llama]) -> None:
    """Whatever way a conversation takes, the logits are those of the prompt."""
    llama, oracle = pair
    rng = random.Random("walk")
    seen = [ids("start", 300)]
    for step in range(10 if llama._reuse._forgets() else 4):
        start = rng.choice(seen)
        prompt = [*start[: rng.randrange(len(start) + 1)], *ids(f"{step}", rng.choice([1, 30, 200]))][:1000]
        decoded, logits = ask(llama, prompt)
        assert 1 <= decoded <= len(prompt)
        assert np.abs(logits - fresh(oracle, prompt)).max() < close(llama)
        answer = ids(f"answer {step}", rng.choice([0, 10, 400]))
        say(llama, answer)
        seen.append([*prompt, *answer])


@pytest.mark.parametrize("wrong", [[-1], [5, 1 << 30], [], [5] * (BATCH + 1)])
def test_what_llama_cpp_would_die_of_is_not_sent(pair: tuple[Llama, Llama], wrong: list[int]) -> None:
    llama, _ = pair
    with pytest.raises(EngineError):
        llama.decode(wrong)
    with pytest.raises(EngineError):
        llama.decode([llama.vocabulary])
    assert llama.cached == []
