"""The finer search against ggml's, by the errors of what the engine reads."""

import sys

import numpy as np
import pytest
from hard_weights import samples
from numpy.typing import NDArray

from quant import fast
from quant.errors import UsageError
from quant.kernels import Quantizer, dequantize, make_quantizer, quantize
from quant.types import by_name

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def fine() -> Quantizer:
    quantizer = make_quantizer(1, "fine")
    quantizer.settle()
    return quantizer


@pytest.mark.parametrize("name", ["normal", "student", "outliers"])
def test_the_fine_search_has_less_error(fine: Quantizer, name: str) -> None:
    """Both by the measure of the search and plain; the engine's own dequantizer reads the blocks."""
    weights = samples()[name]
    size = np.sqrt((weights.reshape(-1, 32) ** 2).mean(axis=1, keepdims=True)) + abs(weights.reshape(-1, 32))

    def errors(blocks: NDArray[np.uint8]) -> tuple[float, float]:
        squares = (dequantize(blocks, by_name("q4_K")) - weights).reshape(-1, 32) ** 2
        return float((size * squares).sum()), float(squares.sum())

    ours = errors(fine.quantize(weights, by_name("q4_K"), "w"))
    ggmls = errors(quantize(weights, by_name("q4_K"), "w"))
    assert ours[0] < 0.99 * ggmls[0]
    assert ours[1] < 0.995 * ggmls[1]


@pytest.mark.parametrize("name", samples())
def test_the_fine_search_is_never_far_off(fine: Quantizer, name: str) -> None:
    weights = samples()[name]
    ours, ggmls = fine.quantize(weights, by_name("q4_K"), "w"), quantize(weights, by_name("q4_K"), "w")
    off, ggml_off = (abs(dequantize(blocks, by_name("q4_K")) - weights).sum() for blocks in (ours, ggmls))
    assert off <= 1.01 * ggml_off


def test_the_fine_search_leaves_other_types_as_they_are(fine: Quantizer) -> None:
    assert fine.is_fast
    weights = samples()["normal"]
    for kind in ("q5_K", "q6_K", "q8_0"):
        expected = quantize(weights, by_name(kind), "w").tobytes()
        assert fine.quantize(weights, by_name(kind), "w").tobytes() == expected


@pytest.mark.parametrize("blocks", [1, 7, 8, 9, 257])
def test_the_fine_search_takes_any_number_of_blocks(fine: Quantizer, blocks: int) -> None:
    """A block depends on nothing but its own weights."""
    weights = np.random.default_rng(blocks).standard_normal(blocks * 256).astype(np.float32)
    whole = fine.quantize(weights, by_name("q4_K"), "w")
    last = fine.quantize(weights[-256:], by_name("q4_K"), "w")
    assert whole[-144:].tobytes() == last.tobytes()


def test_without_numba_there_is_no_fine_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(UsageError, match=r"^the fine search needs numba: pip install 'minichat\[fast\]'$"):
        make_quantizer(1, "fine")


def test_with_a_broken_numba_there_is_no_fine_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_is_compiled", lambda *_: True)
    monkeypatch.setattr(fast, "load", lambda *_: {}["numba"])
    quantizer = make_quantizer(1, "fine")
    with pytest.raises(UsageError, match="numba, which does not work here"):
        quantizer.settle()
