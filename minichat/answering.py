"""A question of a program and its answer: the engine is asked, tools are called, the conversation grows.

    question -> text, text … -> the conversation holds question, calls, results and answer

All of it happens while the answer is read. An error leaves the conversation as it was before the question. An answer
that nobody reads on, or that Ctrl-C stops, is kept as far as the model had said it by then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from minichat import formats
from minichat.engine.types import Chunk, Done
from minichat.tools.rounds import Rounds
from minichat.tools.toolbox import Toolbox
from quant.errors import ContextError, EngineDiedError, EngineError, MinichatError

if TYPE_CHECKING:
    from minichat.conversation import Conversation
    from minichat.engine.client import Answer, Engine
    from minichat.engine.types import Event, Sampling
    from minichat.reply import Heard, Stream
    from minichat.template.messages import Message
    from minichat.tools.rounds import Supply


@dataclass(frozen=True)
class Question:
    """What is asked, and how it is to be answered.

    max_tokens: the longest answer. form: what it must look like. supply: the results of calls; None without tools.
    pictures: the sources of those that come before the text.
    """

    text: str
    sampling: Sampling
    max_tokens: int | None
    form: formats.Format
    supply: Supply | None = None
    pictures: tuple[str, ...] = ()


def stream(ready: Callable[[], Engine], conversation: Conversation, question: Question, heard: Heard) -> Stream:
    """The text of the answer, as it comes. ready: gives the engine once the conversation knows its template."""
    before = list(conversation.messages)
    try:
        engine = ready()
        conversation.ask(question.text, question.pictures)
        yield from _rounds(engine, conversation, question, heard)
        if heard.done is not None:
            formats.check(question.form, heard.done.text, heard.done.reason)
        _settle(conversation, before, heard)
    except Exception as error:
        conversation.messages[:] = before
        if isinstance(error, EngineDiedError):
            raise EngineError(f"{error.what}; the next question starts it again") from error
        raise
    except BaseException:  # Ctrl-C, or whoever reads has left
        _settle(conversation, before, heard)
        raise


def _settle(conversation: Conversation, before: Sequence[Message], heard: Heard) -> None:
    """Takes back a question that has no answer; marks an answer that is not whole."""
    messages = conversation.messages
    if len(messages) <= len(before) or conversation.open_answer() is None:
        messages[:] = before
    elif heard.done is not None and heard.done.reason != "eos":
        messages[-1] = replace(messages[-1], cut=True)


def _rounds(engine: Engine, conversation: Conversation, question: Question, heard: Heard) -> Stream:
    """The text of the answer to the last message, with calls of tools between; all of it joins the conversation."""
    rounds = Rounds(conversation, Toolbox(conversation.tools), None, lambda *_: True, supply=question.supply)
    with closing(rounds.steps()) as steps:
        next(steps)
        while True:
            try:
                pieces, grammar = conversation.pieces(), question.form.grammar
                events = engine.generate(pieces, question.sampling, question.max_tokens, grammar=grammar)
                done = yield from _texts(engine, events, heard)
                steps.send(done)
            except ContextError as error:  # noqa: PERF203
                steps.throw(error)
            except StopIteration:
                return
            except (GeneratorExit, KeyboardInterrupt):
                if heard.done is not None:
                    with suppress(StopIteration):
                        steps.send(heard.done)
                raise


def _texts(engine: Engine, events: Answer, heard: Heard) -> Generator[str, None, Done]:
    """The text among the events; their Done in the end. Whoever leaves before has the answer stopped."""
    heard.done = None
    event: Event | None = None
    if heard.is_stopping:
        engine.stop()
    try:
        for event in events:
            if isinstance(event, Done):
                heard.done = event
                return event
            if isinstance(event, Chunk) and event.kind == "text":
                yield event.text
            elif isinstance(event, Chunk) and event.kind == "think":
                heard.thoughts.append(event.text)
    except (GeneratorExit, KeyboardInterrupt):
        engine.stop()
        with suppress(MinichatError):
            heard.done = next((event for event in chain((event,), events) if isinstance(event, Done)), None)
        raise
    raise EngineError("the engine ended an answer without saying so: ask again")
