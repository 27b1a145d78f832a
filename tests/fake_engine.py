"""An engine that answers from a script: the interface of `minichat.engine.client.Engine`, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from minichat.engine.types import Chunk, Done, Event, ModelInfo, Prefill, Reason, Sampling, Stats
from minichat.pictures.album import Picture
from minichat.template.messages import Message
from minichat.template.pieces import Control, Piece, Text
from minichat.template.tools import Tool
from quant.errors import ContextError, EngineError, FitError, MinichatError

INFO = ModelInfo("fake", "llama", "v7-tekken", "recorded", "", 4096, 4096, 1000, 2000, 4096, 1, 0, "<s>")


class FakeReading:
    """The events of a prefill, which are all there."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = iter(events)

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    def is_here(self) -> bool:
        return True


class FakeEngine:
    """`answers`: per answer its chunks; an exception among them is raised, a function called, in its turn.

    A str is a chunk of text; a Control is a control token, whose code is that of its first character. A token is a
    character. `limit`: the most pieces that a prompt may have, and the context that is told.
    """

    def __init__(
        self,
        *answers: Sequence[str | Chunk | Control | MinichatError | Callable[[], object]],
        limit: int = 4096,
        failure: MinichatError | None = None,
    ) -> None:
        self.answers = list(answers)
        self.limit, self.failure = limit, failure
        self.prompts: list[list[Piece]] = []
        self.grammars: list[str | None] = []
        self.fitting: list[int] = []  # the sizes of those that fitted
        self.restored: list[Path] = []
        self.saved: list[Path] = []
        self.read_ahead: list[list[Piece]] = []
        self.stops = 0
        self.pictures: Callable[[str], Picture] | None = None
        self.on_end: Callable[[], object] | None = None
        self.stopped = self.closed = False

    def wait_loaded(self, on_progress: Callable[[float], None] | None = None) -> ModelInfo:
        if on_progress is not None:
            on_progress(0.5)
        if self.failure is not None:
            raise self.failure
        return replace(INFO, ctx=self.limit)

    def is_loaded(self) -> bool:
        return self.failure is None

    def generate(
        self,
        pieces: Sequence[Piece],
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        room: int = 1,
        grammar: str | None = None,
    ) -> Iterator[Event]:
        self.prompts.append(list(pieces))
        self.sampling = sampling
        self.grammars.append(grammar)
        self.stopped = False
        return self._events(list(pieces), max_tokens, room)

    def _events(self, pieces: list[Piece], max_tokens: int | None, room: int) -> Iterator[Event]:
        if self.closed:
            raise EngineError("the engine died: exit code 0")
        if len(pieces) + room - 1 > self.limit:
            raise ContextError(f"the prompt has {len(pieces)} tokens, the context holds {self.limit}")
        self.fitting.append(len(pieces))
        yield Prefill(len(pieces), len(pieces), 0)
        said: list[Chunk | Control] = []
        reason: Reason = "eos"
        for part in self.answers.pop(0):
            if callable(part):
                part()
            elif isinstance(part, str | Chunk):
                chunk = part if isinstance(part, Chunk) else Chunk(part)
                said.append(chunk)
                yield chunk
            elif isinstance(part, Control):
                said.append(part)
            else:
                raise part
            if self.stopped:
                reason = "stop"
                break
            if max_tokens is not None and len(_tokens(said)) >= max_tokens:
                reason = "length"
                break
        tokens = _tokens(said)
        text = "".join(part.text for part in said if isinstance(part, Chunk) and part.kind == "text")
        asked = self.sampling.seed if self.sampling is not None else None
        seed = 1234 if asked is None else asked
        stats = Stats(len(pieces), 0, len(tokens), 0.1, 0.1, 0.5, len(pieces) + len(tokens), seed)
        yield Done(reason, text, tokens, stats, _spans(said))

    def with_pictures(self, pieces: Sequence[Piece]) -> list[Piece]:
        return list(pieces)

    def prefill(self, pieces: Sequence[Piece], *, ahead: bool = False) -> FakeReading:
        self.read_ahead += [list(pieces)] if ahead else []
        return FakeReading([Done("length", "", (), Stats(len(pieces), 0, 0, 0.1, 0.1, 0.0, len(pieces)))])

    def apply_template(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[Piece]:
        return [Control("<|begin|>"), *(Text(message.text) for message in messages)]

    def resize(self, ctx: int) -> ModelInfo:
        """FitError for more than 100,000 tokens."""
        if ctx > 100_000:
            raise FitError("memory has no room for it")
        self.limit = ctx
        return self.wait_loaded()

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        """One id for each piece."""
        spans = [(p.name, True) if isinstance(p, Control) else (getattr(p, "text", "?"), False) for p in pieces]
        return list(range(len(pieces))), spans

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def restore(self, path: Path) -> None:
        self.restored.append(path)

    def save(self, path: Path, limit_bytes: int) -> int:
        self.saved.append(path)
        return 0

    def stop(self, *, gently: bool = False) -> None:
        self.stops += 1
        self.stopped = True

    def has_died(self) -> bool:
        return False

    def check_alive(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def _tokens(said: Sequence[Chunk | Control]) -> tuple[int, ...]:
    return tuple(
        code for part in said for code in (map(ord, part.text) if isinstance(part, Chunk) else [ord(part.name[0])])
    )


def _spans(said: Sequence[Chunk | Control]) -> tuple[tuple[str, bool], ...]:
    spans: list[tuple[str, bool]] = []
    for is_control, run in groupby(said, key=lambda part: isinstance(part, Control)):
        if is_control:
            spans += [(part.name, True) for part in run if isinstance(part, Control)]
        else:
            spans.append(("".join(part.text for part in run if isinstance(part, Chunk)), False))
    return tuple(spans)
