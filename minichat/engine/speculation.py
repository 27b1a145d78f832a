"""More than one token at a time, and no other tokens than without.

What may come next is guessed at, by the text so far (`lookup`) or by a smaller model (`drafting`), and the guesses are
decoded together with the last token. Then the answer's own sampler draws behind each of them in turn, from the logits
that it would have had anyway; the first one that is not what was guessed ends the batch, and the rest is cut out of the
KV cache. So a guess decides what a token costs, never which one it is.

Whether to guess, and how far, is weighed before each token: by how often guesses of this kind were right, which is
counted whether they are decoded or not, and by what a batch of that size was measured to take next to a single token.
An account of the seconds gained and lost bounds what bad luck can cost an answer.

Of one caveat no loop of this kind is free: the logits of a batch are computed in another order than those of a single
token, and may differ in their last bits. On the CPU, llama.cpp's kernels give the same bits up to EXACT tokens, or
EXACT_REPACKED where the weights are rearranged for its processor, with flash attention and until a second thread shares
the attention of one token (256 tokens of f16 cache). Beyond that the draw differs where two tokens are as good as
equally likely, as it does with another number of threads. So an answer that is to come out the same each time, with
temperature 0 or a seed that was asked for, gets no larger batches; any other gets whatever pays.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from minichat.engine.lookup import LONGEST, Lookup

SIZES = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32)  # batches that are weighed, in tokens
EXACT, EXACT_REPACKED = 6, 3
_WORTH = 1.08  # a batch is expected to be this much quicker, or it is left
_LOSS, _LOSS_TOKENS = 0.01, 0.5  # what may be lost in an answer: this part of its time, and so many tokens' time
_RISK = 0.5  # and this part of what was gained
_GROWTH = 2  # a batch is at most so many times as large as the largest that was right throughout, and a token
_LONGEST_S = 0.5  # no batch above 4 tokens takes longer: the text comes smoothly
_SMOOTH = 4
_MEMORY = 48  # guesses of a grade that its odds remember


def largest_batch(on_gpu: bool, repacked: bool, repeatable: bool) -> int:
    """The largest batch for an answer, which is to come out the same each time or need not.

    >>> largest_batch(on_gpu=False, repacked=True, repeatable=True)
    3
    """
    if on_gpu or not repeatable:
        return SIZES[-1]
    return EXACT_REPACKED if repacked else EXACT


class Drafter(Protocol):
    """Guesses at tokens in another way than by looking them up."""

    def guess(self, text: Sequence[int], limit: int) -> list[int]:
        """At most `limit` tokens that may come behind `text`."""


class Odds:
    """How likely a guess is right, by its grade: how many tokens before it agreed with those before its model.

    >>> odds = Odds()
    >>> odds.of(2) < odds.of(16) < 1.0
    True
    """

    _FIRST = (0.7, 0.5, 0.5, 0.6, *[0.7] * 2, *[0.8] * 4, *[0.9] * 6, 0.95)  # [0]: a draft model's
    _GRADE = (0, 1, 2, 3, *[4] * 2, *[6] * 4, *[10] * 6, 16)  # matched tokens that count alike
    _WEIGHT = 16.0  # of the first estimate, in guesses

    def __init__(self) -> None:
        self._right = {grade: self._FIRST[grade] * self._WEIGHT for grade in set(self._GRADE)}
        self._all = dict.fromkeys(self._right, self._WEIGHT)

    def of(self, matched: int) -> float:
        """That the next token comes true, behind so many that did; 0 for a draft model's."""
        grade = self._GRADE[min(matched, LONGEST)]
        return self._right[grade] / self._all[grade]

    def count(self, matched: int, right: bool) -> None:
        """A guess was right or wrong."""
        grade = self._GRADE[min(matched, LONGEST)]
        kept = min(1.0, _MEMORY / (self._all[grade] + 1))
        self._right[grade] = (self._right[grade] + right) * kept
        self._all[grade] = (self._all[grade] + 1) * kept

    def fade(self) -> None:
        """Lets a draft model's odds, which nothing is learned of while it does not guess, drift back to the first."""
        first, weight = self._FIRST[0], self._WEIGHT
        self._right[0] += 0.005 * (first * weight - self._right[0])
        self._all[0] += 0.005 * (weight - self._all[0])


class Costs:
    """What decoding a batch takes, in the time of one token, as measured. per_token: a guess at it until then."""

    def __init__(self, per_token: float = 0.35) -> None:
        self._per_token = per_token
        self._known: dict[int, float] = {}

    def of(self, size: int) -> float:
        """The batch of this size; what is not known follows from the nearest that is."""
        found = self._known.get(size)
        if found is None:
            found = self._first(size)
            if self._known:
                near = min(self._known, key=lambda known: abs(known - size))
                found = 1 + (found - 1) * (self._known[near] - 1) / (self._first(near) - 1)
        return min([found, *(cost for known, cost in self._known.items() if known > size)])

    def measured(self, size: int, cost: float) -> None:
        """A batch took this. One that took much longer than it should counts for little: something else ran."""
        before = self.of(size)
        cost = max(1.0, min(cost, 2 * before))
        self._known[size] = before + (0.3 if size in self._known else 0.6) * (cost - before)

    def _first(self, size: int) -> float:
        return 1 + self._per_token * min(size - 1, 7) + 0.1 * max(size - 8, 0)


class Speculation:
    """Guesses for one model's answers, one answer at a time.

    ends: whether a token ends an answer; what comes behind such a token is no guess. most: the largest batch, which may
    be another for each answer.
    drafted, accepted: tokens of this answer that were decoded ahead, and those of them that were drawn then.
    """

    def __init__(
        self,
        ends: Callable[[int], bool],
        drafter: Drafter | None = None,
        most: int = EXACT,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._ends, self._drafter, self.most, self._clock = ends, drafter, most, clock
        self._lookup = Lookup()
        self._odds = Odds()
        self._costs = {False: Costs(), True: Costs(0.5)}  # is it the draft model's guess?
        self._ones: deque[float] = deque(maxlen=15)  # seconds of the last tokens that were decoded alone
        self._text: list[int] = []
        self._guessed: list[int] = []  # of the last batch, what has not been drawn yet
        self._grade = 0
        self._by_model = False
        self.begin([])

    def begin(self, prompt: Sequence[int]) -> None:
        """Another answer, to this prompt."""
        self._text = list(prompt)
        self._sees = min(prompt, default=0) < 0  # rows of pictures, which no draft model reads
        self._fresh = True
        self._guessed = []
        self._since: float | None = None
        self._size = self._drawn = 0
        self._right_size = 2
        self._elapsed_s = self._gained_s = 0.0
        self.drafted = self.accepted = 0

    def add(self, token: int) -> None:
        """The next token of the answer, as it was drawn."""
        self._text.append(token)
        self._drawn += 1
        if self._fresh:
            return
        if self._guessed:
            is_right = self._guessed.pop(0) == token
            self._odds.count(self._grade, is_right)
            self.accepted += is_right
            self._grade += 0 if self._by_model else 1
            if not is_right:
                self._guessed = []
        elif self._lookup.matched:
            self._odds.count(self._lookup.matched, self._lookup.guess(1) == [token])
        self._lookup.add(token)

    def guess(self, room: int) -> list[int]:
        """What to decode behind the token that was drawn last, `room` tokens at most; often nothing.

        It is called once for each batch, right before it is decoded: that is what the time is taken by.
        """
        self._settle()
        if self._fresh:  # the prompt's index is not what the first token waits for
            self._lookup.follow(self._text)
            self._fresh = False
        guessed: list[int] = []
        if room > 0 and self._ones:
            guessed = self._best(room)
        self._guessed, self._size = list(guessed), 1 + len(guessed)
        self.drafted += len(guessed)
        return guessed

    def _settle(self) -> None:
        """Takes into account what the last batch took, and brought."""
        now = self._clock()
        if self._since is not None:
            took = now - self._since
            self._elapsed_s += took
            if self._size == 1:
                self._ones.append(took)
                if self._drafter is not None:
                    self._odds.fade()
            else:
                self._costs[self._by_model].measured(self._size, took / self._one_s)
                self._gained_s += self._drawn * self._one_s - took
                if self._drawn == self._size:
                    self._right_size = max(self._right_size, self._size)
        self._since, self._drawn = now, 0

    def _best(self, room: int) -> list[int]:
        matched = self._lookup.matched
        gain, size = self._weighed(matched, room, by_model=False) if matched else (1.0, 1)
        self._by_model, self._grade = False, matched
        if self._drafter is not None and not self._sees:
            other_gain, other_size = self._weighed(0, room, by_model=True)
            if other_gain > gain:
                self._by_model, self._grade = True, 0
                return self._until_end(self._drafter.guess(self._text, other_size - 1))
        return self._until_end(self._lookup.guess(size - 1))

    def _weighed(self, matched: int, room: int, by_model: bool) -> tuple[float, int]:
        """How much quicker the best batch is expected to be, and its size; (1.0, 1) if none is worth it."""
        best, costs = (1.0, 1), self._costs[by_model]
        may_lose = (_RISK * self._gained_s + _LOSS * self._elapsed_s) / self._one_s + _LOSS_TOKENS
        expected = kept = 1.0
        for size in range(2, min(room + 1, self.most, _GROWTH * self._right_size + 1) + 1):
            kept *= self._odds.of(0 if by_model else matched + size - 2)
            expected += kept
            cost = costs.of(size)
            is_smooth = size <= _SMOOTH or cost * self._one_s <= _LONGEST_S
            if size in SIZES and is_smooth and cost - 1 <= may_lose and expected / cost > max(best[0], _WORTH):
                best = (expected / cost, size)
        return best

    def _until_end(self, guessed: list[int]) -> list[int]:
        return guessed[: next((n for n, token in enumerate(guessed) if self._ends(token)), len(guessed))]

    @property
    def _one_s(self) -> float:
        """Seconds of a token that is decoded alone."""
        return sorted(self._ones)[len(self._ones) // 2]
