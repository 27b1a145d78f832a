import numpy as np
import pytest

from convert.dequantize import apply_scales, to_float32
from quant.errors import CheckpointError


def test_every_bfloat16_is_the_upper_half_of_a_float32() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    expected = (bits.astype(np.uint32) << 16).tobytes()
    assert to_float32(bits.tobytes(), "BF16").tobytes() == expected


def test_every_float16_keeps_its_value() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    found = to_float32(halves.tobytes(), "F16")
    assert found.dtype == np.float32
    assert np.array_equal(found.astype(np.float16), halves, equal_nan=True)


def test_float32_keeps_its_bits() -> None:
    data = np.random.default_rng(0).integers(0, 1 << 32, 999, dtype=np.uint32).tobytes()
    assert to_float32(data, "F32").tobytes() == data


def test_other_types_are_refused() -> None:
    with pytest.raises(CheckpointError, match="type F8_E5M2"):
        to_float32(b"", "F8_E5M2")


def test_every_float8_has_the_value_of_its_definition() -> None:
    """Held against the standard's own words (OCP 8-bit floating point, E4M3), number by number."""
    found = to_float32(bytes(range(256)), "F8_E4M3")
    for bits in range(256):
        sign, exponent, mantissa = -1 if bits >> 7 else 1, bits >> 3 & 15, bits & 7
        if (exponent, mantissa) == (15, 7):
            assert np.isnan(found[bits])
        elif exponent:
            assert found[bits] == sign * 2.0 ** (exponent - 7) * (1 + mantissa / 8)
        else:
            assert found[bits] == sign * 2.0**-6 * (mantissa / 8)


def test_int8_keeps_its_value() -> None:
    assert np.array_equal(to_float32(bytes(range(256)), "I8"), np.arange(256).astype(np.int8))


@pytest.mark.parametrize("block", [(1, 60), (70, 60), (16, 32), (70, 1), (1, 7)])
def test_scales_are_those_of_the_blocks(block: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((70, 60)).astype(np.float32)
    table = rng.random((-(-70 // block[0]), -(-60 // block[1]))).astype(np.float32)
    expected = np.array(
        [[w * table[r // block[0], c // block[1]] for c, w in enumerate(row)] for r, row in enumerate(weights)]
    )
    for first, count in ((0, 70), (5, 20), (69, 1)):
        rows = weights[first : first + count].copy()
        apply_scales(rows, table, block, first)
        assert np.array_equal(rows, expected[first : first + count])
