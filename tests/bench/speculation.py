"""What guessing ahead gains on answers that repeat their question, and what it costs on those that do not.

    python -m tests.bench.speculation MODEL ROUNDS

A model of random weights says nothing of its own, so the answers are given: each token costs what it costs, the logits
and the draw included, and is then replaced by the answer's own. With and without guessing in turns, in one process.
"""

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.measure import heading, row, run
from tests.bench.quoting import FREE, REPEATING, Case


def measure(model: Path, rounds: int) -> None:
    """Rows of the table, measured in a process of its own."""
    heading("one by one")
    command = [sys.executable, "-m", "tests.bench.speculation", str(model), str(rounds)]
    print(run(command).output, end="", flush=True)


def main(model: str, rounds: str) -> None:
    with _Rig(Path(model)) as rig:
        for cases, wanted in ((REPEATING, "1.3 or more"), (FREE, "0.97 or more")):
            for case in cases:
                rates: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(int(rounds)):
                    for guesses in (True, False):
                        rates[guesses].append(rig.rate(case, guesses))
                mine, other = (statistics.median(rates[guesses]) for guesses in (True, False))
                row(f"{case.name}, tokens/s", mine, other, wanted)
                print(f"    {rig.told}", file=sys.stderr)


class _Rig:
    def __init__(self, model: Path) -> None:
        from convert.gguf_file import read_header
        from minichat import tokenizer
        from minichat.engine import sampler
        from minichat.engine.llama import Llama
        from minichat.engine.speculation import Speculation
        from minichat.engine.types import LoadOptions, Sampling

        self._llama = Llama(model, LoadOptions(ctx=2048))
        self._tokenizer = tokenizer.load(read_header(model), self._llama.sentencepiece, self._llama.token_bytes, False)
        self._speculation = Speculation(self._llama.ends)
        self._kept = ExitStack()
        self._samplers: Any = self._kept.enter_context(sampler.chain(Sampling(0.7, 40, 0.95, 0.05, 1)))
        self.told = ""

    def __enter__(self) -> "_Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def rate(self, case: Case, guesses: bool) -> float:
        """Tokens a second behind the first one of an answer."""
        from minichat.engine import generation
        from minichat.template.pieces import Control, Text

        llama = self._llama
        prompt = self._tokenizer.encode([Control("<s>"), Control("[INST]"), Text(case.question), Control("[/INST]")])
        answer = self._tokenizer.encode([Text(case.answer)])
        said = iter(answer)

        def draw(at: int) -> int | None:
            llama.sample(self._samplers, at)
            return next(said, None)

        llama.clear()
        speculation = self._speculation if guesses else None
        *_, done = generation.generate(
            llama, self._tokenizer, prompt, draw, None, lambda: False, speculation=speculation
        )
        assert list(done.tokens) == answer
        if guesses:
            self.told = f"{len(answer)} tokens, {done.stats.accepted} of {done.stats.drafted} guesses right"
        return float(done.stats.decode_tokens_per_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
