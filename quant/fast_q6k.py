"""Q6_K blocks, 64 sub-blocks at a time: the bytes that ggml's `quantize_row_q6_K_ref` makes.

A block holds 256 weights as sixteen sub-blocks of 16, each with a signed scale s of 8 bits:

    weight = d * s * (code - 32)                codes 0..63

    0               128           192       208     210
    | low bits      | high bits   | s: 16   | d f16 |

    for each half h = 0, 1 of the block, i = 0..31; c(n) is the half's code n:
        low   byte 64 h + i         [ c(64 + i) 3:0 | c(i) 3:0      ]
        low   byte 64 h + 32 + i    [ c(96 + i) 3:0 | c(32 + i) 3:0 ]
        high  byte 32 h + i         [ c(96 + i) 5:4 | c(64 + i) 5:4 | c(32 + i) 5:4 | c(i) 5:4 ]

The search: weigh each weight by its square; put the largest at code -32 (before the shift by 32), then try some more
inverse scales near to it; a scale is fitted to the codes by weighted least squares.
"""

from typing import Any

import numpy as np

from quant.lanes import (
    LANES,
    ONE,
    SUPER_BLOCK,
    ZERO,
    F,
    copied,
    half_bits,
    half_value,
    kernel,
    nearest,
    part,
    put_half,
    take,
    transpose,
)

_SIZE = 16  # weights in a sub-block
_LOWEST, _HIGHEST, _SHIFT = F(-32), F(31), F(32)
_BLOCK_BYTES = 210
_NO_SCALE = F(1e-15)  # ggml's GROUP_MAX_EPS: sub-blocks of smaller weights are zero

# What the weight that is largest in size is multiplied to, in each trial of the search; ggml's numbers.
_TRIALS = np.array([-(_SHIFT + F(F(0.1) * F(i))) for i in range(-9, 10) if i], F)

# Rows of the state of a search, LANES numbers each.
_LARGEST, _INVERSE, _GAIN, _SCALE, _SIZE_OF_LARGEST = (i * LANES for i in range(5))
# _LARGEST  the weight largest in size, with its sign
# _GAIN     by how much the fit lowers the weighted error: (sum w x l)**2 / sum w l**2
_READ_SCALE = _GAIN  # once the search is over: as the block will be read


def quantize_q6k(weights: Any, blocks: Any) -> None:
    """weights: (n,) float32, n a multiple of 256 -> blocks: (n / 256 * 210,) uint8, filled."""
    _quantize(weights, blocks, _TRIALS)


@kernel
def _quantize(weights: Any, blocks: Any, trials: Any) -> None:
    group = np.zeros(LANES * _SIZE, np.float32)
    x = np.empty(_SIZE * LANES, np.float32)
    w = np.empty(_SIZE * LANES, np.float32)
    wx = np.empty(_SIZE * LANES, np.float32)
    state = np.empty(5 * LANES, np.float32)
    codes = np.empty(SUPER_BLOCK, np.uint8)
    made = np.empty(group.size // SUPER_BLOCK * _BLOCK_BYTES, np.uint8)
    for first in range(0, weights.size, group.size):
        count = take(weights, first, group)
        transpose(group, x, _SIZE)
        _begin(x, w, wx, state)
        for trial in range(trials.size):
            _try(x, w, wx, state, trials[trial])
        _finish(group, state, codes, made)
        at = first // SUPER_BLOCK * _BLOCK_BYTES
        for i in range(count // SUPER_BLOCK * _BLOCK_BYTES):
            blocks[at + i] = made[i]


@part
def _code(value: Any) -> Any:
    return max(min(nearest(value), _HIGHEST), _LOWEST)


@part
def _sums(x: Any, w: Any, wx: Any, k: Any, inverse: Any) -> Any:
    """Over lane k: the sums of w * x * code and w * code**2."""
    sum_xl = sum_l2 = ZERO
    for i in range(_SIZE):  # short enough to be unrolled
        code = _code(inverse * x[i * LANES + k])
        sum_xl = sum_xl + wx[i * LANES + k] * code
        sum_l2 = sum_l2 + w[i * LANES + k] * code * code
    return sum_xl, sum_l2


@kernel
def _begin(x: Any, w: Any, wx: Any, state: Any) -> None:
    """The largest weight of each lane, the weights `w` of the fit, and the first fit."""
    for k in range(LANES):
        size = largest = ZERO
        for i in range(_SIZE):
            value = x[i * LANES + k]
            largest = value if abs(value) > size else largest
            size = max(size, abs(value))
        state[_LARGEST + k] = largest
        state[_SIZE_OF_LARGEST + k] = size
        state[_INVERSE + k] = _LOWEST / largest
    for i in range(_SIZE * LANES):
        value = x[i]
        w[i] = value * value
        wx[i] = value * value * value
    for k in range(LANES):
        sum_xl, sum_l2 = _sums(x, w, wx, k, state[_INVERSE + k])
        scale = sum_xl / sum_l2
        scale = ZERO if sum_l2 == ZERO else scale
        state[_SCALE + k] = scale
        state[_GAIN + k] = scale * sum_xl


@kernel
def _try(x: Any, w: Any, wx: Any, state: Any, target: Any) -> None:
    """One more inverse scale, which makes `target` of the largest weight; kept in the lanes where that is better."""
    for k in range(LANES):
        best, best_scale, best_inverse = state[_GAIN + k], state[_SCALE + k], state[_INVERSE + k]
        inverse = target / state[_LARGEST + k]
        sum_xl, sum_l2 = _sums(x, w, wx, k, inverse)
        better = (sum_l2 > ZERO) & (sum_xl * sum_xl > best * sum_l2)
        scale = sum_xl / sum_l2
        state[_INVERSE + k] = inverse if better else best_inverse
        state[_SCALE + k] = scale if better else best_scale
        state[_GAIN + k] = scale * sum_xl if better else best


@kernel
def _finish(group: Any, state: Any, codes: Any, blocks: Any) -> None:
    """The blocks of a group."""
    for b in range(LANES // 16):  # numbers that LLVM sees to be positive need no test for an index from the end
        _finish_block(group, state, codes, blocks, b)


@copied
def _finish_block(group: Any, state: Any, codes: Any, blocks: Any, b: Any) -> None:
    """Block b of a group: scales to 8 bits, weights to codes, all of it to bytes."""
    at = b * _BLOCK_BYTES
    largest_scale = size = ZERO
    for k in range(16 * b, 16 * b + 16):
        scale = state[_SCALE + k] if state[_SIZE_OF_LARGEST + k] >= _NO_SCALE else ZERO
        state[_SCALE + k] = scale
        if abs(scale) > size:
            largest_scale, size = scale, abs(scale)
    if size < _NO_SCALE:
        blocks[at : at + _BLOCK_BYTES] = 0
        return
    per_scale = F(-128) / largest_scale
    d_bits = half_bits(ONE / per_scale)
    put_half(blocks, at + 208, d_bits)
    d = half_value(d_bits)
    for j in range(16):
        k = 16 * b + j
        s = min(nearest(per_scale * state[_SCALE + k]), F(127))
        blocks[at + 192 + j] = np.uint8(np.int32(s) & 255)
        state[_READ_SCALE + k] = d * s
    for j in range(16):
        _round(group, state, codes, 16 * b + j, j)
        _mend(group, state, codes, 16 * b + j, j)
    for half in range(2):
        _put_codes(codes, 128 * half, blocks, at + 64 * half, at + 128 + 32 * half)


@copied
def _round(group: Any, state: Any, codes: Any, k: Any, j: Any) -> None:
    """Codes of lane k, which is sub-block j, for the scale that its block will be read with."""
    scale = state[_READ_SCALE + k]
    for i in range(_SIZE):
        codes[j * _SIZE + i] = np.uint8(np.int32(_code(group[k * _SIZE + i] / scale) + _SHIFT))


@copied
def _mend(group: Any, state: Any, codes: Any, k: Any, j: Any) -> None:
    """The rare sub-block whose scale is 0. It stands apart, or the loop of the others does not vectorize."""
    if state[_READ_SCALE + k] == ZERO:
        is_zero = state[_SIZE_OF_LARGEST + k] < _NO_SCALE
        for i in range(_SIZE):  # a scale too small for 8 bits keeps the codes that the search found, times 0 though
            code = ZERO if is_zero else _code(state[_INVERSE + k] * group[k * _SIZE + i]) + _SHIFT
            codes[j * _SIZE + i] = np.uint8(np.int32(code))


@copied
def _put_codes(codes: Any, first: Any, blocks: Any, low: Any, high: Any) -> None:
    """Half a block's 128 codes from `first` on: to 64 bytes at `low` and 32 at `high`."""
    for i in range(32):
        c0, c1 = codes[first + i], codes[first + 32 + i]
        c2, c3 = codes[first + 64 + i], codes[first + 96 + i]
        blocks[low + i] = (c0 & 15) | ((c2 & 15) << 4)
        blocks[low + 32 + i] = (c1 & 15) | ((c3 & 15) << 4)
        blocks[high + i] = (c0 >> 4) | ((c1 >> 4) << 2) | ((c2 >> 4) << 4) | ((c3 >> 4) << 6)
