"""Trains the demo model, resumably.

    python -m minichat.demo.training.train RUN_FOLDER --steps 8000

Muon for the matrices, AdamW for the embedding and the norms; the rate rises for 100 steps, stays, and falls to 0 over
the last part. A checkpoint holds weights and optimizers; the data depend on the seed and the step's number alone, so
that a run goes on where it stopped, also with another `--steps`. `--init` starts a new run from another run's weights:
with optimizers and a rate of its own, and at step 0. `--until` lets the clock end the run, on a machine whose speed
nobody knows: the rate then falls over the last `--decay-minutes`.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from pathlib import Path

import torch

from .model import Demo, Shape
from .rows import step_batches
from .tokens import Codec, trimmed_tekken


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of checkpoints and the log")
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help="start from these weights")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--until", type=datetime.fromisoformat, help="when to end, in place of the steps")
    parser.add_argument("--decay-minutes", type=float, default=45)
    parser.add_argument("--decay-share", type=float, default=0.5, help="the part of the steps in which the rate falls")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--time", type=int, default=512, help="tokens a row")
    parser.add_argument("--batches", type=int, default=1, help="batches a step")
    parser.add_argument("--lr", type=float, default=5e-3, help="for Muon, matched to AdamW's root mean square")
    parser.add_argument("--embedding-lr", type=float, default=3e-3)
    parser.add_argument("--copy-share", type=float, default=0.08, help="the part of the rows that are copying")
    parser.add_argument("--copy-weight", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every-s", type=float, default=120)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def rate(step: int, steps: int, decay_share: float) -> float:
    """The learning rate's factor: a trapezoid.

    >>> [rate(step, 1000, 0.3) for step in (0, 100, 700, 850)]
    [0.01, 1.0, 1.0, 0.5]
    """
    decay = max(1, int(steps * decay_share))
    return max(0.0, min((step + 1) / 100, 1.0, (steps - step) / decay))


def rate_by_clock(step: int, seconds_left: float, decay_minutes: float) -> float:
    """
    >>> rate_by_clock(1000, 600, 20), rate_by_clock(1000, 6000, 20), rate_by_clock(0, 6000, 20)
    (0.5, 1.0, 0.01)
    """
    return max(0.0, min((step + 1) / 100, 1.0, seconds_left / (60 * decay_minutes)))


def optimizers(net: Demo, lr: float, embedding_lr: float) -> list[torch.optim.Optimizer]:
    matrices = [p for p in net.blocks.parameters() if p.ndim == 2]
    norms = [p for p in net.parameters() if p.ndim == 1]
    muon = torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": [net.embedding], "lr": embedding_lr}, {"params": norms, "lr": embedding_lr}]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.97), weight_decay=0.0, fused=True)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return [muon, adam]


def save(path: Path, net: Demo, optims: list[torch.optim.Optimizer], step: int) -> None:
    part = path.with_suffix(".part")
    optimizer_states = [o.state_dict() for o in optims]
    state = {"net": net.state_dict(), "optims": optimizer_states, "step": step, "shape": net.s.to_json()}
    torch.save(state, part)
    part.replace(path)


def main() -> None:
    a = arguments()
    a.run.mkdir(parents=True, exist_ok=True)
    tekken, checkpoint = a.run / "tekken.json", a.run / "checkpoint.pt"
    if not tekken.exists():
        tekken.write_text(trimmed_tekken(), encoding="utf-8")
    codec = Codec(tekken)
    torch.manual_seed(a.seed)
    net = Demo(Shape(layers=a.layers))
    optims = optimizers(net, a.lr, a.embedding_lr)
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        for optimizer, saved in zip(optims, state["optims"], strict=True):
            optimizer.load_state_dict(saved)
        groups = [group for optimizer in optims for group in optimizer.param_groups]
        for group, full in zip(groups, (a.lr, a.embedding_lr, a.embedding_lr), strict=True):
            group["full_lr"] = full
        start = state["step"]
    elif a.init:
        net.load_state_dict(torch.load(a.init, weights_only=True)["net"])
    n_weights = sum(p.numel() for p in net.parameters())
    print(f"{n_weights / 1e6:.2f} million weights, from step {start} of {a.steps}", flush=True)
    train(a, net, optims, codec, start, checkpoint)


def train(a: argparse.Namespace, net: Demo, optims: list[torch.optim.Optimizer], codec: Codec, start: int,
          checkpoint: Path) -> None:  # fmt: skip
    loss_of = net.loss if a.no_compile else torch.compile(net.loss)
    saved_at = began = time.monotonic()
    total, parts = 0.0, 0
    last = False
    for step in range(start, a.steps):
        factor = rate(step, a.steps, a.decay_share)
        if a.until:
            left = a.until.timestamp() - time.time()
            factor, last = rate_by_clock(step, left, a.decay_minutes), left <= 0
        last = last or step + 1 == a.steps
        batches = step_batches(a.seed, step, codec, batches=a.batches, rows=a.rows, time=a.time,
                               copy_share=a.copy_share, copy_weight=a.copy_weight)  # fmt: skip
        weight = sum(float(b.weights.sum()) for b in batches)
        for b in batches:
            loss = loss_of(b.ids, b.positions, b.documents, b.index, b.targets, b.weights / weight)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer in optims:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        parts += 1
        now = time.monotonic()
        if parts == 20 or last:
            tokens = a.batches * a.rows * a.time
            line = {"step": step + 1, "loss": round(total / parts, 4), "tokens": (step + 1) * tokens,
                    "tokens_per_s": round(parts * tokens / (now - began))}  # fmt: skip
            print(json.dumps(line), flush=True)
            total, parts, began = 0.0, 0, now
        if now - saved_at > a.save_every_s or last:
            save(checkpoint, net, optims, step + 1)
            saved_at = now
        if last:
            break


if __name__ == "__main__":
    main()
