"""Sets of characters, as ranges of code points, and what the classes of regular expressions stand for.

A set is a tuple of ranges (first, last), sorted, none touching the next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache

Ranges = tuple[tuple[int, int], ...]

ALL: Ranges = ((0, sys.maxunicode),)
TEXT: Ranges = ((0, 0xD7FF), (0xE000, sys.maxunicode))
"""What UTF-8 can hold: all but the surrogates."""


def union(sets: Iterable[Ranges]) -> Ranges:
    """
    >>> union([((1, 3),), ((4, 5), (9, 9))])
    ((1, 5), (9, 9))
    """
    merged: list[tuple[int, int]] = []
    for first, last in sorted(one for ranges in sets for one in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All code points that are not in the set."""
    gaps, start = [], 0
    for first, last in ranges:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    return (*gaps, (start, sys.maxunicode)) if start <= sys.maxunicode else tuple(gaps)


def intersection(one: Ranges, other: Ranges) -> Ranges:
    return complement(union([complement(one), complement(other)]))


def of(characters: str) -> Ranges:
    """The set of these characters."""
    return union([((ord(character), ord(character)),) for character in characters])


_DIGITS = of("0123456789")
_WORD = union([_DIGITS, ((0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))])
_SPACES = union(
    [
        ((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
        of("\u2028\u2029\u202f\u205f\u3000"),
    ]
)
_ECMA_SPACES = union([_SPACES, ((0xFEFF, 0xFEFF),)])
_PYTHON_SPACES = union([_SPACES, ((0x1C, 0x1F), (0x85, 0x85))])
DOT = complement(of("\n\r\u2028\u2029"))


def ecma_class(letter: str) -> tuple[Ranges, Ranges]:
    r"""What `\d` and its like stand for in ECMA-262, which JSON Schema goes by: (within, at most), here the same."""
    ranges = {"d": _DIGITS, "w": _WORD, "s": _ECMA_SPACES}[letter.lower()]
    if letter.isupper():
        ranges = complement(ranges)
    return ranges, ranges


def common_class(letter: str) -> tuple[Ranges, Ranges]:
    r"""What `\d` and its like stand for in ECMA-262 and in Python alike: (what both mean, what either means).

    A text made of these matches whichever of the two a reader goes by: in Python `\D` is no digit of any script.
    """
    match letter.lower():
        case "d":
            narrow, wide = _digits()
        case "w":
            narrow, wide = _words()
        case _:
            narrow, wide = _SPACES, union([_ECMA_SPACES, _PYTHON_SPACES])
    return (complement(wide), complement(narrow)) if letter.isupper() else (narrow, wide)


@lru_cache
def _digits() -> tuple[Ranges, Ranges]:
    return _DIGITS, _where(str.isdecimal)


@lru_cache
def _words() -> tuple[Ranges, Ranges]:
    return _WORD, union([_WORD, _where(str.isalnum)])


def _where(test: Callable[[str], bool]) -> Ranges:
    return union([((point, point),) for point in range(sys.maxunicode + 1) if test(chr(point))])
