"""Talking to a model: what minichat adds to the cost of llama.cpp itself.

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
import termios
from pathlib import Path

from tests.bench.measure import MINICHAT, RIVALS, heading, median, row, run, turns

PROMPT = "Tell me a long story about a small model that lived in a terminal."
DECODE_TOKENS = 128
ONE_SHOT_TOKENS = 16
CTX = 4096


def measure(model: Path, rounds: int) -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as where the program is installed
    heading("llama.cpp")
    decode(model, rounds)
    one_shot(model, 3 * rounds)


def decode(model: Path, rounds: int) -> None:
    ours = [*MINICHAT, "run", str(model), PROMPT, "--temperature", "0", "--stats"]
    ours += ["--max-tokens", str(DECODE_TOKENS), "--ctx", str(CTX)]
    theirs = [*RIVALS, "decode", str(model), PROMPT, str(DECODE_TOKENS), str(CTX)]
    mine, other = turns(rounds, lambda: shown_rate(ours), lambda: float(run(theirs).output))
    row("decode on a terminal, tokens/s", statistics.median(mine), statistics.median(other), "0.98 or more")


def one_shot(model: Path, rounds: int) -> None:
    ours = [*MINICHAT, "run", str(model), PROMPT, "--temperature", "0"]
    ours += ["--max-tokens", str(ONE_SHOT_TOKENS), "--ctx", str(CTX)]
    theirs = [*RIVALS, "one-shot", str(model), PROMPT, str(ONE_SHOT_TOKENS), str(CTX)]
    run(ours), run(theirs)  # what is compiled, and read from the disk, at the first time
    mine, other = turns(rounds, lambda: run(ours), lambda: run(theirs))
    row("one-shot, whole process, s", median(mine, "seconds"), median(other, "seconds"), "below 1.00")


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
