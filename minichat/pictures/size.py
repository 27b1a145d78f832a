"""How large a model sees a picture, and how many tokens that is. Pure; standard library only.

A picture that is longer than the model takes is made smaller, its proportions kept to the pixel; then it is stretched
to whole patches. Each patch is one token [IMG], and each row of them ends with one more. The rules, and how they round,
are those of mistral-common's ImageEncoder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a model takes.

    longest: pixels of the longer side, at most.
    patch: the pixels of a token's side: those of a patch, times the patches that are merged into one token.
    max_tokens: of one picture, at most, where less is wanted than the model takes.

    The defaults are those of Mistral Small 3.1: patches of 14 pixels, 2 x 2 merged.
    """

    longest: int = 1540
    patch: int = 28
    max_tokens: int | None = None


@dataclass(frozen=True)
class Grid:
    """The patches of a picture."""

    columns: int
    rows: int

    @property
    def tokens(self) -> int:
        """The end of each row among them."""
        return self.rows * (self.columns + 1)


def grid(width: int, height: int, limits: Limits | None = None) -> Grid:
    """The patches of a picture of so many pixels. Never fewer than one; more than `max_tokens` only if one patch is.

    >>> grid(4000, 3000), grid(4000, 3000).tokens
    (Grid(columns=55, rows=42), 2352)
    >>> grid(4000, 3000, Limits(max_tokens=300))
    Grid(columns=19, rows=15)
    """
    limits = limits or Limits()
    whole = _grid(width, height, limits.longest, limits.patch)
    most = limits.max_tokens
    if most is None or whole.tokens <= most:
        return whole
    low, high = 1, min(limits.longest, max(width, height))  # pixels of the longer side: the first is few enough
    while high - low > 1:
        middle = (low + high) // 2
        if _grid(width, height, middle, limits.patch).tokens <= most:
            low = middle
        else:
            high = middle
    return _grid(width, height, low, limits.patch)


def _grid(width: int, height: int, longest: int, patch: int) -> Grid:
    ratio = max(height / longest, width / longest)
    if ratio > 1:
        width, height = max(round(width / ratio), 1), max(round(height / ratio), 1)
    return Grid((width - 1) // patch + 1, (height - 1) // patch + 1)
