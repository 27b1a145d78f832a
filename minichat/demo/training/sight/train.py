"""Trains the demo that sees, on one thread, until the clock ends it.

    python -m minichat.demo.training.sight.train RUN_FOLDER --minutes 40

Muon for the matrices, AdamW for the rest; the rate rises for 100 steps, stays, and falls to 0 over the last part of the
time. The pictures depend on the seed and the step's number alone. `--init` starts from another run's weights.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from .batches import Batch, batch, codec_of
from .model import CellHeads, Sight
from .scenes import COLOURS, KINDS


def loss_of(net: Sight, heads: CellHeads, b: Batch) -> tuple[Tensor, Tensor]:
    """-> the answers' cross entropy, and that of what stands where."""
    hidden, vectors = net.hidden(b.ids, b.pixels, torch.bfloat16)
    logits = F.linear(hidden.flatten(0, 1)[b.index], net.text.embedding.to(torch.bfloat16))
    text = F.cross_entropy(logits.float(), b.targets)
    return text, torch.zeros(()) if vectors is None else heads.loss(vectors, b.cells)


def optimizers(net: Sight, heads: CellHeads, lr: float, other_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embedding, the norms and the heads."""
    inside = [*net.text.blocks.parameters(), *net.tower.parameters()]
    matrices = [p for p in inside if p.ndim == 2]
    norms = [p for p in net.parameters() if p.ndim == 1]
    muon = torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    rest = [net.text.embedding, *norms, *heads.parameters()]
    adam = torch.optim.AdamW(rest, lr=other_lr, betas=(0.9, 0.97), weight_decay=0.0, fused=True)
    return [muon, adam]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the checkpoint, the vocabulary and the log")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--decay-share", type=float, default=0.4, help="the part of the time in which the rate falls")
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help="start from these weights")
    parser.add_argument("--size", type=int, default=48, help="pictures a step")
    parser.add_argument("--lr", type=float, default=5e-3, help="for Muon, matched to AdamW's root mean square")
    parser.add_argument("--other-lr", type=float, default=3e-3)
    parser.add_argument("--cells", type=float, default=0.3, help="the weight of what stands where")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    codec = codec_of(a.run)
    net = Sight()
    heads = CellHeads(net.text.s.dim, len(KINDS), len(COLOURS))
    if a.init:
        state = torch.load(a.init, weights_only=True)
        net.load_state_dict(state["net"])
        heads.load_state_dict(state["heads"])
    optims = optimizers(net, heads, a.lr, a.other_lr)
    full = [group["lr"] for o in optims for group in o.param_groups]
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} million weights", flush=True)
    torch._dynamo.config.recompile_limit = 32
    net.tower.compile(dynamic=False)
    net.read = torch.compile(net.read, dynamic=False)
    began, step, sums, drawing = time.monotonic(), 0, [0.0, 0.0], 0.0
    while (passed := (time.monotonic() - began) / 60) < a.minutes:
        factor = min((step + 1) / 100, 1.0, (a.minutes - passed) / (a.minutes * a.decay_share))
        at = time.monotonic()
        b = batch(codec, a.seed, step, a.size)
        drawing += time.monotonic() - at
        text, cells = loss_of(net, heads, b)
        (text + a.cells * cells).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for group, lr in zip((g for o in optims for g in o.param_groups), full, strict=True):
            group["lr"] = lr * factor
        for o in optims:
            o.step()
            o.zero_grad(set_to_none=True)
        step += 1
        sums[0] += float(text.detach())
        sums[1] += float(cells.detach())
        if step % 50 == 0:
            now = time.monotonic() - began
            line = {"step": step, "text": round(sums[0] / 50, 4), "cells": round(sums[1] / 50, 4),
                    "minutes": round(now / 60, 1), "pictures_per_s": round(step * a.size / now),
                    "drawing": round(drawing / now, 2)}  # fmt: skip
            print(json.dumps(line), flush=True)
            sums = [0.0, 0.0]
        if step % 500 == 0:
            save(a.run / "checkpoint.pt", net, heads, step)
    save(a.run / "checkpoint.pt", net, heads, step)


def save(path: Path, net: Sight, heads: CellHeads, step: int) -> None:
    """Writes a checkpoint in one piece: a kill leaves the one before."""
    part = path.with_suffix(".part")
    torch.save({"net": net.state_dict(), "heads": heads.state_dict(), "step": step}, part)
    part.replace(path)


if __name__ == "__main__":
    main()
