"""The bytes of a checkpoint's rows to float32, exactly: bf16, f16 and f32 all fit."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quant.errors import CheckpointError


def to_float32(data: bytes, dtype: str) -> NDArray[np.float32]:
    """data: little-endian numbers of a safetensors `dtype` -> (n,). CheckpointError for a dtype that is no float.

    >>> to_float32(bytes([0x80, 0x3F, 0x00, 0xC0]), "BF16").tolist()
    [1.0, -2.0]
    """
    try:
        return _READERS[dtype](data)
    except KeyError:
        raise CheckpointError(f"numbers of the type {dtype} cannot be read") from None


def _bf16(data: bytes) -> NDArray[np.float32]:
    """A bfloat16 is the upper half of a float32."""
    halves = np.frombuffer(data, "<u2").astype(np.uint32)
    halves <<= 16
    return halves.view(np.float32)


def _f16(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f2").astype(np.float32)


def _f32(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


_READERS: dict[str, Callable[[bytes], NDArray[np.float32]]] = {"BF16": _bf16, "F16": _f16, "F32": _f32}
