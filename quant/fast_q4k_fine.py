"""Q4_K blocks with less error than ggml's, in the same format: the search goes on where scales have but 6 bits.

ggml fits a scale and a minimum to each sub-block as if they were kept as they are, and rounds both to 6 bits at the
end. Here that is the beginning (a third of its trials), and gives the block's d and dmin. Then every sub-block looks
among the pairs (s, m) that can be written, s and m = 0..63: take the codes that some pair makes, and keep, of the
scales next to it, each with the best minimum for these codes, the pair of the least weighted error. The pairs that
make the codes are the present best one, and those whose s is up to 6 away from the first.

The layout and the weights of the fit are those of `quant.fast_q4k`.
"""

from typing import Any

import numpy as np

from quant.fast_q4k import (
    MAX,
    MIN,
    Q4_BYTES,
    SCALE,
    SIZE,
    SUM_W,
    SUM_WX,
    TOP4,
    TOP_SCALE,
    TRIALS4,
    attempt,
    begin,
    code_sums,
    put_codes,
    put_scale,
)
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

_TRIALS = TRIALS4[::3].copy()
_AWAY = np.array([-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6], F)

# Rows of the grid, LANES numbers each: the block's d and dmin, the best pair and its error, the first pair.
_D, _DMIN, _S, _M, _LEAST, _FIRST_S, _FIRST_M = (i * LANES for i in range(7))


def quantize_q4k_fine(weights: Any, blocks: Any) -> None:
    """weights: (n,) float32, n a multiple of 256 -> blocks: (n / 256 * 144,) uint8, filled."""
    _quantize(weights, blocks, _TRIALS, _AWAY)


@kernel
def _quantize(weights: Any, blocks: Any, trials: Any, away: Any) -> None:
    group = np.zeros(LANES * SIZE, np.float32)
    x = np.empty(SIZE * LANES, np.float32)
    w = np.empty(SIZE * LANES, np.float32)
    state = np.empty(8 * LANES, np.float32)
    grid = np.empty(7 * LANES, np.float32)
    codes = np.empty(SUPER_BLOCK, np.uint8)
    made = np.empty(group.size // SUPER_BLOCK * Q4_BYTES, np.uint8)
    for first in range(0, weights.size, group.size):
        count = take(weights, first, group)
        transpose(group, x, SIZE)
        begin(x, w, state, TOP4)
        for trial in range(trials.size):
            attempt(x, w, state, trials[trial], TOP4)
        _to_grid(state, grid)
        _refine(x, w, state, grid, _S, _M, ZERO)
        for i in range(away.size):
            _refine(x, w, state, grid, _FIRST_S, _FIRST_M, away[i])
        _refine(x, w, state, grid, _S, _M, ZERO)
        _write(group, grid, codes, made)
        at = first // SUPER_BLOCK * Q4_BYTES
        for i in range(count // SUPER_BLOCK * Q4_BYTES):
            blocks[at + i] = made[i]


@part
def _six_bits(value: Any) -> Any:
    """The nearest of 0..63, as a float32; 0 for NaN."""
    return max(ZERO, min(nearest(value), TOP_SCALE))


@kernel
def _to_grid(state: Any, grid: Any) -> None:
    """d and dmin of each block, from its largest scale and minimum, and each lane's first pair."""
    for b in range(LANES // 8):
        largest_scale = largest_min = ZERO
        for k in range(8 * b, 8 * b + 8):
            if state[MIN + k] == state[MAX + k]:  # all weights are one number that is not positive
                state[SCALE + k] = ZERO
            largest_scale = max(largest_scale, state[SCALE + k])
            largest_min = max(largest_min, -state[MIN + k])
        d = half_value(half_bits(largest_scale / TOP_SCALE))
        dmin = half_value(half_bits(largest_min / TOP_SCALE))
        for k in range(8 * b, 8 * b + 8):
            grid[_D + k] = d
            grid[_DMIN + k] = dmin
            grid[_S + k] = grid[_FIRST_S + k] = _six_bits(state[SCALE + k] / d)
            grid[_M + k] = grid[_FIRST_M + k] = _six_bits(-state[MIN + k] / dmin)
            grid[_LEAST + k] = F(np.inf)


@kernel
def _refine(x: Any, w: Any, state: Any, grid: Any, s_row: Any, m_row: Any, away: Any) -> None:
    """Codes from the pair in two rows of the grid, its s moved by `away`; the best pair for them, if it is the best."""
    for k in range(LANES):
        d, dmin = grid[_D + k], grid[_DMIN + k]
        s = grid[s_row + k] + away
        sums = code_sums(x, w, k, ONE / (d * s), -dmin * grid[m_row + k], TOP4)
        sum_w, sum_x = state[SUM_W + k], state[SUM_WX + k]
        best = grid[_LEAST + k], grid[_S + k], grid[_M + k]
        best = _better(s, d, dmin, sums, sum_w, sum_x, best)
        best = _better(s - ONE, d, dmin, sums, sum_w, sum_x, best)
        best = _better(s + ONE, d, dmin, sums, sum_w, sum_x, best)
        grid[_LEAST + k], grid[_S + k], grid[_M + k] = best


@part
def _better(s: Any, d: Any, dmin: Any, sums: Any, sum_w: Any, sum_x: Any, best: Any) -> Any:
    """(error, s, m) of the scale `s` with its best m for the codes behind `sums`, or `best`, whose error is no larger.

    The error lacks the sum of w * x**2, which is the same for all pairs.
    """
    sum_l, sum_l2, sum_xl = sums
    scale = d * s
    m = _six_bits((scale * sum_l - sum_x) / (sum_w * dmin))
    low = dmin * m  # weight = scale * code - low
    error = scale * (scale * sum_l2 - F(2) * (low * sum_l + sum_xl)) + low * (low * sum_w + F(2) * sum_x)
    wins = (error < best[0]) & (s >= ZERO) & (s <= TOP_SCALE)
    return error if wins else best[0], s if wins else best[1], m if wins else best[2]


@kernel
def _write(group: Any, grid: Any, codes: Any, blocks: Any) -> None:
    """The blocks of a group: weights to the codes nearest to them, all of it to bytes."""
    for b in range(LANES // 8):
        _write_block(group, grid, codes, blocks, b)


@copied
def _write_block(group: Any, grid: Any, codes: Any, blocks: Any, b: Any) -> None:
    at = b * Q4_BYTES
    put_half(blocks, at, half_bits(grid[_D + 8 * b]))
    put_half(blocks, at + 2, half_bits(grid[_DMIN + 8 * b]))
    for j in range(8):
        k = 8 * b + j
        put_scale(blocks, at + 4, j, np.int64(grid[_S + k]), np.int64(grid[_M + k]))
        scale, low = grid[_D + k] * grid[_S + k], grid[_DMIN + k] * grid[_M + k]
        for i in range(SIZE):
            code = nearest((group[k * SIZE + i] + low) / scale) if scale != ZERO else ZERO
            codes[j * SIZE + i] = np.uint8(np.int32(max(ZERO, min(code, TOP4))))
    put_codes(codes, blocks, at + 16)
