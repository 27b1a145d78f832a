"""What training may see and what is held out. A phrasing, a name or a pair of numbers is on one side for ever."""

from __future__ import annotations

import random
import re
import zlib
from functools import cache

TRAIN, TEST = "train", "test"


ALWAYS_TRAINED = frozenset({"What is {}?", "How do I use {}?", "How can I {}?"})
"""Too common to be held out."""

Phrasings = tuple["str | tuple[str, ...]", ...]
"""Ways to say something. A tuple among them is a later batch, split by itself, so that no older one changes sides."""


@cache
def parts(options: Phrasings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A list of phrasings -> (for training, held out): about one in seven held out, none of a list of three or fewer.

    >>> train, test = parts(("a", "b", "c", "d", "e", "f", "g"))
    >>> len(train), len(test), set(train) & set(test)
    (6, 1, set())
    """
    first = [o for o in options if isinstance(o, str)]
    if len(first) < 4:
        return tuple(first), tuple(first)
    order = sorted(first, key=lambda o: zlib.crc32(o.encode()))
    n_test = max(1, round(len(order) / 7))
    test = [o for o in order[:n_test] if o not in ALWAYS_TRAINED]
    train = [o for o in order if o not in test]
    for batch in options:
        if not isinstance(batch, str):
            more_train, more_test = parts(batch)
            train += more_train
            test += more_test
    trained = {plain(o) for o in train}
    return tuple(train), tuple(o for o in test if plain(o) not in trained)


def plain(text: str) -> str:
    """Without case and punctuation, in which a held-out phrasing must not merely differ.

    >>> plain("What's `{}`?"), plain("{a}+{b}=")
    ('what s {}', '{a}+{b}=')
    """
    return re.sub(r"[^\w{}+*/=-]+", " ", text.casefold()).strip()


def pick(rng: random.Random, options: Phrasings, split: str) -> str:
    train, test = parts(options)
    return rng.choice((split == TEST and test) or train)


def held_out(key: str, one_in: int = 8) -> bool:
    """Whether a name or a pair of numbers belongs to the test: a fixed, arbitrary one in eight."""
    return zlib.crc32(key.casefold().encode()) % one_in == 0
