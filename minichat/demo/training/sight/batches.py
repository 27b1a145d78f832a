"""Batches of pictures of one size, each with a few questions asked one after the other."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..tokens import BOS, END_INST, EOS, INST, Codec, trimmed_tekken
from .model import IMG, IMG_BREAK, IMG_END, LONGEST, MEAN, MERGE, PATCH, STD, TEXT, UNIT, Cells
from .questions import Asked, ask, talk
from .scenes import COLOURS, KINDS, Scene, picture, scene

GRIDS = {(4, 4): 46, (3, 4): 16, (4, 3): 12, (2, 4): 6, (4, 2): 4, (3, 3): 5}
"""(rows, columns) of tokens, and how often."""


WIDTH = 96
"""Tokens a row: one width and few grids, because every shape is compiled anew."""


@dataclass(frozen=True)
class Batch:
    """pixels: (batch, 3, height, width), normalised, or None; index, targets: (n,), where the answers are."""

    ids: Tensor
    pixels: Tensor | None
    cells: Cells | None
    index: Tensor
    targets: Tensor


def vision_tekken() -> str:
    """The demo's vocabulary, shorter, with what tells of pictures."""
    tekken = json.loads(trimmed_tekken(TEXT.vocab))
    tekken["image"] = {"image_patch_size": PATCH, "max_image_size": LONGEST, "spatial_merge_size": MERGE}
    return json.dumps(tekken)


def picture_ids(rows: int, columns: int) -> list[int]:
    """
    >>> picture_ids(2, 3)
    [10, 10, 10, 12, 10, 10, 10, 13]
    """
    return [*(([IMG] * columns + [IMG_BREAK]) * rows)[:-1], IMG_END]


def normalised(image: Image.Image, rows: int, columns: int) -> np.ndarray:
    """As the model takes it: scaled to whole squares. -> (3, height, width)"""
    scaled = image.resize((columns * UNIT, rows * UNIT), Image.Resampling.BICUBIC)
    pixels = np.asarray(scaled, np.float32) / 255
    return ((pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1)


def size_of(rng: random.Random, rows: int, columns: int) -> tuple[float, float]:
    """Width and height, the longer 1, of a picture that is scaled to this grid."""
    if max(rows, columns) * UNIT < LONGEST:
        width, height = columns - rng.random() * 0.5, rows - rng.random() * 0.5
    else:
        width, height = columns - rng.random() * 0.95, rows - rng.random() * 0.95
        if rows < columns or (rows == columns and rng.random() < 0.5):
            width = columns
        else:
            height = rows
        if rng.random() < 0.4:
            width, height = columns, rows
    return width / max(width, height), height / max(width, height)


def cells_of(of: Scene, rows: int, columns: int) -> tuple[list[int], list[int], list[int]]:
    """What stands in each cell of the picture, row by row: its kind, its colour (0: none), how many centres."""
    kind, colour, centres = ([0] * (rows * columns) for _ in range(3))
    for row in range(rows):
        for column in range(columns):
            x, y, at = (column + 0.5) / columns * of.width, (row + 0.5) / rows * of.height, row * columns + column
            half_x, half_y = of.width / columns / 2, of.height / rows / 2
            centres[at] = sum(-half_x <= i.x - x < half_x and -half_y <= i.y - y < half_y for i in of.items)
            near = min(of.items, key=lambda i: math.hypot(i.x - x, i.y - y))
            if math.hypot(near.x - x, near.y - y) < near.r or centres[at]:
                kind[at], colour[at] = KINDS.index(near.kind) + 1, list(COLOURS).index(near.colour) + 1
    return kind, colour, [min(c, 3) for c in centres]


def rows_of(codec: Codec, first: list[int], turns: list[Asked]) -> tuple[list[int], list[int]]:
    """-> ids, and the places from which an answer's token is foretold; turns that reach past WIDTH are left out."""
    ids: list[int] = [BOS]
    places: list[int] = []
    kept: tuple[list[int], list[int]] = [], []
    for i, turn in enumerate(turns):
        ids += [INST, *(first if i == 0 else []), *codec.text(turn.question), END_INST]
        answer = [*codec.text(turn.answers[0]), EOS]
        if len(ids) + len(answer) > WIDTH:
            return kept
        places += range(len(ids) - 1, len(ids) - 1 + len(answer))
        ids += answer
        kept = list(ids), list(places)
    return kept


def joined(rows: list[tuple[list[int], list[int]]], pixels: Tensor | None, cells: Cells | None, width: int) -> Batch:
    """rows: as `rows_of` makes them; each is filled up with zeros to `width` ids."""
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    index = []
    for i, (row, places) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        index += [i * width + place for place in places]
    places = torch.tensor(index)
    return Batch(ids, pixels, cells, places, ids.flatten()[places + 1])


def batch(codec: Codec, seed: int, step: int, size: int, turns: int = 3) -> Batch:
    """The batch of a step, the same each time: `size` pictures of one grid, or, each twentieth time, talk without."""
    rng = random.Random(f"train:{seed}:{step}")
    if step % 20 == 19:
        return joined([rows_of(codec, [], [talk(rng)]) for _ in range(size)], None, None, WIDTH)
    ((rows, columns),) = rng.choices(tuple(GRIDS), tuple(GRIDS.values()))
    pixels, cells, texts = [], [], []
    for _ in range(size):
        of = scene(rng, *size_of(rng, rows, columns))
        longest = rng.choice((112, 150, 224, 224, 300)) if max(rows, columns) == 4 else UNIT * max(rows, columns)
        pixels.append(normalised(picture(rng, of, longest), rows, columns))
        cells.append(cells_of(of, rows, columns))
        texts.append(rows_of(codec, picture_ids(rows, columns), [ask(rng, of) for _ in range(turns)]))
    kind, colour, centres = (torch.tensor(c) for c in zip(*cells, strict=True))
    return joined(texts, torch.from_numpy(np.stack(pixels)), Cells(kind, colour, centres), WIDTH)


def codec_of(folder: Path) -> Codec:
    """The codec of the vocabulary in `folder`, which is put there if it is missing."""
    path = folder / "tekken.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(vision_tekken(), encoding="utf-8")
    return Codec(path)
