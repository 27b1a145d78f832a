import doctest
from typing import Any

import pytest

from minichat import attention
from minichat.attention import Attention, in_words, read_attention


def metadata(window: Any = 16, pattern: Any = None, layers: Any = 4) -> dict[str, Any]:
    keys = {"attention.sliding_window": window, "attention.sliding_window_pattern": pattern, "block_count": layers}
    return {f"granite_swa.{key}": value for key, value in keys.items() if value is not None}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ([False, True, True, True], (False, True, True, True)),
        ([0, 1, 1, 1], (False, True, True, True)),  # llama.cpp takes numbers too
        ([False, True, True, True, False], (False, True, True, True)),  # it reads as many as there are layers
        ([False, True, True], None),
        (None, None),
        (4, None),
        ("1111", None),
        ([0, 1, 2, 3], None),
        (["0", "1", "0", "1"], None),
    ],
)
def test_the_pattern_is_read_or_left_out(pattern: Any, expected: tuple[bool, ...] | None) -> None:
    assert read_attention(metadata(pattern=pattern), "granite_swa") == Attention(16, expected)


@pytest.mark.parametrize("window", [None, 0, -1, True, 16.0, "16", [16]])
def test_no_window_no_pattern(window: Any) -> None:
    assert read_attention(metadata(window, [True] * 4), "granite_swa") is None


@pytest.mark.parametrize("layers", [None, 0, -4, True, "4", 1 << 40, 513])
def test_layers_that_make_no_sense(layers: Any) -> None:
    found = read_attention(metadata(pattern=[True] * 600, layers=layers), "granite_swa")
    assert found == Attention(16, None)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("FSSS" * 9, "1 layer in full, then 3 with a window of 512 tokens, 9 times"),
        ("SSSSSF" * 2, "5 layers with a window of 512 tokens, then 1 in full, 2 times"),
        ("FS", "1 layer in full, then 1 with a window of 512 tokens"),
        ("FSSF" * 3, "1 layer in full, then 2 with a window of 512 tokens, then 1 in full, 3 times"),
        (
            "SFSF" + "SSFF",
            "layers 1, 3, 6–7 in full, the others with a window of 512 tokens",
        ),
        ("SSFSF", "layers 2, 4 in full, the others with a window of 512 tokens"),
        ("F" * 8, "every layer in full"),
        ("S" * 8, "every layer with a window of 512 tokens"),
        ("S", "every layer with a window of 512 tokens"),
    ],
)
def test_a_pattern_in_words(pattern: str, expected: str) -> None:
    assert in_words(Attention(512, tuple(layer == "S" for layer in pattern))) == expected


def test_a_long_irregular_pattern_stays_short() -> None:
    squares = {n * n for n in range(23)}
    words = in_words(Attention(512, tuple(n not in squares for n in range(512))))
    assert words.startswith("layers 0–1, 4, 9, 16, ") and words.endswith(
        ", … in full, the others with a window of 512 tokens"
    )
    assert len(words) < 200


def test_a_window_without_a_pattern() -> None:
    assert in_words(Attention(1, None)) == "a window of 1 token; the file does not tell for which layers"


def test_its_examples() -> None:
    assert doctest.testmod(attention).failed == 0
