"""Which layers attend to everything, and which to a window of the last tokens.

Mistral 7B v0.1 slides in every layer; Ministral 8B's attention is ragged: one layer in full, three with a window, and
so on. llama.cpp's graph knows one size of window and an array that says which layers have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from quant.errors import CheckpointError


@dataclass(frozen=True)
class Attention:
    """`window`: in tokens, the token itself included; 0 if all layers attend to everything. `sliding`: per layer."""

    window: int = 0
    sliding: tuple[bool, ...] = ()


EVERYTHING = Attention()


def attention(windows: Sequence[int | None], layers: int, context: int, file: str) -> Attention:
    """The pattern of a list that is repeated over the layers: a window's tokens, or None for everything.

    A window as long as the context is none. CheckpointError for a list that does not fit the layers, or for windows of
    several sizes.

    >>> attention([None, 16, 16, 16], 8, 4096, "params.json").sliding
    (False, True, True, True, False, True, True, True)
    >>> attention([4096], 2, 4096, "config.json")
    Attention(window=0, sliding=())
    """
    if not windows or layers % len(windows):
        raise CheckpointError(f"{file}: a pattern of {len(windows)} windows does not fit {layers} layers")
    real = [window if window is not None and window < context else 0 for window in windows]
    sizes = sorted(set(real) - {0})
    if not sizes:
        return EVERYTHING
    if len(sizes) > 1:
        raise CheckpointError(
            f"{file}: windows of {sizes[0]} and {sizes[1]} tokens in one model are unknown to minichat"
        )
    return Attention(sizes[0], tuple(window > 0 for window in real) * (layers // len(real)))
