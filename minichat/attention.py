"""Which layers of a GGUF attend to everything and which to a window, in plain words.

    {arch}.attention.sliding_window            tokens, the token itself included
    {arch}.attention.sliding_window_pattern    one boolean a layer: true where the layer has the window

Some architectures of llama.cpp take a number for the pattern, a period, and do not agree where in it the full layer
stands: such a pattern is not told. Metadata may hold anything; what makes no sense counts as missing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

_MAX_LAYERS = 512  # llama.cpp's bound
_MAX_RUNS = 3  # of like layers, told one after the other
_MAX_RANGES = 16


@dataclass(frozen=True)
class Attention:
    """`window`: tokens. `sliding`: whether each layer has it, from layer 0; None if the file does not tell."""

    window: int
    sliding: tuple[bool, ...] | None


def read_attention(metadata: Mapping[str, Any], architecture: str) -> Attention | None:
    """None for a file that names no window."""
    window = metadata.get(f"{architecture}.attention.sliding_window")
    layers = metadata.get(f"{architecture}.block_count")
    pattern = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if type(window) is not int or window <= 0:
        return None
    if not isinstance(pattern, list) or type(layers) is not int or not 0 < layers <= min(len(pattern), _MAX_LAYERS):
        return Attention(window, None)
    is_sound = all(value in (0, 1) for value in pattern[:layers])
    return Attention(window, tuple(map(bool, pattern[:layers])) if is_sound else None)


def in_words(attention: Attention) -> str:
    """The pattern as a sentence's end.

    >>> in_words(Attention(32768, (False, True, True, True) * 9))
    '1 layer in full, then 3 with a window of 32,768 tokens, 9 times'
    >>> in_words(Attention(4096, (True,) * 32))
    'every layer with a window of 4,096 tokens'
    >>> in_words(Attention(512, (False, False, True, True, True)))
    '2 layers in full, then 3 with a window of 512 tokens'
    """
    window = f"a window of {attention.window:,} token{'s' * (attention.window != 1)}"
    sliding = attention.sliding
    if sliding is None:
        return f"{window}; the file does not tell for which layers"
    if len(set(sliding)) == 1:
        return f"every layer {f'with {window}' if sliding[0] else 'in full'}"
    period = _period(sliding)
    if (runs := _runs(sliding[:period], window)) is None:
        return f"{_ranges([n for n, slides in enumerate(sliding) if not slides])} in full, the others with {window}"
    return runs if period == len(sliding) else f"{runs}, {len(sliding) // period} times"


def _period(sliding: Sequence[bool]) -> int:
    """How many layers it takes until the pattern begins again; all, if it never does.

    >>> _period([False, True, False, True]), _period([False, True, False])
    (2, 3)
    """
    n = len(sliding)
    return next(p for p in range(1, n + 1) if n % p == 0 and sliding[p:] == sliding[: n - p])


def _runs(sliding: Sequence[bool], window: str) -> str | None:
    """Runs of like layers, first to last; None if they are many. The window and the word "layer" are named once."""
    runs = [(slides, len(list(group))) for slides, group in groupby(sliding)]
    if len(runs) > _MAX_RUNS:
        return None
    named = {True: f"with {window}", False: "in full"}
    parts = []
    for place, (slides, count) in enumerate(runs):
        layers = f" layer{'s' * (count != 1)}" if place == 0 else ""
        parts.append(f"{count}{layers} {named[slides]}")
        named[True] = named[True] if not slides else "with the window"
    return ", then ".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    """
    >>> _ranges([0, 3, 4, 5, 9]), _ranges([2])
    ('layers 0, 3–5, 9', 'layer 2')
    """
    ranges = list(_consecutive(numbers))
    shown = [f"{first}–{last}" if last > first else f"{first}" for first, last in ranges[:_MAX_RANGES]]
    return f"layer{'s' * (len(numbers) != 1)} {', '.join(shown)}{', …' * (len(ranges) > _MAX_RANGES)}"


def _consecutive(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        yield members[0], members[-1]
