"""Rows of weights to the bytes of blocks, and back.

    make_quantizer   for a whole conversion: with the compiled kernels once they are ready, with ggml's until then
    quantize         one chunk of rows with ggml's kernels
    dequantize       blocks to float32, as the engine reads them
    pack_q8_0        int8 weights to Q8_0 blocks, code by code

The bytes do not depend on the kernels that made them, unless the fine search is asked for. Weights come as float32, or
as the bits of bfloat16 in a uint16 array. All of it may be called by many threads at once and lets them run side by
side: the work is done by C, compiled code and numpy, which release the interpreter's lock.
"""

import math
import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from quant import fast, ggml
from quant.errors import QuantError, UsageError
from quant.types import QuantType, by_name

Rows = NDArray[np.float32] | NDArray[np.uint16]
SEARCHES = ("standard", "fine")

_PIECE = 1 << 16  # weights made float32 and quantized at a time: with their blocks they stay in a core's cache
_LARGEST_SQUARABLE = 2.0**55  # its square, times 256, is a finite float32


class Quantizer:
    """Rows to blocks for one conversion. Made by `make_quantizer`."""

    def __init__(self, kernels: fast.FastKernels | None, fine: bool = False) -> None:
        self._kernels = kernels
        self._fine = fine

    @property
    def is_fast(self) -> bool:
        """Whether the compiled kernels are at work by now."""
        return self._kernels is not None and self._kernels.ready

    def settle(self) -> None:
        """Wait for the kernels where that is worth it: they have only to be loaded, or no others will do.

        To be called before the first `quantize`. UsageError if the fine search is not to be had.
        """
        if self._kernels is not None and (self._fine or self._kernels.compiled):
            self._kernels.wait()
        if self._fine and not self.is_fast:
            raise UsageError("the fine search needs numba, which does not work here: pip install -U 'minichat[fast]'")

    def quantize(self, rows: Rows, kind: QuantType, tensor: str) -> NDArray[np.uint8]:
        """Blocks of whole rows. rows: (n, columns) or (columns,), float32 or bits of bfloat16 -> (bytes,).

        QuantError, naming `tensor`, if rows do not fill blocks of `kind`, or if a weight is NaN or infinite, or too
        large for the float16 scales of `kind`.
        """
        return _quantize(rows, kind, tensor, self._kernels)


def make_quantizer(n_weights: int, search: str = "standard") -> Quantizer:
    """A quantizer for a conversion with `n_weights` weights of Q4_K, Q5_K and Q6_K in all.

    If they are many, and numba is installed, the compiled kernels are made ready in the background, from now on.
    search: "standard" for ggml's bytes; "fine" for Q4_K with less error than ggml's, which only the compiled kernels
    make. UsageError if numba is not there for that, or for a `search` that there is not.
    """
    if search not in SEARCHES:
        raise UsageError(f"unknown search {search!r}: choose one of {', '.join(SEARCHES)}")
    if search == "fine":
        if not fast.installed():
            raise UsageError("the fine search needs numba: pip install 'minichat[fast]'")
        return Quantizer(fast.FastKernels(fine=True), fine=True)
    if fast.installed() and fast.pays(n_weights, _usable_cores()):
        return Quantizer(fast.FastKernels())
    return Quantizer(None)


def fast_kernels_installed() -> bool:
    """Whether numba is there, which is not imported for that."""
    return fast.installed()


def quantize(rows: Rows, kind: QuantType, tensor: str) -> NDArray[np.uint8]:
    """`Quantizer.quantize` with ggml's kernels."""
    return _quantize(rows, kind, tensor, None)


def dequantize(blocks: NDArray[np.uint8], kind: QuantType) -> NDArray[np.float32]:
    """The weights that the engine sees: (bytes,), whole blocks -> (n,). QuantError for a type that ggml cannot read.

    >>> dequantize(quantize(np.float32([1, -2]), by_name("bf16"), "w"), by_name("bf16")).tolist()
    [1.0, -2.0]
    """
    n_blocks, rest = divmod(blocks.size, kind.block_bytes)
    if rest:
        raise QuantError(f"{blocks.size} bytes are no whole blocks of {kind.block_bytes} ({kind.name})")
    blocks = np.ascontiguousarray(blocks).reshape(-1)
    if kind.name == "f32":
        own: NDArray[np.float32] = blocks.view(np.float32).copy()  # the caller's, as for all other types
        return own
    weights = np.empty(n_blocks * kind.block_weights, np.float32)
    ggml.dequantize(blocks, kind, weights)
    return weights


def pack_q8_0(codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Weights that are int8 already, as Q8_0 blocks: codes (rows, columns), scales (rows,) -> (bytes,).

    Nothing is lost where the scales are float16 numbers, as those of bfloat16 are in their range; others are rounded
    to such, by 0.05% at most, a tenth of what quantizing again would cost. None where a scale is out of the range of
    float16's normal numbers, or rows do not fill blocks of 32.

        block of 34 bytes: | scale f16 | 32 codes |
    """
    kind = by_name("q8_0")
    n_rows, columns = codes.shape
    with np.errstate(over="ignore", invalid="ignore"):
        halves = scales.astype(np.float16)
        size = abs(halves)
        fits = np.isfinite(halves) & ((size >= np.finfo(np.float16).smallest_normal) | (scales == 0))
    if columns % kind.block_weights or not fits.all():
        return None
    blocks = np.empty((n_rows, columns // kind.block_weights, kind.block_bytes), np.uint8)
    blocks[:, :, :2] = halves.astype("<f2").view(np.uint8).reshape(n_rows, 1, 2)
    blocks[:, :, 2:] = codes.view(np.uint8).reshape(n_rows, -1, kind.block_weights)
    return blocks.reshape(-1)


def _quantize(rows: Rows, kind: QuantType, tensor: str, kernels: fast.FastKernels | None) -> NDArray[np.uint8]:
    columns = rows.shape[-1]
    if columns % kind.block_weights:
        raise QuantError(
            f"{tensor}: rows of {columns} weights do not fill blocks of {kind.block_weights} ({kind.name})"
        )
    flat = cast("Rows", np.ascontiguousarray(rows).reshape(-1))  # (n,)
    if not flat.size:
        return np.empty(0, np.uint8)
    _check_weights(flat, kind, tensor)
    if kind.name == ("bf16" if flat.dtype == np.uint16 else "f32"):
        return flat.view(np.uint8)
    if kind.name == "f32":
        return _Widener(flat.size).widen(flat).view(np.uint8)
    kernel = kernels.get(kind.name) if kernels is not None else None
    widener = _Widener(min(flat.size, _PIECE))
    blocks = np.empty(kind.nbytes(flat.size), np.uint8)
    for first in range(0, flat.size, _PIECE):
        weights = widener.widen(flat[first : first + _PIECE])
        made = blocks[kind.nbytes(first) : kind.nbytes(first + weights.size)]
        if kernel is not None:
            kernel(weights, made)
        else:
            ggml.quantize(weights, kind, made)
    _check_scales(blocks, kind, tensor)
    return blocks


class _Widener:
    """Weights to float32, in one array that is used again: aligned and writable, as compiled kernels want theirs."""

    def __init__(self, size: int) -> None:
        self._weights = np.empty(size, np.float32)
        self._bits = self._weights.view(np.uint32)

    def widen(self, weights: Rows) -> NDArray[np.float32]:
        """weights: (n,), all float32 or all bits of bfloat16 -> (n,), good until the next call."""
        n = weights.size
        if weights.dtype == np.uint16:
            self._bits[:n] = weights
            self._bits[:n] <<= 16
        else:
            self._weights[:n] = weights
        return self._weights[:n]


def _check_weights(weights: Rows, kind: QuantType, tensor: str) -> None:
    """weights: (n,)"""
    if weights.dtype == np.uint16:
        # A bfloat16 without its sign grows as its bits do; infinity is 0x7F80, and NaNs are beyond.
        size = max(int(weights.max()) & 0x7FFF, int(weights.view(np.int16).max()))
        largest = float(np.array([size << 16], np.uint32).view(np.float32)[0])
    else:
        with np.errstate(invalid="ignore"):
            # Both pass NaN on, and need no array of flags.
            low, high = float(weights.min()), float(weights.max())
        largest = math.nan if math.isnan(low) or math.isnan(high) else max(-low, high)
    if not math.isfinite(largest):
        bad = "NaN" if math.isnan(largest) else "infinite"
        raise QuantError(f"{tensor} holds {bad} weights: the checkpoint is damaged")
    # Beyond this a quantizer's sums of squares overflow, and Q6_K makes zeros of the block without a word.
    if kind.scale_offsets and largest > _LARGEST_SQUARABLE:
        raise QuantError(_too_large(tensor, kind))


def _check_scales(blocks: NDArray[np.uint8], kind: QuantType, tensor: str) -> None:
    table = blocks.reshape(-1, kind.block_bytes)  # (blocks, block_bytes)
    for offset in kind.scale_offsets:
        # A float16 whose five exponent bits are all set is infinite or NaN; they stand in its upper byte.
        if ((table[:, offset + 1] & 0x7C) == 0x7C).any():
            raise QuantError(_too_large(tensor, kind))


def _too_large(tensor: str, kind: QuantType) -> str:
    return f"{tensor} holds weights too large for {kind.name}: convert to bf16 or f32"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
