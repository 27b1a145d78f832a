"""Digits as a hand draws them: strokes through a few points, which tremble, lean and stretch."""

from __future__ import annotations

import math
import random

Point = tuple[float, float]

# Each form: strokes of (x, y), 0-1 from the upper left; a stroke is "~" (a curve through its points) or "-" (straight).
FORMS: dict[str, list[list[tuple[str, list[Point]]]]] = {
    "0": [[("~", [(0.5, 0.02), (0.12, 0.2), (0.05, 0.55), (0.2, 0.92), (0.55, 0.98), (0.9, 0.75), (0.95, 0.4),
                  (0.8, 0.08), (0.5, 0.02)])]],
    "1": [[("-", [(0.5, 0.02), (0.5, 0.98)])],
          [("-", [(0.22, 0.28), (0.55, 0.02), (0.55, 0.98)])],
          [("-", [(0.22, 0.25), (0.52, 0.02), (0.52, 0.98)]), ("-", [(0.2, 0.98), (0.84, 0.98)])]],
    "2": [[("~", [(0.08, 0.25), (0.3, 0.04), (0.7, 0.05), (0.88, 0.28), (0.7, 0.55), (0.35, 0.78), (0.05, 0.98)]),
           ("-", [(0.05, 0.98), (0.95, 0.98)])],
          [("~", [(0.1, 0.2), (0.45, 0.02), (0.85, 0.22), (0.6, 0.6), (0.1, 0.95), (0.25, 0.75), (0.5, 0.88),
                  (0.95, 0.95)])]],
    "3": [[("~", [(0.1, 0.12), (0.5, 0.01), (0.85, 0.2), (0.7, 0.42), (0.4, 0.47)]),
           ("~", [(0.4, 0.47), (0.8, 0.55), (0.92, 0.75), (0.6, 0.97), (0.2, 0.95), (0.05, 0.84)])],
          [("-", [(0.1, 0.03), (0.88, 0.03), (0.45, 0.4)]),
           ("~", [(0.45, 0.4), (0.82, 0.5), (0.9, 0.75), (0.55, 0.98), (0.1, 0.88)])]],
    "4": [[("-", [(0.62, 0.02), (0.05, 0.66), (0.95, 0.66)]), ("-", [(0.68, 0.3), (0.68, 0.98)])],
          [("-", [(0.18, 0.03), (0.12, 0.52), (0.9, 0.52)]), ("-", [(0.78, 0.05), (0.74, 0.98)])],
          [("-", [(0.7, 0.98), (0.7, 0.02), (0.05, 0.68), (0.98, 0.68)])]],
    "5": [[("-", [(0.88, 0.03), (0.2, 0.03), (0.15, 0.45)]),
           ("~", [(0.15, 0.45), (0.5, 0.37), (0.88, 0.55), (0.85, 0.82), (0.5, 0.98), (0.1, 0.9)])]],
    "6": [[("~", [(0.78, 0.03), (0.4, 0.18), (0.12, 0.5), (0.1, 0.8), (0.4, 0.98), (0.8, 0.9), (0.9, 0.68),
                  (0.65, 0.5), (0.3, 0.55), (0.12, 0.75)])]],
    "7": [[("-", [(0.05, 0.04), (0.92, 0.04), (0.38, 0.98)])],
          [("-", [(0.05, 0.04), (0.92, 0.04), (0.38, 0.98)]), ("-", [(0.3, 0.5), (0.85, 0.5)])],
          [("-", [(0.06, 0.2), (0.08, 0.04), (0.92, 0.05), (0.5, 0.98)])]],
    "8": [[("~", [(0.5, 0.48), (0.15, 0.28), (0.25, 0.06), (0.5, 0.01), (0.78, 0.08), (0.83, 0.28), (0.5, 0.48),
                  (0.1, 0.68), (0.12, 0.9), (0.5, 0.99), (0.88, 0.9), (0.9, 0.68), (0.5, 0.48)])],
          [("~", [(0.8, 0.12), (0.5, 0.01), (0.18, 0.16), (0.35, 0.42), (0.75, 0.6), (0.88, 0.82), (0.5, 0.99),
                  (0.12, 0.84), (0.3, 0.58), (0.7, 0.38), (0.8, 0.12)])]],
    "9": [[("~", [(0.88, 0.28), (0.6, 0.02), (0.18, 0.12), (0.1, 0.36), (0.4, 0.52), (0.8, 0.42), (0.88, 0.25)]),
           ("~", [(0.88, 0.25), (0.86, 0.6), (0.7, 0.98)])],
          [("~", [(0.85, 0.25), (0.5, 0.01), (0.15, 0.2), (0.3, 0.48), (0.7, 0.45), (0.86, 0.22), (0.88, 0.6),
                  (0.7, 0.92), (0.25, 0.96)])]],
}  # fmt: skip


def strokes(rng: random.Random, digit: str) -> list[list[Point]]:
    """The digit's lines in a square of side 1."""
    lean, turn = rng.uniform(-0.1, 0.28), math.radians(rng.uniform(-10, 10))
    wide = rng.uniform(0.5, 0.85)
    cos, sin = math.cos(turn), math.sin(turn)

    def place(p: Point) -> Point:
        x, y = (p[0] - 0.5) * wide, p[1] - 0.5
        x -= lean * y
        return x * cos - y * sin, x * sin + y * cos

    moved = {}  # strokes that share a point keep sharing it

    def tremble(p: Point) -> Point:
        if p not in moved:
            moved[p] = (p[0] + rng.gauss(0, 0.035), p[1] + rng.gauss(0, 0.03))
        return moved[p]

    lines = []
    for sort, points in rng.choice(FORMS[digit]):
        shaken = [tremble(p) for p in points]
        lines.append([place(p) for p in (curve(shaken) if sort == "~" else shaken)])
    xs, ys = [x for line in lines for x, _ in line], [y for line in lines for _, y in line]
    span = max(max(xs) - min(xs), max(ys) - min(ys))
    mid = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return [[(0.5 + (x - mid[0]) / span, 0.5 + (y - mid[1]) / span) for x, y in line] for line in lines]


def curve(points: list[Point], steps: int = 6) -> list[Point]:
    """A Catmull-Rom curve through the points.

    >>> curve([(0.0, 0.0), (1.0, 0.0)], steps=2)
    [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)]
    """
    padded = [points[0], *points, points[-1]]
    out: list[Point] = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        times = (i / steps for i in range(steps))
        out += [(between(a[0], b[0], c[0], d[0], t), between(a[1], b[1], c[1], d[1], t)) for t in times]
    return [*out, points[-1]]


def between(p: float, q: float, r: float, s: float, t: float) -> float:
    """From q (t = 0) to r (t = 1), as p before and s behind them bend it."""
    return 0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
