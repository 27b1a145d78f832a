import numpy as np
import pytest

from convert.dequantize import to_float32
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
    with pytest.raises(CheckpointError, match="type I8"):
        to_float32(b"", "I8")
