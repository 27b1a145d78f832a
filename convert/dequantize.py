"""The bytes of a checkpoint's rows to float32, exactly: bf16, f16, f32, float8 and int8 all fit, and so do products of
an 8-bit number with a scale of bf16 (at most 4 + 8 significant bits).
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quant.errors import CheckpointError


def to_float32(data: bytes, dtype: str) -> NDArray[np.float32]:
    """data: little-endian numbers of a safetensors `dtype` -> (n,). CheckpointError for a dtype that is not read.

    >>> to_float32(bytes([0x80, 0x3F, 0x00, 0xC0]), "BF16").tolist()
    [1.0, -2.0]
    """
    try:
        return _READERS[dtype](data)
    except KeyError:
        raise CheckpointError(f"numbers of the type {dtype} cannot be read") from None


def apply_scales(
    rows: NDArray[np.float32], scales: NDArray[np.float32], block: tuple[int, int], first_row: int
) -> None:
    """Multiply in place. rows: (n, columns), the matrix's from `first_row` on; scales: (row blocks, column blocks).

    >>> rows = np.ones((3, 4), np.float32)
    >>> apply_scales(rows, np.array([[1, 2], [3, 4]], np.float32), (2, 2), 1)
    >>> rows.tolist()
    [[1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 4.0, 4.0]]
    """
    n, columns = rows.shape
    of_rows = scales[np.arange(first_row, first_row + n) // block[0]]  # (n, column blocks)
    if of_rows.shape[1] > 1:
        of_rows = np.repeat(of_rows, block[1], axis=1)[:, :columns]  # (n, columns)
    with np.errstate(all="ignore"):  # what is no number is found, and its tensor named, when it is quantized
        rows *= of_rows


def _bf16(data: bytes) -> NDArray[np.float32]:
    """A bfloat16 is the upper half of a float32."""
    halves = np.frombuffer(data, "<u2").astype(np.uint32)
    halves <<= 16
    return halves.view(np.float32)


def _f16(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f2").astype(np.float32)


def _f32(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def _f8(data: bytes) -> NDArray[np.float32]:
    return float8_values()[np.frombuffer(data, np.uint8)]


def _i8(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, np.int8).astype(np.float32)


@functools.cache
def float8_values() -> NDArray[np.float32]:
    """The value of each float8_e4m3fn: sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities. (256,)

    >>> float8_values()[[0x00, 0x01, 0x38, 0xC0, 0x7E, 0x7F]].tolist()
    [0.0, 0.001953125, 1.0, -2.0, 448.0, nan]
    """
    bits = np.arange(256)
    exponent, mantissa = bits >> 3 & 15, bits & 7
    values = np.where(exponent > 0, np.ldexp(8 + mantissa, exponent - 10), np.ldexp(mantissa, -9))
    values = np.where(bits & 127 == 127, np.nan, values)
    return np.where(bits & 128, -values, values).astype(np.float32)


_READERS: dict[str, Callable[[bytes], NDArray[np.float32]]] = {
    "BF16": _bf16,
    "F16": _f16,
    "F32": _f32,
    "F8_E4M3": _f8,
    "I8": _i8,
}
