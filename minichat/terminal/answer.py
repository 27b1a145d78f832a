"""One answer, from the engine's events to the screen or the pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Protocol

from minichat.engine.types import Chunk, Done, Prefill
from minichat.pictures.sources import name_of
from minichat.template.pieces import Image
from minichat.terminal.echo import echo_off
from minichat.terminal.interrupt import Interrupt, interrupt_stops
from minichat.terminal.output import is_terminal
from minichat.terminal.plain import PlainStream, SentenceStream
from minichat.terminal.progress import StatusLine
from quant.errors import EngineError

if TYPE_CHECKING:
    from minichat.engine.client import Engine
    from minichat.engine.types import Event, Kind, ModelInfo, Sampling
    from minichat.template.pieces import Piece

_QUICK_S = 0.4  # a prompt that is read in less is not worth a status


class AnswerStream(Protocol):
    def feed(self, text: str) -> None: ...
    def close(self) -> None: ...


class Screen:
    """Shows each kind of chunk in its way: the answer as Markdown, or as bare text where a program reads it or it is
    data; thoughts dim and for persons only; calls of tools not at all, they are shown whole by who runs them.

    plain: a terminal gets what a screen reader can follow: the Markdown as it is, by sentences, behind a label that
    tells who speaks.
    """

    def __init__(self, out: IO[str], status: StatusLine, is_data: bool, plain: bool = False) -> None:
        self._out, self._status, self._is_data = out, status, is_data
        self._plain = plain and is_terminal(out)
        self._kind: Kind = "text"
        self._stream = self._open()

    def feed(self, chunk: Chunk) -> None:
        if chunk.kind != self._kind:
            self._stream.close()
            self._kind = chunk.kind
            self._stream = self._open()
        if self._kind == "call":
            self._status.show("calling a tool")
        elif self._kind == "think" and not is_terminal(self._out):
            self._status.show("thinking")
        else:
            self._status.clear()
            self._stream.feed(chunk.text)

    def close(self) -> None:
        self._status.clear()
        self._stream.close()

    def _open(self) -> AnswerStream:
        if self._plain and self._kind != "call":
            return SentenceStream(self._out, "thinking: " if self._kind == "think" else "minichat: ")
        if self._kind == "think":
            return PlainStream(self._out, "dim")
        if self._kind == "call" or self._is_data or not is_terminal(self._out):
            return PlainStream(self._out)
        from rich.console import Console

        from minichat.terminal.markdown import MarkdownStream

        return MarkdownStream(Console(file=self._out, highlight=False))


def wait_loaded(engine: Engine, status: StatusLine) -> ModelInfo:
    """Waits for the model, with a status while it lasts."""
    if engine.is_loaded():
        return engine.wait_loaded()
    try:
        status.show("loading the model")
        return engine.wait_loaded(lambda share: status.show(f"loading the model {share:.0%}"))
    finally:
        status.clear()


def stream_answer(
    engine: Engine,
    pieces: Sequence[Piece],
    sampling: Sampling,
    max_tokens: int | None,
    out: IO[str],
    status: StatusLine,
    room: int = 1,
    grammar: str | None = None,
    heard: Callable[[Chunk], None] | None = None,
    plain: bool = False,
) -> tuple[Done, bool]:
    """Shows the answer to the prompt `pieces` on `out`; its end, and whether Ctrl-C stopped it.

    room: tokens of the context that the prompt must leave free. grammar: what the answer must be, as GBNF; it is data
    then, and shown as it is. heard: gets every chunk, of any kind, before it is shown. plain: nothing on a terminal is
    redrawn (see `Screen`). The model must be loaded. Raises ContextError and EngineError; what had been said before is
    then on the screen.
    """
    with interrupt_stops(engine.stop) as interrupt, echo_off():
        events = engine.generate(pieces, sampling, max_tokens, room, grammar)
        screen = Screen(out, status, grammar is not None, plain)  # imports rich, while the engine is at work already
        try:
            done = _show(_told(events, heard), screen, _Reading(status, pieces), interrupt, engine)
        finally:
            screen.close()
        return done, interrupt.pressed


class _Reading:
    """Says how far the prompt has been read."""

    def __init__(self, status: StatusLine, pieces: Sequence[Piece]) -> None:
        self._status, self._start_s = status, time.monotonic()
        sources = dict.fromkeys(piece.source for piece in pieces if isinstance(piece, Image))
        self._pictures = [name_of(source) for source in sources]  # as the engine calls them
        self._number = self._total = 0  # of the one under way; of all, once the first one is read

    def tell(self, event: Prefill) -> None:
        if event.picture:
            self._status.show(f"reading {self._which(event.picture)}")
        elif time.monotonic() - self._start_s > _QUICK_S:
            share = (event.done - event.reused) / max(event.total - event.reused, 1)
            self._status.show(f"reading the prompt {share:.0%}")

    def _which(self, picture: str) -> str:
        """Those before the first one that has to be read are known from before, and are not counted."""
        while self._pictures and self._pictures[0] != picture and not self._total:
            del self._pictures[0]
        self._total = self._total or len(self._pictures)
        while self._number < self._total:  # names may be the same
            self._number += 1
            if self._pictures[self._number - 1] == picture:
                break
        return f"picture {self._number:,} of {self._total:,}" if self._total > 1 else "the picture"


def _show(events: Iterable[Event], screen: Screen, reading: _Reading, interrupt: Interrupt, engine: Engine) -> Done:
    stopped = False
    for event in events:
        if interrupt.pressed and not stopped:
            stopped = True
            engine.stop()  # the signal may have come before there was an answer to stop
        if isinstance(event, Chunk):
            screen.feed(event)
        elif isinstance(event, Prefill):
            reading.tell(event)
        else:
            return event
    raise EngineError("the engine ended an answer without saying so: /reload, or a new run, starts it again")


def _told(events: Iterable[Event], heard: Callable[[Chunk], None] | None) -> Iterator[Event]:
    for event in events:
        if heard is not None and isinstance(event, Chunk):
            heard(event)
        yield event
