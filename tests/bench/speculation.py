"""What guessing ahead gains on answers that repeat their question, and what it costs on those that do not.

    python -m tests.bench.speculation MODEL ROUNDS

A model of random weights says nothing of its own, so the answers are given: each token costs what it costs, the logits
and the draw included, and is then replaced by the answer's own. With and without guessing in turns, in one process, on
as many threads as in a chat: it is their sharing of the memory that makes a batch cheap.

Last, what the model does say: its likeliest tokens, one by one, and again with guesses of which some are wrong; on one
thread, where llama.cpp computes the same bits either way.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from tests.bench.measure import heading, row, run
from tests.bench.quoting import FREE, REPEATING, Case

GREEDY_TOKENS = 64
_WRONG_EVERY = 7  # guesses, in the comparison of greedy answers


def measure(model: Path, rounds: int) -> None:
    """Rows of the table, measured in a process of its own."""
    heading("one by one")
    print(run([sys.executable, "-m", "tests.bench.speculation", str(model), str(rounds)]).output, end="", flush=True)


def main(model: str, rounds: str) -> None:
    from minichat.engine.starting import SPIN_COUNT

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # as in a chat
    with _Rig(Path(model)) as rig:
        for cases, wanted in ((REPEATING, "1.3 or more"), (FREE, "0.97 or more")):
            for case in cases:
                rates: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(int(rounds)):
                    for guesses in (True, False):
                        rates[guesses].append(rig.rate(case, guesses))
                mine, other = (statistics.median(rates[guesses]) for guesses in (True, False))
                row(f"{case.name}, tokens/s", mine, other, wanted)
    same, drafted = 0, 0
    with _Rig(Path(model), threads=1) as rig:
        for case in REPEATING:
            alike, guessed = rig.alike(case)
            same, drafted = same + alike, drafted + guessed
    row(f"greedy tokens that are the same ({drafted} guessed)", same, len(REPEATING) * GREEDY_TOKENS, "1.00", 0)


class _Rig:
    """A loaded model, and one chain of samplers."""

    def __init__(self, model: Path, threads: int | None = None) -> None:
        from convert.gguf_file import read_header
        from minichat import tokenizer
        from minichat.engine import sampler
        from minichat.engine.llama import Llama
        from minichat.engine.speculation import Speculation, largest_batch
        from minichat.engine.types import LoadOptions, Sampling

        self._llama = Llama(model, LoadOptions(ctx=2048, threads=threads, device="cpu"))
        self._tokenizer = tokenizer.load(read_header(model), self._llama.sentencepiece, self._llama.token_bytes, False)
        self._exact, most = (largest_batch(False, self._llama.repacks, repeatable) for repeatable in (True, False))
        self._speculation = Speculation(self._llama.ends, most=most, clock=time.perf_counter)
        self._kept = ExitStack()
        chain = self._kept.enter_context
        self._samplers: Any = chain(sampler.chain(Sampling(0.7, 40, 0.95, 0.05, 1)))
        self._greedy: Any = chain(sampler.chain(Sampling(0.0)))

    def __enter__(self) -> "_Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def rate(self, case: Case, guesses: bool) -> float:
        """Tokens of the answer a second, behind the first one."""
        answer = self._ids(case.answer)
        said = iter(answer)
        begin = 0.0

        def draw(at: int) -> int | None:
            nonlocal begin
            self._llama.sample(self._samplers, at)
            begin = begin or time.perf_counter()
            return next(said, None)

        tokens = self._generate(case, draw, None, self._speculation if guesses else None).tokens
        took = time.perf_counter() - begin
        if list(tokens) != answer:
            raise SystemExit(f"{case.name}: the answer is another")
        return len(answer) / took

    def alike(self, case: Case) -> tuple[int, int]:
        """Of the likeliest tokens, how many are the same with guesses as one by one, and how many were guessed."""

        def draw(at: int) -> int:
            return self._llama.sample(self._greedy, at)

        plain = self._generate(case, draw, GREEDY_TOKENS, None).tokens
        done = self._generate(case, draw, GREEDY_TOKENS, _told(len(self._prompt(case)), plain, self._exact))
        return sum(a == b for a, b in zip(plain, done.tokens, strict=True)), done.stats.drafted

    def _generate(self, case: Case, draw: Any, longest: int | None, speculation: Any) -> Any:
        from minichat.engine import generation

        self._llama.clear()
        *_, done = generation.generate(
            self._llama, self._tokenizer, self._prompt(case), draw, longest, lambda: False, speculation=speculation
        )
        return done

    def _prompt(self, case: Case) -> list[int]:
        from minichat.template.pieces import Control, Text

        return self._tokenizer.encode([Control("<s>"), Control("[INST]"), Text(case.question), Control("[/INST]")])

    def _ids(self, text: str) -> list[int]:
        from minichat.template.pieces import Text

        return self._tokenizer.encode([Text(text)])


def _told(prompt: int, answer: Sequence[int], most: int) -> Any:
    """Guesses for a known answer behind so many tokens of a prompt, now and then a wrong one."""
    from minichat.engine.speculation import Speculation

    class Told(Speculation):
        def guess(self, room: int) -> list[int]:
            super().guess(0)
            at = len(self._text) - prompt
            known = islice(enumerate(answer), at, at + min(room, most - 1))
            guessed = [token if n % _WRONG_EVERY else (token + 1) % 1000 + 1000 for n, token in known]
            self.drafted += len(guessed)
            self._guessed = list(guessed)
            return guessed

    return Told(lambda _: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
