"""What it costs to show an answer as it streams in: share of one core, of answers at 100 tokens/s.

    python -m tests.bench.reading [TOKENS]

The tokens come by a clock that goes on by 10 ms with each of them and by what the drawing took, so that it redraws as
often as it would; nobody waits the five minutes that 30,000 of them last. What is drawn goes nowhere: the terminal's
own work is not minichat's. One answer of every kind: a mixed one, and such as are one single block, which cannot be
printed for good before its end.
"""

import io
import itertools
import random
import re
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from minichat.terminal.markdown import MarkdownStream

TOKENS = 30_000
TOKENS_PER_S = 100
LIMIT = 0.03
_TOKEN = re.compile(r"\s?\w{1,5}|\s+|[^\w\s]")
_TEXT = (
    "the a of and answer model number weight when tokens because returns value list Paris same function "
    "**bold** `code` *leaning* [link](https://a.example/page) however, it is: so."
)
_WORDS = _TEXT.split()


def main() -> None:
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS)


def measure(tokens: int) -> None:
    """Prints a row for every kind of answer."""
    print(f"\nan answer of {tokens:,} tokens at {TOKENS_PER_S} tokens/s, on a terminal of 80 x 24")
    print(f"  {'':<28} {'of one core':>12} {'its 2nd half / 1st':>20} {'longest pause':>14}   wanted")
    for name, text in _KINDS.items():
        halves, pause_s = _show(text, tokens)
        share = sum(halves) / (tokens / TOKENS_PER_S)
        wanted = f"below {LIMIT:.0%}" if share < LIMIT else f"below {LIMIT:.0%}: MISSED"
        print(
            f"  {name:<28} {share:>12.2%} {halves[1] / halves[0]:>20.2f} {pause_s * 1000:>11.0f} ms   {wanted}",
            flush=True,
        )


class _Terminal(io.TextIOBase):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


def _show(text: Callable[[], Iterator[str]], count: int) -> tuple[list[float], float]:
    """CPU seconds of both halves of an answer, and the longest time that one token held up the next."""
    pieces = itertools.chain.from_iterable(map(_TOKEN.findall, text()))
    console = Console(
        file=_Terminal(), force_terminal=True, color_system="256", width=80, height=24, _environ={"TERM": "xterm"}
    )
    arrived_s = 0.0
    start_s = time.process_time()
    stream = MarkdownStream(console, lambda: arrived_s + time.process_time() - start_s)
    halves, pause_s = [0.0, 0.0], 0.0
    for number, piece in enumerate(itertools.islice(pieces, count)):
        arrived_s += 1 / TOKENS_PER_S
        before_s = time.process_time()
        stream.feed(piece)
        took_s = time.process_time() - before_s
        halves[2 * number // count] += took_s
        pause_s = max(pause_s, took_s)
    before_s = time.process_time()
    stream.close()
    halves[1] += time.process_time() - before_s
    return halves, pause_s


def _words(count: int, chance: random.Random) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(count))


def _mixed() -> Iterator[str]:
    chance = random.Random(1)
    while True:
        yield f"## {_words(4, chance)}\n\n{_words(80, chance)}\n\n"
        yield "".join(f"- {_words(15, chance)}\n" for _ in range(5)) + "\n"
        yield "```python\n" + "".join(_function(i, chance) for i in range(12)) + "```\n\n"
        yield _HEAD + "".join(_row(i, chance) for i in range(8)) + f"\n> {_words(40, chance)}\n\n"


def _function(number: int, chance: random.Random) -> str:
    return f"def f{number}(x):\n    return x + {number}  # {_words(4, chance)}\n"


_HEAD = "| name | number | what it is |\n|---|--:|---|\n"


def _row(number: int, chance: random.Random) -> str:
    return f"| {_words(2, chance)} | {number} | {_words(3, chance)} |\n"


def _one(head: str, part: Callable[[int, random.Random], str]) -> Callable[[], Iterator[str]]:
    """An answer that is one block: `head`, and parts without end."""

    def text() -> Iterator[str]:
        chance = random.Random(1)
        yield head
        yield from (part(number, chance) for number in itertools.count(1))

    return text


_KINDS: dict[str, Callable[[], Iterator[str]]] = {
    "of everything": _mixed,
    "one table": _one(_HEAD, _row),
    "one list": _one("", lambda number, chance: f"{number}. {_words(12, chance)}\n"),
    "one list of lists": _one("", lambda number, chance: f"{'  ' * (number % 4)}- {_words(10, chance)}\n"),
    "one quote": _one("", lambda _, chance: f"> {_words(10, chance)}\n"),
    "one code block": _one("```python\n", _function),
    "one paragraph": _one("", lambda _, chance: f"{_words(10, chance)} "),
}


if __name__ == "__main__":
    main()
