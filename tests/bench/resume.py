"""A session that goes on: its state read from the disk, next to the same conversation read by the model again.

first token     seconds from the question to the first token of the answer
whole process   seconds of `minichat run --session NAME "…"`, the load of the model in both
"""

import json
import os
import statistics
from pathlib import Path

from tests.bench.measure import MINICHAT, Run, heading, median, row, run, turns

WORDS = 600  # of the system prompt: 1,200 tokens and more
NAME = "long"


def measure(model: Path, rounds: int) -> None:
    """Writes sessions into MINICHAT_HOME."""
    heading("computed")
    sessions = Path(os.environ["MINICHAT_HOME"]) / "sessions"
    text, state = sessions / f"{NAME}.jsonl", sessions / "warm" / f"{NAME}.kv"
    ask(model, "--system", " ".join(f"item {number}" for number in range(WORDS // 2)))
    if not state.exists():
        raise SystemExit("nothing was kept of the session")
    kept = text.read_bytes(), state.read_bytes()

    def resumed(is_warm: bool) -> Run:
        text.write_bytes(kept[0])
        if is_warm:
            state.write_bytes(kept[1])
        else:
            state.unlink(missing_ok=True)
        return ask(model)

    ours, theirs = turns(rounds, lambda: resumed(True), lambda: resumed(False))
    answers = {tuple(json.loads(done.output)["tokens"]) for done in ours + theirs}
    if len(answers) != 1:
        raise SystemExit("the answers differ")
    stats = json.loads(ours[0].output)["stats"]
    what = f"{stats['reused_tokens']:,} of {stats['prompt_tokens']:,} tokens"
    row(f"resume, {what}: first token, s", first_token(ours), first_token(theirs), "below 1.00")
    row("resume: whole process, s", median(ours, "seconds"), median(theirs, "seconds"), "below 1.00")
    row("resume: the file, MB", len(kept[1]) / 1e6)


def ask(model: Path, *options: str) -> Run:
    command = [*MINICHAT, "run", str(model), "And now?", "--session", NAME, *options]
    return run([*command, "--json", "--temperature", "0", "--max-tokens", "4"])


def first_token(runs: list[Run]) -> float:
    return statistics.median(json.loads(done.output)["stats"]["first_token_s"] for done in runs)
