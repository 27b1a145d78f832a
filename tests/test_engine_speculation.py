"""Guessing ahead: the same tokens as without, quicker where it pays, hardly slower where it does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import pytest

from minichat.engine import generation
from minichat.engine.speculation import EXACT, EXACT_REPACKED, SIZES, Costs, Odds, Speculation, largest_batch
from minichat.engine.types import Done, Stats

END = 0
# What a batch took in the time of one token: measured on two cores with 0.3 and 0.8 billion parameters in q4_K_M; a
# GPU, which hardly notices; and a machine on which each token costs as much as the one before.
FEW = {1: 1.0, 2: 1.11, 3: 1.5, 4: 1.85, 6: 2.45, 32: 8.0}
MORE = {1: 1.0, 2: 1.44, 3: 1.75, 4: 2.1, 6: 2.7, 32: 6.5}
GPU = {1: 1.0, 4: 1.07, 8: 1.2, 16: 1.3, 32: 1.7}
LINEAR = {1: 1.0, 32: 32.0}


def cost(table: dict[int, float], size: int) -> float:
    below, above = max(n for n in table if n <= size), min(n for n in table if n >= size)
    return table[below] + (table[above] - table[below]) * (size - below) / max(above - below, 1)


class TimedLlama:
    """Says a script, whatever is decoded, and takes for it what the table says."""

    ctx = ctx_train = 100_000
    gallery = None

    def __init__(self, script: Sequence[int], table: dict[int, float]) -> None:
        self.script, self.table = script, table
        self.cached: list[int] = []
        self.prompt = 0
        self.now = 0.0
        self.sizes: list[int] = []  # of the batches
        self.on_decode: Callable[[], bool] = lambda: True

    def reserve(self, tokens: int) -> None:
        pass

    def reuse(self, prompt: Sequence[int]) -> int:
        self.cached = list(prompt[:-1])
        self.prompt = len(prompt)
        return len(self.cached)

    def decode(self, ids: Sequence[int], every: bool = False) -> bool:
        assert every == (len(ids) > 1)
        assert len(self.cached) + len(ids) <= self.ctx
        self.now += 0.02 * cost(self.table, len(ids))
        self.sizes.append(len(ids))
        if not self.on_decode():
            return False
        self.first = len(self.cached)
        self.cached += ids
        return True

    def cut_back(self, length: int) -> None:
        assert length <= len(self.cached)
        del self.cached[length:]

    def draw(self, at: int) -> int:
        place = (self.first + at if at >= 0 else len(self.cached) - 1) + 1 - self.prompt
        return [*self.script, END][place]

    def ends(self, token: int) -> bool:
        return token == END


class Words:
    control_names: ClassVar[dict[int, str]] = {}

    def answer_bytes(self, token: int, first: bool) -> bytes:
        return b"x"


def answer(
    llama: TimedLlama, prompt: list[int], speculation: Speculation, longest: int | None = None, stop_at: float = -1
) -> Done:
    *_, done = generation.generate(
        llama,  # type: ignore[arg-type]
        Words(),  # type: ignore[arg-type]
        prompt,
        llama.draw,
        longest,
        lambda: llama.now >= stop_at > 0,
        speculation=speculation,
    )
    assert isinstance(done, Done)
    assert llama.cached == [*prompt, *done.tokens][: len(llama.cached)]  # nothing is left of what was guessed
    return done


def timed(script: list[int], prompt: list[int], table: dict[int, float], most: int = EXACT) -> tuple[float, Stats]:
    """How many times as quick the answer came, and its counts."""
    llama = TimedLlama(script, table)
    speculation = Speculation(llama.ends, most=most, clock=lambda: llama.now)
    answer(llama, [1, 2, 3], speculation, 20)  # what one token takes is known by then, as in a chat
    begin = llama.now
    done = answer(llama, prompt, speculation)
    assert list(done.tokens) == script
    return (len(script) + 1) * 0.02 / (llama.now - begin), done.stats  # the prompt's last token is decoded too


def text(seed: int, length: int) -> list[int]:
    """As words come: few often, most of them seldom."""
    rng = random.Random(seed)
    return [1 + min(int(rng.paretovariate(0.7)), 30_000) for _ in range(length)]


def edited(source: list[int], every: int) -> list[int]:
    rng = random.Random(3)
    changed: list[int] = []
    for n, token in enumerate(source):
        kind = rng.randrange(3) if n % every == every - 1 else -1
        changed += [[rng.randrange(1, 30_000)], [], [token, rng.randrange(1, 30_000)], [token]][kind]
    return changed


@pytest.mark.parametrize("table", [FEW, MORE, GPU])
def test_what_repeats_the_prompt_is_quicker(table: dict[int, float]) -> None:
    source = text(1, 300)
    gain, stats = timed(edited(source, 15), source, table, EXACT if table is not GPU else SIZES[-1])
    assert gain > (1.35 if table is not GPU else 2.5)
    assert stats.drafted >= stats.accepted > 0.3 * len(source)


@pytest.mark.parametrize("table", [FEW, MORE, GPU, LINEAR])
@pytest.mark.parametrize("length", [40, 120, 600])
def test_what_is_new_is_not_slower(table: dict[int, float], length: int) -> None:
    for seed in (5, 6, 7):
        gain, _ = timed(text(seed, length), text(seed + 10, 400), table, SIZES[-1])
        assert gain > 0.97


@pytest.mark.parametrize("repacked", [True, False])
def test_what_is_to_come_out_the_same_gets_small_batches(repacked: bool) -> None:
    source = text(1, 300)
    sizes: list[int] = []
    for repeatable in (True, False):
        most = largest_batch(on_gpu=False, repacked=repacked, repeatable=repeatable)
        llama = TimedLlama(source, GPU)  # where large batches are cheap
        speculation = Speculation(llama.ends, clock=lambda: llama.now)  # noqa: B023
        speculation.most = most
        answer(llama, [1, 2, 3], speculation, 20)
        answer(llama, source, speculation)
        sizes.append(max(llama.sizes))
    assert sizes[0] == (EXACT_REPACKED if repacked else EXACT)
    assert sizes[1] > EXACT


def test_a_machine_without_gain_is_found_out() -> None:
    source = text(1, 600)
    gain, stats = timed(source, source, LINEAR, SIZES[-1])
    assert gain > 0.98
    assert stats.drafted < 40


def test_lies_are_not_believed_for_long() -> None:
    """A prompt full of the answer's pairs, each of them followed by something else."""
    script = text(8, 500)
    prompt = [token for a, b in pairwise(script) for token in (a, b, 30_001)]
    gain, _ = timed(script, prompt, MORE)
    assert gain > 0.97


@pytest.mark.parametrize("longest", [1, 2, 3, 7, 50])
def test_the_longest_answer_is_exact(longest: int) -> None:
    source = text(1, 60)
    llama = TimedLlama(source, FEW)
    speculation = Speculation(llama.ends, clock=lambda: llama.now)
    answer(llama, source, speculation, 30)
    done = answer(llama, source, speculation, longest)
    assert (done.reason, list(done.tokens)) == ("length", source[:longest])


def test_the_context_is_exact() -> None:
    source = text(1, 60)
    llama = TimedLlama(source, FEW)
    speculation = Speculation(llama.ends, clock=lambda: llama.now)
    answer(llama, source, speculation)
    for ctx in range(70, 90):
        llama.ctx = ctx
        done = answer(llama, source, speculation)
        assert (done.reason, len(done.tokens)) == ("context", ctx - len(source) + 1)


def test_a_stop_between_guesses_keeps_what_was_drawn() -> None:
    source = text(1, 100)
    for seconds in range(1, 20):
        llama = TimedLlama(source, FEW)
        speculation = Speculation(llama.ends, clock=lambda: llama.now)  # noqa: B023
        answer(llama, source, speculation)
        begin = llama.now
        done = answer(llama, source, speculation, stop_at=begin + seconds * 0.04)
        assert list(done.tokens) == source[: len(done.tokens)]
        assert llama.now - begin < seconds * 0.04 + 0.06  # one batch more at most


def test_an_aborted_batch_leaves_nothing() -> None:
    source = text(1, 100)
    llama = TimedLlama(source, FEW)
    speculation = Speculation(llama.ends, clock=lambda: llama.now)
    answer(llama, source, speculation)
    left = [12]

    def decodes() -> bool:
        left[0] -= 1
        return left[0] > 0

    llama.on_decode = decodes
    done = answer(llama, source, speculation)
    assert done.reason == "stop"
    assert list(done.tokens) == source[: len(done.tokens)]


def test_the_end_is_not_guessed() -> None:
    source = [*text(1, 40), END, 50, 51]
    speculation = Speculation(lambda token: token == END, clock=iter(range(1000)).__next__)
    speculation.begin(source)
    for token in source[:36]:
        speculation.add(token)
        assert END not in speculation.guess(10)


class Oracle:
    """A draft model that knows the answer, but for some tokens."""

    def __init__(self, script: list[int], wrong_every: int) -> None:
        self.script, self.wrong_every, self.asked = script, wrong_every, 0

    def guess(self, text: Sequence[int], limit: int) -> list[int]:
        self.asked += 1
        at = len(text) - 3
        told = self.script[at : at + limit]
        return [9 if (at + n) % self.wrong_every == 0 else token for n, token in enumerate(told)]


def test_a_draft_model_that_is_right_is_used_and_one_that_is_not_is_left() -> None:
    script = list(range(100, 500))
    gains = []
    for wrong_every in (20, 1):
        llama = TimedLlama(script, FEW)
        oracle = Oracle(script, wrong_every)
        speculation = Speculation(llama.ends, oracle, clock=lambda: llama.now)  # noqa: B023
        assert list(answer(llama, [1, 2, 3], speculation).tokens) == script
        gains.append(len(script) * 0.02 / llama.now)
    assert gains[0] > 1.3
    assert gains[1] > 0.97
    assert oracle.asked < 100  # of 400 tokens


def test_odds_are_learned() -> None:
    odds = Odds()
    for _ in range(60):
        odds.count(4, right=False)
    assert odds.of(5) < 0.2 < odds.of(6)


def test_costs_are_learned() -> None:
    costs = Costs()
    for _ in range(10):
        costs.measured(4, 1.1)
    assert costs.of(4) < 1.2
    assert costs.of(3) <= costs.of(4) < costs.of(8) < 2  # the others follow
    for _ in range(20):
        costs.measured(4, 4.0)
    assert costs.of(4) > 3
