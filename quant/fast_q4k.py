"""Q4_K and Q5_K blocks, 64 sub-blocks at a time: the bytes that ggml's `quantize_row_q4_K_ref` and `…q5_K_ref` make.

A block holds 256 weights as eight sub-blocks of 32, each with a scale s and a minimum m of 6 bits:

    weight = d * s * code - dmin * m            codes 0..15 (Q4_K) or 0..31 (Q5_K)

    Q4_K  0        2        4              16                        144
          | d f16  | dmin   | s, m: 12     | codes: 128              |
    Q5_K  0        2        4              16             48         176
          | d f16  | dmin   | s, m: 12     | fifth bits   | codes    |

    s, m, for j = 0..3             bits 7 6      5 4      3 2 1 0
        byte j                     [ s(j+4) 5:4 | s(j) 5:0        ]
        byte 4 + j                 [ m(j+4) 5:4 | m(j) 5:0        ]
        byte 8 + j                 [ m(j+4) 3:0      | s(j+4) 3:0 ]
    codes, for j = 0..3, i = 0..31
        byte 32 j + i              [ code i of sub-block 2 j + 1 | code i of sub-block 2 j ], four bits each
    fifth bits, i = 0..31
        byte i                     bit j: the fifth bit of code i of sub-block j

The search: weigh each weight by |x| plus the root mean square of its sub-block; begin with the line from the minimum
to the maximum; then, for some more inverse scales near to it, round, fit scale and minimum to the codes by weighted
least squares, and keep the fit if its error is lower. Where rounding the scales to 6 bits changed them, round again.
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

SIZE = 32  # weights in a sub-block
_N = F(SIZE)
TOP4, _TOP5, TOP_SCALE = F(15), F(31), F(63)
_LARGEST, _NAN = np.finfo(F).max, F(np.nan)
Q4_BYTES, _Q5_BYTES = 144, 176

# How many steps of code lie between minimum and maximum, in each trial of the search; ggml's numbers.
TRIALS4 = np.array([F(F(-1) + F(F(0.1) * F(i))) + TOP4 for i in range(21)], F)
_TRIALS5 = np.array([F(F(-0.5) + F(F(0.1) * F(i))) + _TOP5 for i in range(16)], F)

# Rows of the state of a search, LANES numbers each.
MIN, MAX, SUM_W, SUM_WX, ERROR, SCALE, INVERSE, OFFSET = (i * LANES for i in range(8))
# MIN      the minimum, at most 0; from the first better fit on, the fitted one
# INVERSE  1 / scale of the codes, OFFSET the minimum that they were rounded with
READ_SCALE, READ_MIN = SUM_W, SUM_WX  # once the search is over: as the block will be read


def quantize_q4k(weights: Any, blocks: Any) -> None:
    """weights: (n,) float32, n a multiple of 256 -> blocks: (n / 256 * 144,) uint8, filled."""
    _quantize(weights, blocks, TRIALS4, TOP4, Q4_BYTES)


def quantize_q5k(weights: Any, blocks: Any) -> None:
    """weights: (n,) float32, n a multiple of 256 -> blocks: (n / 256 * 176,) uint8, filled."""
    _quantize(weights, blocks, _TRIALS5, _TOP5, _Q5_BYTES)


@kernel
def _quantize(weights: Any, blocks: Any, trials: Any, top: Any, block_bytes: Any) -> None:
    group = np.zeros(LANES * SIZE, np.float32)
    x = np.empty(SIZE * LANES, np.float32)
    w = np.empty(SIZE * LANES, np.float32)
    state = np.empty(8 * LANES, np.float32)
    codes = np.empty(SUPER_BLOCK, np.uint8)
    made = np.empty(group.size // SUPER_BLOCK * block_bytes, np.uint8)
    for first in range(0, weights.size, group.size):
        count = take(weights, first, group)
        transpose(group, x, SIZE)
        begin(x, w, state, top)
        for trial in range(trials.size):
            attempt(x, w, state, trials[trial], top)
        _finish(group, state, codes, made, top, block_bytes)
        at = first // SUPER_BLOCK * block_bytes
        for i in range(count // SUPER_BLOCK * block_bytes):
            blocks[at + i] = made[i]


@part
def _code(inverse: Any, above: Any, top: Any) -> Any:
    """The code, 0..top, of a weight that lies `above` the minimum. A NaN becomes 0, as in ggml."""
    return max(ZERO, min(nearest(inverse * above), top))  # in this order, for NaN


@part
def _usable(inverse: Any) -> Any:
    """NaN for infinity, of a range too small to divide by: with it all codes become 0, as with infinity in ggml."""
    return inverse if inverse <= _LARGEST else _NAN


@part
def _add_sums(x: Any, w: Any, i: Any, k: Any, inverse: Any, low: Any, top: Any, sums: Any) -> Any:
    """Adds weight i of lane k to the sums of w * code, w * code**2, w * code * x."""
    value = x[i * LANES + k]
    code = _code(inverse, value - low, top)
    weighted = w[i * LANES + k] * code
    return sums[0] + weighted, sums[1] + weighted * code, sums[2] + weighted * value


@part
def _add_error(
    x: Any, w: Any, i: Any, k: Any, inverse: Any, low: Any, top: Any, scale: Any, offset: Any, e: Any
) -> Any:
    value = x[i * LANES + k]
    difference = scale * _code(inverse, value - low, top) + offset - value
    return e + w[i * LANES + k] * (difference * difference)


# Written out eight by eight: a loop over i inside the one over lanes is not unrolled, and then nothing vectorizes.


@part
def _sums8(x: Any, w: Any, i: Any, k: Any, inverse: Any, low: Any, top: Any, sums: Any) -> Any:
    sums = _add_sums(x, w, i, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 1, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 2, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 3, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 4, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 5, k, inverse, low, top, sums)
    sums = _add_sums(x, w, i + 6, k, inverse, low, top, sums)
    return _add_sums(x, w, i + 7, k, inverse, low, top, sums)


@part
def code_sums(x: Any, w: Any, k: Any, inverse: Any, low: Any, top: Any) -> Any:
    """Over lane k: the sums of w * code, w * code**2, w * code * x."""
    sums = _sums8(x, w, 0, k, inverse, low, top, (ZERO, ZERO, ZERO))
    sums = _sums8(x, w, 8, k, inverse, low, top, sums)
    sums = _sums8(x, w, 16, k, inverse, low, top, sums)
    return _sums8(x, w, 24, k, inverse, low, top, sums)


@part
def _error8(x: Any, w: Any, i: Any, k: Any, inverse: Any, low: Any, top: Any, scale: Any, offset: Any, e: Any) -> Any:
    e = _add_error(x, w, i, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 1, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 2, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 3, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 4, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 5, k, inverse, low, top, scale, offset, e)
    e = _add_error(x, w, i + 6, k, inverse, low, top, scale, offset, e)
    return _add_error(x, w, i + 7, k, inverse, low, top, scale, offset, e)


@part
def _error(x: Any, w: Any, k: Any, inverse: Any, low: Any, top: Any, scale: Any, offset: Any) -> Any:
    """Over lane k: the weighted sum of squares of scale * code + offset - x."""
    e = _error8(x, w, 0, k, inverse, low, top, scale, offset, ZERO)
    e = _error8(x, w, 8, k, inverse, low, top, scale, offset, e)
    e = _error8(x, w, 16, k, inverse, low, top, scale, offset, e)
    return _error8(x, w, 24, k, inverse, low, top, scale, offset, e)


@kernel
def begin(x: Any, w: Any, state: Any, top: Any) -> None:
    """Range, weights `w` and their sums of each lane, and the first fit: the line from minimum to maximum."""
    for k in range(LANES):
        low = high = x[k]
        squares = ZERO
        for i in range(SIZE):
            value = x[i * LANES + k]
            squares = squares + value * value
            low = min(low, value)
            high = max(high, value)
        state[MIN + k] = min(low, ZERO)
        state[MAX + k] = high
        state[ERROR + k] = np.sqrt(squares / _N)  # for the next loop only
    for i in range(SIZE):
        for k in range(LANES):
            w[i * LANES + k] = state[ERROR + k] + abs(x[i * LANES + k])
    for k in range(LANES):
        sum_w = sum_wx = ZERO
        for i in range(SIZE):
            weight = w[i * LANES + k]
            sum_w = sum_w + weight
            sum_wx = sum_wx + weight * x[i * LANES + k]
        state[SUM_W + k] = sum_w
        state[SUM_WX + k] = sum_wx
        inverse = top / (state[MAX + k] - state[MIN + k])
        state[SCALE + k] = ONE / inverse
        state[INVERSE + k] = _usable(inverse)
        state[OFFSET + k] = state[MIN + k]
    for k in range(LANES):
        low = state[MIN + k]
        state[ERROR + k] = _error(x, w, k, state[INVERSE + k], low, top, state[SCALE + k], low)


@kernel
def attempt(x: Any, w: Any, state: Any, steps: Any, top: Any) -> None:
    """One more inverse scale: `steps` over the range. Rows of `state` get its fit in the lanes where that is better."""
    for k in range(LANES):
        low, high = state[MIN + k], state[MAX + k]
        sum_w, sum_x = state[SUM_W + k], state[SUM_WX + k]
        best, best_scale = state[ERROR + k], state[SCALE + k]
        best_inverse, best_offset = state[INVERSE + k], state[OFFSET + k]
        inverse = _usable(steps / (high - low))
        sum_l, sum_l2, sum_xl = code_sums(x, w, k, inverse, low, top)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        without_offset = sum_xl / sum_l2
        positive = offset > ZERO
        scale = without_offset if positive else scale
        offset = ZERO if positive else offset
        error = _error(x, w, k, inverse, low, top, scale, offset)
        better = (determinant > ZERO) & (error < best)
        state[ERROR + k] = error if better else best
        state[SCALE + k] = scale if better else best_scale
        state[MIN + k] = offset if better else low
        state[INVERSE + k] = inverse if better else best_inverse
        state[OFFSET + k] = low if better else best_offset


@kernel
def _finish(group: Any, state: Any, codes: Any, blocks: Any, top: Any, block_bytes: Any) -> None:
    """The blocks of a group."""
    for b in range(LANES // 8):  # numbers that LLVM sees to be positive need no test for an index from the end
        if block_bytes == Q4_BYTES:
            _finish_block(group, state, codes, blocks, b, b * Q4_BYTES, top)
            put_codes(codes, blocks, b * Q4_BYTES + 16)
        else:
            _finish_block(group, state, codes, blocks, b, b * _Q5_BYTES, top)
            _put_fifth_bits(codes, blocks, b * _Q5_BYTES + 16)
            put_codes(codes, blocks, b * _Q5_BYTES + 48)


@copied
def _finish_block(group: Any, state: Any, codes: Any, blocks: Any, b: Any, at: Any, top: Any) -> None:
    """Block b of a group: scales and minima to 6 bits and to bytes, weights to codes."""
    largest_scale = largest_min = ZERO
    for k in range(8 * b, 8 * b + 8):
        if state[MIN + k] == state[MAX + k]:  # all weights are one number that is not positive
            state[SCALE + k] = ZERO
        largest_scale = max(largest_scale, state[SCALE + k])
        largest_min = max(largest_min, -state[MIN + k])
    d_bits, dmin_bits = half_bits(largest_scale / TOP_SCALE), half_bits(largest_min / TOP_SCALE)
    put_half(blocks, at, d_bits)
    put_half(blocks, at + 2, dmin_bits)
    d, dmin = half_value(d_bits), half_value(dmin_bits)
    per_scale = _usable(TOP_SCALE / largest_scale) if largest_scale > ZERO else ZERO
    per_min = _usable(TOP_SCALE / largest_min) if largest_min > ZERO else ZERO
    for j in range(8):
        k = 8 * b + j
        s = np.int64(_code(per_scale, state[SCALE + k], TOP_SCALE))
        m = np.int64(_code(per_min, -state[MIN + k], TOP_SCALE))
        put_scale(blocks, at + 4, j, s, m)
        state[READ_SCALE + k], state[READ_MIN + k] = d * F(s), dmin * F(m)
    for j in range(8):
        _round(group, state, codes, 8 * b + j, j, top)
        _mend(group, state, codes, 8 * b + j, j, top)


@copied
def put_scale(blocks: Any, at: Any, j: Any, s: Any, m: Any) -> None:
    """Sub-block j's six bits each of s and m into the twelve bytes from `at` on; j rises from call to call."""
    if j < 4:
        blocks[at + j] = s
        blocks[at + 4 + j] = m
    else:
        blocks[at + j - 4] |= (s >> 4) << 6
        blocks[at + j] |= (m >> 4) << 6
        blocks[at + 4 + j] = (s & 15) | ((m & 15) << 4)


@copied
def _round(group: Any, state: Any, codes: Any, k: Any, j: Any, top: Any) -> None:
    """Codes of lane k, which is sub-block j, for the scale and the minimum that its block will be read with."""
    scale, low = state[READ_SCALE + k], state[READ_MIN + k]
    for i in range(SIZE):
        code = nearest((group[k * SIZE + i] + low) / scale)
        codes[j * SIZE + i] = np.uint8(np.int32(max(min(code, top), ZERO)))


@copied
def _mend(group: Any, state: Any, codes: Any, k: Any, j: Any, top: Any) -> None:
    """The rare sub-block whose scale is 0. It stands apart, or the loop of the others does not vectorize."""
    if state[READ_SCALE + k] == ZERO:
        inverse, offset = state[INVERSE + k], state[OFFSET + k]
        is_flat = state[MIN + k] == state[MAX + k]
        for i in range(SIZE):  # a scale too small for 6 bits keeps the codes that the search found, times 0 though
            code = ZERO if is_flat else _code(inverse, group[k * SIZE + i] - offset, top)
            codes[j * SIZE + i] = np.uint8(np.int32(code))


@copied
def put_codes(codes: Any, blocks: Any, at: Any) -> None:
    for j in range(4):
        for i in range(SIZE):
            blocks[at + j * SIZE + i] = (codes[2 * j * SIZE + i] & 15) | ((codes[(2 * j + 1) * SIZE + i] & 15) << 4)


@copied
def _put_fifth_bits(codes: Any, blocks: Any, at: Any) -> None:
    for i in range(SIZE):
        bits = 0
        for j in range(8):
            bits |= (codes[j * SIZE + i] >> 4) << j
        blocks[at + i] = bits
