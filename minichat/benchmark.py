"""How fast a model is here: loading, reading a prompt, the first token, and decoding, behind so and so many tokens.

It asks an engine as a chat does, and takes its own `Stats`. A depth is how many tokens stand in the context already:

    prefill        a prompt of `prompt` tokens behind them, read in batches; tokens/s
    first token    seconds from that question to the first token of its answer
    decode         an answer of `answer` tokens behind them, token by token; tokens/s

Guessing ahead is off: what it gains depends on the text, and is not the model's speed. Each is measured `repeats`
times, behind one prompt that is not counted: the first one makes room in the context, and wakes the processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING

from minichat.engine.client import Engine
from minichat.engine.types import Done, LoadOptions, Sampling, Stats
from minichat.template.pieces import Control, Piece, Text, Tokens
from quant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from minichat.engine.types import Event, ModelInfo

DEPTHS = (0, 512, 2048, 8192)
_GREEDY = Sampling(temperature=0, seed=0)
_MOST_ANSWERS = 1000  # for one measurement: a model may end each of them at once
_TEXT = (
    "The harbour lies behind a long wall of grey stone, which was built by hand and has been mended after "
    "every hard winter since. In the morning the boats leave one by one, and whoever has stayed on land "
    "can tell from the sound of an engine whose boat it is. At noon the market opens: there are baskets "
    "of mussels, ropes, apples from the valley, and a woman of ninety who sells nothing but string. "
    "Nobody knows how she lives of it. By four o'clock the wind has usually turned, the nets are hung out "
    "to dry, and the children count the boats that come back. "
)


@dataclass(frozen=True)
class Plan:
    """What is measured. prompt, answer: tokens of each. depths: tokens before them."""

    depths: Sequence[int] = DEPTHS
    prompt: int = 512
    answer: int = 64
    repeats: int = 3

    def fits(self, depth: int, ctx: int) -> bool:
        """
        >>> Plan(prompt=512, answer=64).fits(448, 1024), Plan(prompt=512, answer=64).fits(512, 1024)
        (True, False)
        """
        return depth + max(self.prompt, self.answer + 1) + 2 <= ctx


@dataclass
class Series:
    """The same quantity, measured again and again."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between the lowest and the highest.

        >>> Series([10.0, 11.0, 14.0]).spread
        2.0
        """
        return (max(self.values) - min(self.values)) / 2


@dataclass
class Row:
    """What was measured at one depth. prefill, decode in tokens/s, first_token in seconds."""

    depth: int
    prefill: Series = field(default_factory=Series)
    first_token: Series = field(default_factory=Series)
    decode: Series = field(default_factory=Series)


@dataclass
class Result:
    """All that has been measured so far. load: seconds from the start of an engine to a model that is ready.

    left_out: depths that the context has no room for.
    """

    plan: Plan
    load: Series = field(default_factory=Series)
    rows: list[Row] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    info: ModelInfo | None = None
    memory_bytes: int = 0
    peak_bytes: int = 0

    @property
    def ctx(self) -> int:
        """The longest context, in tokens; 0 before that is known."""
        return self.info.ctx if self.info is not None else 0

    @property
    def complete_rows(self) -> list[Row]:
        """Those with a value in each column."""
        return [row for row in self.rows if row.prefill.values and row.decode.values]


def measure(path: Path, options: LoadOptions, plan: Plan, result: Result, show: Callable[[str], None]) -> None:
    """Fills `result` as it goes, so that it holds what there is if this is interrupted. show: told what is going on.

    Raises what loading and computing raise.
    """
    options = replace(options, speculation=False, draft=None)
    for turn in range(plan.repeats):
        show(f"loading {turn + 1} of {plan.repeats}")
        begin = time.perf_counter()
        with Engine(path, options) as engine:
            result.info = engine.wait_loaded()
            result.load.values.append(time.perf_counter() - begin)
            if turn == plan.repeats - 1:
                _Depths(engine, result.info, plan, result, show).measure()


class _Depths:
    """The measurements on an engine that has the model loaded."""

    def __init__(
        self, engine: Engine, info: ModelInfo, plan: Plan, result: Result, show: Callable[[str], None]
    ) -> None:
        self._engine, self._plan, self._result, self._show = engine, plan, result, show
        self._ctx = info.ctx
        self._begin = engine.tokenize([Control(info.bos)])[0] if info.bos is not None else []
        self._filler = engine.tokenize([Text(_TEXT)])[0]

    def measure(self) -> None:
        for depth in sorted(set(self._plan.depths)):
            if not self._plan.fits(depth, self._ctx):
                self._result.left_out.append(depth)
                continue
            row = Row(depth)
            self._result.rows.append(row)
            self._show(f"depth {depth:,}: reading")
            self._take(self._end(self._engine.prefill(self._prompt(depth, self._plan.prompt, 0))))
            for turn in range(1, self._plan.repeats + 1):
                self._show(f"depth {depth:,}: {turn} of {self._plan.repeats}")
                self._measure(row, turn)

    def _measure(self, row: Row, turn: int) -> None:
        prompt = self._prompt(row.depth, self._plan.prompt, turn)
        stats = self._end(self._engine.generate(prompt, _GREEDY, 1)).stats
        self._take(stats)
        row.prefill.values.append(stats.decoded_tokens / max(stats.prefill_s, 1e-9))
        row.first_token.values.append(stats.first_token_s)
        row.decode.values.append(self._decode_rate(row.depth, turn))

    def _decode_rate(self, depth: int, turn: int) -> float:
        """Tokens/s of an answer of full length; of several in a row where the model ends them early."""
        tokens, seconds = 0, 0.0
        for attempt in range(_MOST_ANSWERS):
            left = self._plan.answer - tokens
            prompt = self._prompt(depth, 1, turn + attempt)
            stats = self._end(self._engine.generate(prompt, _GREEDY, max(left, 1) + 1)).stats
            tokens += max(stats.answer_tokens - 1, 0)
            seconds += stats.decode_s
            self._take(stats)
            if tokens >= self._plan.answer:
                return tokens / max(seconds, 1e-9)
        raise EngineError(f"the model ends every answer at once: of {self._plan.answer} tokens it said {tokens}")

    def _prompt(self, depth: int, more: int, variant: int) -> list[Piece]:
        """`depth` tokens that are always the same, and `more` behind them that begin otherwise in each variant."""
        same = [*self._begin, *_cycled(self._filler, depth)][: max(depth, len(self._begin))]
        shift = variant % len(self._filler)
        return [Tokens((*same, *_cycled([*self._filler[shift:], *self._filler[:shift]], more)))]

    def _end(self, events: Iterable[Event]) -> Done:
        for event in events:
            if isinstance(event, Done):
                return event
        raise EngineError("the engine ended an answer without saying so: run it again")

    def _take(self, told: Done | Stats) -> None:
        stats = told.stats if isinstance(told, Done) else told
        self._result.memory_bytes = stats.memory_bytes or self._result.memory_bytes
        self._result.peak_bytes = max(stats.peak_bytes, self._result.peak_bytes)


def _cycled(ids: Sequence[int], count: int) -> list[int]:
    """
    >>> _cycled([1, 2, 3], 5)
    [1, 2, 3, 1, 2]
    """
    return list(islice(cycle(ids), count))
