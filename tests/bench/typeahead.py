"""What is read before it is sent: the wait behind Enter, and what a key waits for while the engine reads.

    python -m tests.bench.typeahead FOLDER [ROUNDS]

The real program on a pseudo-terminal, with `--typeahead on` and `off` in turns. Its model says a text that it knows by
heart, so that the first word of an answer can be told on the screen; its layers only cost what layers cost.

first word    from Enter to the first word of the answer: a pasted prompt of 1,500 tokens that stood on the screen long
              enough, and a short one beside it
key to echo   from a key to its character on the screen, while 1,500 pasted tokens are being read
"""

import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.measure import heading, row

sys.path.insert(0, str(Path(__file__).parents[1]))

import tape
from pseudo_terminal import Tty

TOKENS = 1500
LONGEST_S = 120
KEYS = 24
_number = itertools.count()


def measure(folder: Path, rounds: int) -> None:
    """Rows of the table."""
    model = tape.write(folder / "tape", " ".join(f"n{n}" for n in range(8)), hidden=1024, layers=12)
    sides = {side: Tty("run", model, "--typeahead", side, "--private") for side in ("on", "off")}
    words: dict[str, list[float]] = {name: [] for name in ("short on", "short off", "long on", "long off")}
    keys: dict[str, list[float]] = {side: [] for side in sides}
    try:
        for tty in sides.values():
            tty.prompt(LONGEST_S)
            first_word(tty, "warm up")
        for _ in range(rounds):
            for side, tty in sides.items():
                words[f"short {side}"].append(first_word(tty, f"hi {next(_number)}"))
                words[f"long {side}"].append(first_word(tty, pasted(), words["long off"]))
                keys[side] += echoes(tty)
    finally:
        for tty in sides.values():
            tty.kill()
            tty.hang_up()
    found = {name: statistics.median(took) for name, took in words.items()}
    heading("off")
    row("first word, short prompt, s", found["short on"], found["short off"])
    row(f"first word, {TOKENS:,} pasted tokens, s", found["long on"], found["long off"])
    heading("short")
    row("first word, long against short, s", found["long on"], found["short on"], "near 1")
    heading("off")
    for name, part in (("half", 0.5), ("19 of 20", 0.95)):
        mine, other = (sorted(took)[int(part * len(took))] * 1000 for took in (keys["on"], keys["off"]))
        row(f"key to echo, {name} within, ms", mine, other, "near 1", digits=1)


def pasted() -> str:
    """A prompt that is like none before. A character is a token: the vocabulary has no words but the answer's."""
    text = f"{next(_number)} "
    while len(text) < TOKENS:
        text += f"{next(_number)} letters "
    return text[:TOKENS]


def first_word(tty: Tty, text: str, like: list[float] | None = None) -> float:
    """Seconds from Enter. like: what such a prompt took that was not read ahead; it stands there for longer."""
    before = tty.text().count("n0 ")
    tty.paste(text)
    tty.rest(3 * max(like, default=10.0) if like is not None else 0.5)
    tty.type("\r")
    took = tty.wait_until(lambda: tty.text().count("n0 ") > before, "an answer", LONGEST_S)
    tty.prompt(LONGEST_S)
    tty.ask("/clear")
    return took


def echoes(tty: Tty) -> list[float]:
    """Seconds of each key, behind a paste. What stood in the prompt is taken away again."""
    tty.paste(pasted() + " ")
    tty.rest(1.0)
    took = []
    for _ in range(KEYS):
        tty.read()
        before = tty.text().count("~")
        tty.type("~")
        took.append(tty.wait_until(lambda was=before: tty.text().count("~") > was, "an echo", LONGEST_S))
        tty.rest(0.1)
    tty.type("\x03")
    tty.rest(0.5)
    return took


def main(folder: str, rounds: str = "3") -> None:
    os.environ["MINICHAT_HOME"] = tempfile.mkdtemp(dir=folder)
    measure(Path(folder), int(rounds))


if __name__ == "__main__":
    main(*sys.argv[1:])
