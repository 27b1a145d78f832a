"""A chat on a pseudo-terminal whose engine is sent signals, at moments of all kinds.

After each the program must be there, tell of the death once, and answer the next question.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import tape
from pseudo_terminal import Tty

_NAMES = ("KILL", "ABRT", "SEGV", "BUS", "FPE", "ILL", "TERM", "INT", "HUP", "QUIT", "TRAP", "SYS", "XCPU", "USR1")
DEADLY = tuple(signal.Signals[f"SIG{name}"] for name in _NAMES)
MOMENTS = ("waiting", "typing", "loading", "reading", "answering")
_TOLD = "the engine died: "


def numbers(folder: Path) -> Path:
    """A model that counts, slowly enough that a signal can fall into its answer."""
    return tape.write(folder / "numbers", " ".join(f"n{n}" for n in range(100)), hidden=512, layers=6)


class SignalledChat:
    """A context manager: one program, as long as it lives."""

    def __init__(self, model: Path) -> None:
        self.tty = Tty("run", str(model), "--ctx", "8192", "--max-tokens", "40")
        self.tty.prompt()
        self.tty.ask("to begin with")

    def send(self, number: signal.Signals, moment: str, rng: random.Random) -> float:
        """Seconds until the death was told. AssertionError if it is not, or the chat does not go on."""
        tty = self.tty
        told = tty.text().count(_TOLD)
        self._reach(moment, rng)
        os.kill(self.engine(), number)
        took = tty.wait_for(_TOLD, told + 1)
        tty.wait_until(tty.at_prompt, "the prompt")
        tty.rest(0.05)
        tty.type("\x03")  # what was typed, or not answered, stands there again
        tty.rest(0.05)
        answers = tty.text().count("n0 n1 ")
        tty.ask("and now")
        assert tty.text().count("n0 n1 ") > answers, f"no answer after {number.name} while {moment}"
        assert tty.text().count(_TOLD) == told + 1
        tty.ask("/clear")  # else all of it is read again after the next death, and it grows
        return took

    def _reach(self, moment: str, rng: random.Random) -> None:
        tty = self.tty
        match moment:
            case "waiting":
                tty.rest(rng.uniform(0, 0.2))
            case "typing":
                tty.type("half a mess")
                tty.rest(rng.uniform(0, 0.3))
            case "loading":
                tty.ask("/reload")
                tty.rest(rng.uniform(0, 0.3))
            case "reading":
                tty.send("a question " + "and so on " * 300)
                tty.rest(rng.uniform(0, 0.05))
            case "answering":
                tty.send("a question")
                tty.rest(rng.uniform(0, 0.1))

    def engine(self) -> int:
        """The engine's process: the youngest child of the program."""
        program = self.tty.process.pid
        return int(Path(f"/proc/{program}/task/{program}/children").read_text().split()[-1])

    def __enter__(self) -> SignalledChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.tty.__exit__()
