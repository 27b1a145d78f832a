"""What the compiled kernels share: many sub-blocks side by side, and arithmetic that rounds as ggml's does.

A kernel works on `LANES` sub-blocks at once. Their weights are transposed, so that weight i of all sub-blocks stands
together, and each step of the search runs over the lanes with vector instructions (a *lane* is a sub-block):

    weights  [k * size + i]   as in the file: sub-block k, weight i
    table    [i * LANES + k]  as the search reads them

Arrays are flat and strides constant, all literals are float32, `min` and `max` are the builtins, and divisions do not
raise: with anything else LLVM leaves the loops scalar. Sums run in ggml's order, and no product is contracted into a
sum (so no `fastmath`), for either would change the bytes.
"""

from typing import Any

import numpy as np
from numba import njit

F = np.float32
LANES = 64
SUPER_BLOCK = 256  # weights in a block of a K type
ZERO, ONE = F(0), F(1)
_MAGIC = F(12582912)  # 1.5 * 2**23: a float32 of this size has no room for a fraction
_SMALLEST_SUBNORMAL_HALF = F(2.0**-24)

# Small parts are inlined into their callers, so that loops over them vectorize.
part = njit(error_model="numpy", boundscheck=False, forceinline=True)
# Parts with loops or branches over arrays are inlined before types are known: else each call counts references.
copied = njit(error_model="numpy", boundscheck=False, inline="always")
# The rest is compiled once for all its callers.
kernel = njit(error_model="numpy", boundscheck=False, nogil=True, cache=True)


@part
def nearest(value: Any) -> Any:
    """The nearest whole number, ties to even, for |value| < 2**22; still a float32."""
    return (value + _MAGIC) - _MAGIC


@part
def float_bits(value: Any) -> Any:
    return np.int64(np.float32(value).view(np.uint32))


@part
def half_bits(value: Any) -> Any:
    """float32 -> the bits of the nearest float16, ties to even; infinite from 65520 on."""
    bits = float_bits(value)
    sign = (bits >> 16) & 0x8000
    size = bits & 0x7FFFFFFF
    if size >= 0x47800000:  # 65536 and beyond, infinity, NaN
        return sign | (0x7C00 if size <= 0x7F800000 else 0x7E00)
    if size >= 0x38800000:  # a normal float16: move the exponent, drop 13 bits of fraction
        size -= 0x38000000
        return sign | ((size + 0xFFF + ((size >> 13) & 1)) >> 13)
    exponent = size >> 23
    if exponent < 102:  # below half of the smallest subnormal
        return sign
    fraction = (size & 0x7FFFFF) | 0x800000
    drop = 126 - exponent
    result = fraction >> drop
    rest = fraction & ((np.int64(1) << drop) - 1)
    half = np.int64(1) << (drop - 1)
    if rest > half or (rest == half and result & 1):
        result += 1
    return sign | result


@part
def half_value(bits: Any) -> Any:
    """The bits of a finite float16 -> float32."""
    fraction = bits & 0x3FF
    exponent = (bits >> 10) & 0x1F
    if exponent:
        value = np.uint32(((exponent + 112) << 23) | (fraction << 13)).view(np.float32)
    else:
        value = F(fraction) * _SMALLEST_SUBNORMAL_HALF
    return -value if bits & 0x8000 else value


@copied
def put_half(blocks: Any, at: Any, bits: Any) -> None:
    blocks[at] = bits & 255
    blocks[at + 1] = bits >> 8


@kernel
def transpose(weights: Any, table: Any, size: Any) -> None:
    """LANES sub-blocks of `size` weights, from their order in the file to that of the search."""
    for k in range(LANES):
        for i in range(size):
            table[i * LANES + k] = weights[k * size + i]


@kernel
def take(weights: Any, first: Any, group: Any) -> Any:
    """Copies the weights from `first` on into `group`, as many as fit or are there; how many those are.

    What the last, incomplete group does not fill keeps the numbers of the one before: its blocks are dropped.
    """
    count = min(group.size, weights.size - first)
    for i in range(count):
        group[i] = weights[first + i]
    return count
