"""Rows of random tokens that come back: they teach copying, which chat alone teaches too slowly."""

from __future__ import annotations

import random
from collections.abc import Sequence


def copy_row(rng: random.Random, vocabulary: Sequence[int], length: int) -> tuple[list[int], list[bool]]:
    """-> `length` ids, and which of them can be known: those of every repeat, after the first of each chunk.

    Half of the time a sequence comes back as it was, else in chunks of two to eight, shuffled.
    """
    ids: list[int] = []
    known: list[bool] = []
    while len(ids) < length:
        size = rng.choice((rng.randint(3, 12), rng.randint(8, 40), rng.randint(30, 120)))
        once = [rng.choice(vocabulary) for _ in range(size)]
        ids += once
        known += [False] * size
        chunks = [once]
        if rng.random() < 0.5:
            chunks, rest = [], once
            while rest:
                n = rng.randint(2, 8)
                chunks.append(rest[:n])
                rest = rest[n:]
        for _ in range(rng.randint(1, 3)):
            rng.shuffle(chunks)
            for chunk in chunks:
                ids += chunk
                known += [False] + [True] * (len(chunk) - 1)
    return ids[:length], known[:length]
