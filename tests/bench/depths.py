"""`minichat bench` beside the bare llama_decode loop: reading and writing behind so many tokens.

    python -m tests.bench.depths MODEL [DEPTH …]

prefill   tokens/s of a prompt that is read behind the depth       llama_decode with the same tokens, in one batch
decode    tokens/s of an answer behind it                          llama_decode and a greedy sampler, token by token
"""

import json
import statistics
import sys
from pathlib import Path

from tests.bench.measure import MINICHAT, RIVALS, heading, row, run, turns

DEPTHS = (0, 512, 2048, 8192)
PROMPT, ANSWER = 512, 64


def measure(model: Path | str, rounds: int, depths: tuple[int, ...] = DEPTHS, prompt: int = PROMPT) -> None:
    """Rows of the table. Each depth is measured on its own, both sides in turns."""
    heading("bare loop")
    for depth in depths:
        sizes = ["--prompt", str(prompt), "--tokens", str(ANSWER)]
        ours = [*MINICHAT, "bench", str(model), "--json", "--repeats", "1", "--depths", str(depth), *sizes]
        theirs = [*RIVALS, "depth", where(model), str(depth), str(prompt), str(ANSWER)]
        mine, other = turns(rounds, lambda c=ours: told(c), lambda c=theirs: bare(c))  # type: ignore[misc]
        for name, place, wanted in (("prefill", 0, ""), ("decode", 1, "0.98 or more")):
            medians = (statistics.median(pair[place] for pair in side) for side in (mine, other))
            row(f"{name} behind {depth:,} tokens, tokens/s", *medians, wanted)


def told(command: list[str]) -> tuple[float, float]:
    (depth,) = json.loads(run(command).output)["depths"]
    return depth["prefill_tokens_per_s"]["median"], depth["decode_tokens_per_s"]["median"]


def bare(command: list[str]) -> tuple[float, float]:
    prefill, decode = map(float, run(command).output.split())
    return prefill, decode


def where(model: Path | str) -> str:
    """The file of a model that has a name."""
    return json.loads(run([*MINICHAT, "show", str(model), "--json"]).output)["file"]


if __name__ == "__main__":
    measure(sys.argv[1], 3, tuple(map(int, sys.argv[2:])) or DEPTHS)
