"""What minichat costs next to what llama.cpp's own tools cost, each pair measured in turns in one run.

convert    checkpoint -> q4_K_M in one pass        against  to bf16, then llama_model_quantize
decode     tokens/s of `minichat run`, on a terminal        the bare llama_decode loop
one-shot   seconds of a whole process, 16 tokens            the same prompt through llama_cpp's Llama class
"""

import fcntl
import os
import pty
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 5
PROMPT = "Tell me a long story about a small model that lived in a terminal."
DECODE_TOKENS = 128
ONE_SHOT_TOKENS = 16
CTX = 4096
MINICHAT = [str(Path(sys.executable).with_name("minichat"))]
RIVALS = [sys.executable, "-m", "tests.bench.rivals"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="minichat-bench-") as name:
        folder = Path(name)
        os.environ["MINICHAT_HOME"] = str(folder / "home")
        # In a process of its own: a child's peak memory counts from that of the process that started it.
        parameters = int(run([sys.executable, "-m", "tests.bench.material", str(folder / "checkpoint")]).output)
        print(f"a random checkpoint of {parameters / 1e6:.0f} million parameters, {os.cpu_count()} processors\n")
        print(f"{'':34}{'minichat':>12}{'llama.cpp':>12}{'ratio':>8}   wanted")
        convert(folder)
        decode(folder / "q4.gguf")
        one_shot(folder / "q4.gguf")


def convert(folder: Path) -> None:
    ours = [*MINICHAT, "convert", str(folder / "checkpoint"), "-q", "q4_K_M", "-o", str(folder / "q4.gguf")]
    theirs = [*RIVALS, "convert", str(folder / "checkpoint"), str(folder / "theirs.gguf")]
    mine, other = turns(3, lambda: run(ours), lambda: run(theirs))
    row("convert to q4_K_M, s", median(mine, "seconds"), median(other, "seconds"), "below 0.50")
    row("  most memory, MB", median(mine, "megabytes"), median(other, "megabytes"), "ours below 600 MB")
    row("  temporary file, MB", 0, int(other[-1].output) / 1e6, "none")


def decode(model: Path) -> None:
    ours = [*MINICHAT, "run", str(model), PROMPT, "--temperature", "0", "--stats"]
    ours += ["--max-tokens", str(DECODE_TOKENS), "--ctx", str(CTX)]
    theirs = [*RIVALS, "decode", str(model), PROMPT, str(DECODE_TOKENS), str(CTX)]
    mine, other = turns(ROUNDS, lambda: shown_rate(ours), lambda: float(run(theirs).output))
    row("decode on a terminal, tokens/s", statistics.median(mine), statistics.median(other), "0.98 or more")


def one_shot(model: Path) -> None:
    ours = [*MINICHAT, "run", str(model), PROMPT, "--temperature", "0"]
    ours += ["--max-tokens", str(ONE_SHOT_TOKENS), "--ctx", str(CTX)]
    theirs = [*RIVALS, "one-shot", str(model), PROMPT, str(ONE_SHOT_TOKENS), str(CTX)]
    mine, other = turns(ROUNDS, lambda: run(ours), lambda: run(theirs))
    row("one-shot, whole process, s", median(mine, "seconds"), median(other, "seconds"), "below 1.00")


def turns(rounds: int, *calls: Callable[[], T]) -> list[list[T]]:
    """The results of each call, taken in turns, so that a noisy machine treats them alike."""
    results: list[list[T]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, results, strict=True):
            found.append(call())
    return results


@dataclass(frozen=True)
class Run:
    seconds: float
    megabytes: float  # resident, at most
    output: str


def run(command: list[str]) -> Run:
    """A command, without a terminal, and what it cost."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - begin
        out.seek(0)
        output = out.read().decode(errors="replace")
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Run(took, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, output)


def shown_rate(command: list[str]) -> float:
    """Tokens a second of an answer that is shown on a pseudo-terminal of 80 columns, as `--stats` tells it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=environment
    )
    os.close(theirs)
    try:
        while os.read(ours, 65536):
            pass
    except OSError:
        pass  # Linux's way to say that the other end is closed
    os.close(ours)
    said = process.communicate()[1].decode()
    match = re.search(r"answer (\d+) tokens at ([\d.]+)/s", said)
    if process.returncode or match is None or int(match[1]) != DECODE_TOKENS:
        raise SystemExit(f"no answer of {DECODE_TOKENS} tokens: {said}")
    return float(match[2])


def median(runs: list[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def row(what: str, ours: float, theirs: float, wanted: str) -> None:
    ratio = f"{ours / theirs:.2f}" if theirs else ""
    print(f"{what:34}{ours:12.2f}{theirs:12.2f}{ratio:>8}   {wanted}", flush=True)


if __name__ == "__main__":
    main()
