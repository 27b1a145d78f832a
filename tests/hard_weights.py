"""Weights that reach the corners of a quantizer's search."""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]


def samples() -> dict[str, Weights]:
    """By name: (n,), whole blocks."""
    rng = np.random.default_rng(11)
    n = 70 * 256  # two groups of Q4_K and a bit, four of Q6_K and a bit
    normal = rng.standard_normal(n).astype(np.float32)
    bits = rng.integers(0, 1 << 32, n, dtype=np.uint32)
    wild = (bits & 0x807FFFFF | rng.integers(1, 142, n).astype(np.uint32) << 23).view(np.float32)
    per_block = np.exp2(rng.uniform(-36, 16, (n // 256, 1))).astype(np.float32)
    per_part = np.exp2(rng.uniform(-24, 4, (n // 16, 1))).astype(np.float32)
    return {
        "normal": normal,
        "student": rng.standard_t(3, n).astype(np.float32),
        "outliers": np.where(rng.random(n) < 0.002, normal * 200, normal * np.float32(0.01)).astype(np.float32),
        "positive": abs(normal),
        "negative": -abs(normal),
        "constant": np.full(n, 0.37, np.float32),
        "constant below zero": np.full(n, -0.37, np.float32),
        "two numbers": np.where(normal > 0.5, 0.25, -1).astype(np.float32),
        "few numbers": (rng.integers(-8, 8, n) / 8).astype(np.float32),
        "zero": np.zeros(n, np.float32),
        "minus zero": np.full(n, -0.0, np.float32),
        "sparse": normal * (rng.random(n) < 0.02),
        "sub-blocks of zeros": (normal.reshape(-1, 16) * (rng.random((n // 16, 1)) < 0.5)).astype(np.float32).ravel(),
        "sub-blocks of all sizes": (normal.reshape(-1, 16) * per_part).ravel(),
        "every size of scale": (-np.ones((n // 256, 256), np.float32) * per_block).ravel(),
        "tiny": normal * np.float32(1e-30),
        "denormal": normal * np.float32(1e-41),
        "denormal halves": normal * np.float32(1e-6),
        "large": normal * np.float32(1e5),
        "every exponent": wild,
    }
