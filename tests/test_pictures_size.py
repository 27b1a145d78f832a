"""How large pictures are seen, beside mistral-common's image encoder."""

from __future__ import annotations

import random

import pytest
from mistral_oracle import header
from template_checks import difference_of_sizes, sizes

from minichat import tokenizer
from minichat.pictures.size import Grid, Limits, grid


@pytest.mark.parametrize("limits", [(14, 1540, 2), (16, 1024, 1)], ids=["small-3.1", "pixtral"])
def test_500_sizes_as_mistral_common(limits: tuple[int, int, int]) -> None:
    tekken = tokenizer.load(header("v7-tekken"))
    assert difference_of_sizes(tekken, limits, sizes(500)) is None


@pytest.mark.parametrize("most", [2, 3, 12, 100, 1024, 3080])
def test_fewer_tokens_keep_the_proportions(most: int) -> None:
    rng = random.Random(f"tokens {most}")
    for width, height in [(4000, 3000), (1, 1), (8000, 50), *((rng.randint(1, 5000),) * 2 for _ in range(50))]:
        whole, less = grid(width, height), grid(width, height, Limits(max_tokens=most))
        assert less.tokens <= max(most, 2)
        assert less == whole or less.tokens < whole.tokens
        longest = max(width, height, 28)
        sizes = [grid(width, height, Limits(side)) for side in range(1, min(longest, 1540) + 1, 7)]
        assert all(size.tokens > most for size in sizes if size.tokens > less.tokens)  # no larger one would do
    assert grid(4000, 3000, Limits(max_tokens=3080)) == grid(4000, 3000) == Grid(55, 42)
