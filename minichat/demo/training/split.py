"""What training may see and what is held out. A phrasing, a name or a pair of numbers is on one side for ever."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from functools import cache

TRAIN, TEST = "train", "test"


@cache
def parts(options: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A list of phrasings -> (for training, held out): about one in seven held out, none of a list of three or fewer.

    >>> train, test = parts(("a", "b", "c", "d", "e", "f", "g"))
    >>> len(train), len(test), set(train) & set(test)
    (6, 1, set())
    """
    if len(options) < 4:
        return options, options
    order = sorted(options, key=lambda o: zlib.crc32(o.encode()))
    n_test = max(1, round(len(order) / 7))
    return tuple(order[n_test:]), tuple(order[:n_test])


def pick(rng: random.Random, options: Sequence[str], split: str) -> str:
    train, test = parts(tuple(options))
    return rng.choice(test if split == TEST else train)


def held_out(key: str, one_in: int = 8) -> bool:
    """Whether a name or a pair of numbers belongs to the test: a fixed, arbitrary one in eight."""
    return zlib.crc32(key.casefold().encode()) % one_in == 0
