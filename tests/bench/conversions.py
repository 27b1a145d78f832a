"""Checkpoint to GGUF in one pass, next to the usual two steps: to bf16, then llama_model_quantize.

Every run begins in the same state: the checkpoint in the page cache, nothing waiting to be written, no file of the
run before. Both sides are taken in turns.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from tests.bench.measure import MINICHAT, RIVALS, Run, heading, median, row, run, turns

# `minichat` as it is where the extra `fast` is not installed.
WITHOUT_FAST = [
    sys.executable,
    "-c",
    "import sys; sys.modules['numba'] = None; from minichat.cli import main; main()",
]


def measure(checkpoint: Path, scratch: Path, rounds: int) -> None:
    """The table's rows on time, memory and disk. `scratch`: an empty folder, for all that is written."""
    warm(checkpoint)
    heading("two steps")
    if importlib.util.find_spec("numba"):
        row("the first conversion ever, which compiles, s", ours(checkpoint, scratch, "q4_K_M").seconds)
    mine, other = turns(
        rounds,
        lambda: ours(checkpoint, scratch, "q4_K_M"),
        lambda: theirs(checkpoint, scratch, "Q4_K_M"),
    )
    row("to q4_K_M, s", median(mine, "seconds"), median(other, "seconds"), "below 0.20")
    row("  of them llama_model_quantize", None, sorted(float(done.output) for done in other)[len(other) // 2])
    row("  processor time, s", median(mine, "cpu_seconds"), median(other, "cpu_seconds"))
    row("  most memory, MB", median(mine, "megabytes"), median(other, "megabytes"), "ours below 600 MB", 0)
    row("  temporary disk, MB", median(mine, "temporary_mb"), median(other, "temporary_mb"), "none", 0)
    slow = ours(checkpoint, scratch, "q4_K_M", WITHOUT_FAST)
    row("  without the extra `fast`, s", slow.seconds, median(other, "seconds"))
    row("to q8_0, s", ours(checkpoint, scratch, "q8_0").seconds, theirs(checkpoint, scratch, "Q8_0").seconds)
    row("to fp16, one step for all, s", ours(checkpoint, scratch, "fp16").seconds)


def measure_memory(checkpoint: Path, scratch: Path) -> None:
    done = ours(checkpoint, scratch, "q4_K_M")
    row("most memory, a tensor of 131,072 x 5,120, MB", done.megabytes, None, "below 600 MB", 0)


def ours(checkpoint: Path, scratch: Path, target: str, program: list[str] = MINICHAT) -> Run:
    settle(scratch)
    return run([*program, "convert", str(checkpoint), "-q", target, "-o", str(scratch / "ours.gguf")], scratch)


def theirs(checkpoint: Path, scratch: Path, file_type: str) -> Run:
    settle(scratch)
    return run([*RIVALS, "convert", str(checkpoint), str(scratch / "theirs.gguf"), file_type], scratch)


def settle(scratch: Path) -> None:
    """Removes what the last run left, and waits until the disk is idle."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    os.sync()


def warm(checkpoint: Path) -> None:
    """Reads a checkpoint's files once, so that they are in the page cache where that is large enough."""
    for path in checkpoint.iterdir():
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
