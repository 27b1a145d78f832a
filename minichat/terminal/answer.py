"""One answer, from the engine's events to the screen or the pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Protocol

from minichat.engine.types import Chunk, Done, Prefill
from minichat.terminal.interrupt import Interrupt, echo_off, interrupt_stops
from minichat.terminal.output import is_terminal, say
from minichat.terminal.plain import PlainStream
from minichat.terminal.progress import StatusLine
from quant.errors import EngineError

if TYPE_CHECKING:
    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import Event, ModelInfo, Sampling

_QUICK_S = 0.4  # a prompt that is read in less is not worth a status


class AnswerStream(Protocol):
    def feed(self, text: str) -> None: ...
    def close(self) -> None: ...


def open_stream(out: IO[str]) -> AnswerStream:
    """Markdown for a person, bare text for a program."""
    if not is_terminal(out):
        return PlainStream(out)
    from rich.console import Console

    from minichat.terminal.markdown import MarkdownStream

    return MarkdownStream(Console(file=out, highlight=False))


def wait_loaded(engine: Engine, status: StatusLine) -> ModelInfo:
    """Waits for the model, with a status while it lasts."""
    try:
        status.show("loading the model")
        return engine.wait_loaded(lambda share: status.show(f"loading the model {share:.0%}"))
    finally:
        status.clear()


def stream_answer(
    engine: Engine,
    conversation: Conversation,
    sampling: Sampling,
    max_tokens: int | None,
    out: IO[str],
    status: StatusLine,
    remark: str = "",
    room: int = 1,
) -> tuple[Done, bool]:
    """Shows the answer to the conversation on `out`; its end, and whether Ctrl-C stopped it.

    remark: said before the answer, once it is known that the prompt fits. room: tokens of the context that the prompt
    must leave free. The model must be loaded. The conversation
    is not changed. Raises ContextError, EngineError, TemplateError; what had been said before is then on the screen.
    """
    pieces = conversation.pieces()
    with echo_off(), interrupt_stops(engine.stop) as interrupt:
        events = engine.generate(pieces, sampling, max_tokens, room)
        stream = open_stream(out)  # imports rich, while the engine is at work already
        try:
            done = _show(_after_remark(events, remark), stream, status, interrupt, engine)
        finally:
            status.clear()
            stream.close()
        return done, interrupt.pressed


def _show(
    events: Iterable[Event], stream: AnswerStream, status: StatusLine, interrupt: Interrupt, engine: Engine
) -> Done:
    start_s = time.monotonic()
    stopped = False
    for event in events:
        if interrupt.pressed and not stopped:
            stopped = True
            engine.stop()  # the signal may have come before there was an answer to stop
        if isinstance(event, Chunk):
            status.clear()
            stream.feed(event.text)
        elif isinstance(event, Prefill):
            if time.monotonic() - start_s > _QUICK_S:
                share = (event.done - event.reused) / max(event.total - event.reused, 1)
                status.show(f"reading the prompt {share:.0%}")
        else:
            return event
    raise EngineError("the engine ended an answer without saying so: /reload, or a new run, starts it again")


def _after_remark(events: Iterable[Event], remark: str) -> Iterator[Event]:
    for event in events:
        if remark:
            say(remark, "dim")
            remark = ""
        yield event


def answer_once(
    engine: Engine,
    conversation: Conversation,
    sampling: Sampling,
    max_tokens: int | None = None,
    out: IO[str] | None = None,
) -> Done:
    """The answer to the question that `conversation` ends with, on `out` (stdout); it joins the conversation.

    The model must be loaded.

    Ctrl-C ends the answer, then raises KeyboardInterrupt; a closed pipe raises BrokenPipeError.
    """
    out = out or sys.stdout
    done, interrupted = stream_answer(engine, conversation, sampling, max_tokens, out, StatusLine(sys.stderr))
    conversation.answer(done.text, done.tokens)
    if interrupted:
        raise KeyboardInterrupt
    return done
