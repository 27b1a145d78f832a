"""Training rows: conversations and copying, packed without a gap, made from the seed and the step's number."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from . import skills
from .copying import copy_row
from .split import TRAIN
from .talk import training_conversation
from .tokens import BOS, EOS, N_SPECIAL, VOCAB, Codec

FURTHEST = 1800
"""No position is trained beyond this one."""
SUMS_SHARE = 0.08
"""The part of the rows that are bare sums."""


@dataclass(frozen=True)
class Batch:
    ids: Tensor
    """(rows, time)"""
    positions: Tensor
    """(rows, time): from 0 in each document, with gaps between some turns"""
    documents: Tensor
    """(rows, time)"""
    index: Tensor
    """(n,): the flat places whose next token counts; padded with weight 0"""
    targets: Tensor
    weights: Tensor


Document = tuple[list[int], list[float], list[int], float]
"""Ids, how much each one counts, positions, and the weight of the document."""


def chat_document(rng: random.Random, codec: Codec, longest: int) -> Document:
    while True:
        ids, counts, turns = codec.encode(training_conversation(rng, codec.pieces))
        if len(ids) <= longest:
            break
    gaps = [0] * (turns[-1] + 1)
    if len(gaps) > 1 and rng.random() < 0.3:
        # As if other turns had stood between: far positions are met without long rows.
        gaps = [rng.choice((0, 0, 0, rng.randint(1, rng.choice((20, 200, 1200))))) for _ in gaps]
    shift, last, positions = 0, 0, []
    for i, turn in enumerate(turns):
        if turn != last:
            last = turn
            if i + shift + gaps[turn] + len(ids) < FURTHEST:
                shift += gaps[turn]
        positions.append(i + shift)
    return ids, counts, positions, 1.0


def copy_document(rng: random.Random, length: int, weight: float) -> Document:
    vocabulary = range(N_SPECIAL, VOCAB)
    ids, known = copy_row(rng, vocabulary, length - 1)
    start = rng.randint(0, 600) if rng.random() < 0.2 else 0
    return [BOS, *ids], [False, *known], [0, *range(start + 1, start + length)], weight


def sums_document(rng: random.Random, codec: Codec, length: int) -> Document:
    """Bare sums, one after the other; only the results count."""
    ids, known = [BOS], [False]
    while len(ids) < length:
        task, result = skills.sums(rng, TRAIN).answer.split(" = ")
        asked, told = codec.text(f"{task} = "), codec.text(result)
        ids += [*asked, *told, EOS]
        known += [False] * len(asked) + [True] * (len(told) + 1)
    return ids[:length], known[:length], list(range(length)), 1.0


def step_batches(
    seed: int, step: int, codec: Codec, *, batches: int, rows: int, time: int, copy_share: float, copy_weight: float
) -> list[Batch]:
    """The batches of one step; nothing but the arguments decides what is in them."""
    rng = random.Random(f"{seed}:{step}")
    waiting: list[Document] = []
    out = []
    for _ in range(batches):
        packed = [a_row(rng, codec, waiting, time, copy_share, copy_weight) for _ in range(rows)]
        out.append(to_batch(rng, packed, time))
    return out


def a_row(
    rng: random.Random, codec: Codec, waiting: list[Document], time: int, copy_share: float, copy_weight: float
) -> list[Document]:
    draw = rng.random()
    if draw < copy_share * 0.8:
        return [copy_document(rng, time, copy_weight)]
    if draw > 1 - SUMS_SHARE:
        return [sums_document(rng, codec, time)]
    row: list[Document] = []
    room = time
    while True:
        while len(waiting) < 8:
            waiting.append(chat_document(rng, codec, time))
        fits = next((i for i, d in enumerate(waiting) if len(d[0]) <= room), None)
        if fits is None:
            break
        row.append(waiting.pop(fits))
        room -= len(row[-1][0])
    if room:
        row.append(copy_document(rng, room, copy_weight))
    return row


def to_batch(rng: random.Random, rows: list[list[Document]], time: int) -> Batch:
    ids, positions, documents, places, targets, weights = [], [], [], [], [], []
    for r, row in enumerate(rows):
        at = r * time
        for number, (tokens, counts, where, weight) in enumerate(row):
            for i in range(len(tokens) - 1):
                if counts[i + 1]:
                    places.append(at + i)
                    targets.append(tokens[i + 1])
                    weights.append(weight * counts[i + 1])
            ids += tokens
            positions += where
            documents += [number] * len(tokens)
            at += len(tokens)
    n = len(rows) * time * 5 // 8
    if len(places) > n:
        keep = sorted(rng.sample(range(len(places)), n))
        places, targets, weights = ([values[k] for k in keep] for values in (places, targets, weights))
    pad = n - len(places)
    shape = (len(rows), time)
    return Batch(
        torch.tensor(ids).view(shape), torch.tensor(positions).view(shape), torch.tensor(documents).view(shape),
        torch.tensor(places + [0] * pad), torch.tensor(targets + [0] * pad), torch.tensor(weights + [0.0] * pad),
    )  # fmt: skip
