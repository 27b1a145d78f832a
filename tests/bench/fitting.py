"""What a model was foretold to take, next to what it takes; and what a context costs that starts short and grows.

    python -m tests.bench.fitting MODEL ROUNDS

foretold     bytes that `minichat.fit` counts, against the process's resident memory at most, once a batch was read
opening      a context that grows, against one of 8,192 tokens
growing      to twice the size with what was read, against reading that again
"""

import resource
import statistics
import sys
import time
from pathlib import Path

from tests.bench.measure import RIVALS, heading, row, run

CONTEXTS = (2048, 8192, 32768)
READ = 512  # tokens


def measure(model: Path, rounds: int) -> None:
    """Rows of the table, each measured in a process of its own."""
    heading("measured")
    for cache_type in ("f16", "q8_0"):
        for ctx in CONTEXTS:
            told = run([*_ME, str(model), "memory", str(ctx), cache_type]).output.split()
            row(f"memory, {ctx:,} tokens in {cache_type}, MB", float(told[0]), float(told[1]), "0.9 to 1.5", digits=0)
    heading("the other")
    opened: list[list[float]] = [[], [], [], []]
    for _ in range(rounds):
        for found, seconds in zip(opened, run([*_ME, str(model), "growth"]).output.split(), strict=True):
            found.append(float(seconds))
    short, long, grown, again = map(statistics.median, opened)
    row("opening a context, s", short, long, "below 1.00", digits=3)
    row(f"growing with {READ:,} tokens, s", grown, again, "below 0.10", digits=3)


_ME = [RIVALS[0], "-m", "tests.bench.fitting"]


def main(model: str, what: str, ctx: str = "0", cache_type: str = "f16") -> None:
    print(*(_memory(Path(model), int(ctx), cache_type) if what == "memory" else _growth(Path(model))))


def _memory(model: Path, ctx: int, cache_type: str) -> list[float]:
    """Megabytes: foretold, and resident at most."""
    from convert.gguf_file import read_header
    from minichat.engine.fitting import fit_for
    from minichat.engine.llama import BATCH, Llama
    from minichat.engine.types import LoadOptions

    options = LoadOptions(ctx=ctx, cache_type=cache_type)  # type: ignore[arg-type]
    fit = fit_for("model", read_header(model), options)
    if fit is None or fit.demand is None:
        raise SystemExit("the header does not tell enough")
    llama = Llama(model, options, None, fit)
    llama.decode(list(range(100, 100 + BATCH)))
    unit = 1 if sys.platform == "darwin" else 1024
    return [fit.demand.at(ctx).ram / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6]


def _growth(model: Path) -> list[float]:
    """Seconds: to open a short context, and a long one; to grow, and to read the same again."""
    from minichat.engine.llama import BATCH, DEFAULT_CTX, START_CTX, Llama
    from minichat.engine.types import LoadOptions

    llama = Llama(model, LoadOptions(ctx=START_CTX))
    read = _seconds(lambda: [llama.decode(list(range(100, 100 + BATCH))) for _ in range(READ // BATCH)])
    grown = _seconds(lambda: llama._grow(2 * START_CTX))
    opened = []
    for ctx in (START_CTX, DEFAULT_CTX):
        llama._c.llama_free(llama._context)
        opened.append(_seconds(lambda ctx=ctx: llama._new_context(ctx)))  # type: ignore[misc]
    return [*opened, grown, read]


def _seconds(call) -> float:  # type: ignore[no-untyped-def]
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(*sys.argv[1:])
