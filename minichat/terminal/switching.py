"""/model: another model in the same chat. The conversation goes on with it, or all stays as it was.

The new model is loaded before the old one is given up; only where memory is too short for both, the other way round.
The old one stays loaded as long as memory allows (`minichat.terminal.parking`): /model back finds its cache.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minichat.saved import without_tokens
from minichat.settings import load_options
from minichat.template.messages import Message
from minichat.terminal import parking
from minichat.terminal.answer import wait_loaded
from minichat.terminal.chosen import bring, template_teller
from minichat.terminal.output import say
from minichat.terminal.progress import StatusLine
from minichat.worded import sources_in
from quant.errors import DataError, EngineError, FitError, GgufError, MinichatError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions, ModelInfo
    from minichat.models import Model
    from minichat.terminal.chat import Chat, Opened

_VOCABULARY_KEYS = ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.merges")


def switch_model(chat: Chat, name: str) -> None:
    """Talks to the model of that name from now on.

    Raises UsageError or DataError for a model that is none, that cannot be had, or that cannot go on with the
    conversation, and EngineError for one that cannot be loaded: then the chat is as it was before.
    """
    if chat.open_model is None:
        raise UsageError("the model of this chat cannot be changed")
    opened = chat.open_model(name)
    if opened.model == chat.choices.model:
        return
    _check_pictures(chat, opened.model)
    choices = chat.choices.for_model(opened.model, name)
    before, after = chat.choices.chosen(), choices.chosen()
    load, tell = load_options(after), template_teller(opened.model, after["template"], chat.toolbox)
    with ExitStack() as undo:
        kept = parking.take(chat, opened.model.path, load)
        if kept is None:
            engine, info = _loaded(chat, opened, load, undo)
        else:
            engine, info = kept.engine, kept.info
            undo.callback(setattr, chat, "parked", kept)
        conversation = _taken_over(chat, opened.model, engine, info, tell(info))
        bring(chat, before, after)
        undo.pop_all()
    if kept is not None:
        conversation.messages = parking.with_tokens(conversation.messages, kept.messages)
    old, left = chat.engine, _left(chat)
    chat.engine = engine
    chat.choices, chat.load, chat.template_of = choices, load, tell
    if chat.sight is not None:
        chat.sight.model = opened.model
    chat.open_engine, chat.model_name, chat.info = opened.open_engine, opened.model.name, None
    chat.conversation.messages[:] = conversation.messages
    chat.stats, chat.used, chat.last_prompt = None, None, []
    if kept is None:
        chat.warm_up()
    if left is None:  # last: the end of an engine takes a while, in which a Ctrl-C may come
        old.close()
    else:
        parking.park(chat, left, info)


def _check_pictures(chat: Chat, model: Model) -> None:
    """DataError for a model that cannot go on with the pictures of the conversation, before it is loaded."""
    messages = chat.conversation.messages
    seen = [
        turn for turn in chat.conversation.turns() if sources_in([m.content for m in messages[turn.start : turn.end]])
    ]
    if seen and model.projector is None:
        which = f"turn {seen[0].number} has a picture" if len(seen) == 1 else f"{len(seen)} turns have pictures"
        way = f"/drop {seen[0].number} leaves it out, /clear" if len(seen) == 1 else "/drop N leaves one out, /clear"
        raise DataError(f"{model.name} reads text alone, and {which}: {way} begins anew; then /model {model.name}")


def _left(chat: Chat) -> parking.Parked | None:
    """The engine to keep for the way back, if it has its model loaded."""
    if chat.info is None or chat.choices.model is None or chat.engine.has_died():
        return None
    path, messages = chat.choices.model.path, list(chat.conversation.messages)
    return parking.Parked(chat.engine, path, chat.load, chat.info, messages)


def _loaded(chat: Chat, opened: Opened, load: LoadOptions, undo: ExitStack) -> tuple[Engine, ModelInfo]:
    """An engine with the new model. Where the two do not go together, the old one is ended; `undo` brings it back."""
    try:
        engine, info = _started(chat, opened, load, undo)
        if chat.info is None or not info.fit:
            return engine, info
        engine.close()  # what fits beside the old model is less than what fits without it
    except (EngineError, FitError, GgufError) as error:
        is_for_memory = not isinstance(error, GgufError) or re.search("alloc|memory", str(error))
        if chat.info is None or not is_for_memory:  # without info, the old model takes no memory yet
            raise
        say(f"({error}; once more, without {chat.model_name} in memory)", "dim")
    chat.keep_warm()  # if the new one fails again, the old one goes on with that
    undo.callback(chat.restart)
    chat.engine.close()
    return _started(chat, opened, load, undo)


def _started(chat: Chat, opened: Opened, load: LoadOptions, undo: ExitStack) -> tuple[Engine, ModelInfo]:
    engine = opened.open_engine(load)
    try:
        info = wait_loaded(engine, StatusLine(sys.stdout, plain=chat.plain))
    except BaseException:
        engine.close()  # at once: another try needs its memory
        raise
    undo.callback(engine.close)
    return engine, info


def _taken_over(chat: Chat, model: Model, engine: Engine, info: ModelInfo, template: str | None) -> Conversation:
    """The conversation as the new model is to see it. DataError for one that its template cannot express."""
    old = chat.conversation
    messages = list(old.messages)
    if chat.choices.model is None or not _is_same_vocabulary(chat.choices.model.path, model.path):
        messages = without_tokens(messages)
    new = replace(old, template=template, messages=messages, embedded=engine.apply_template, bos=info.bos)
    if not messages:
        return new
    if template is None and old.template is not None:
        raise DataError(
            f"{model.name} is a base model, and cannot go on with a chat (/clear, then /model {model.name})"
        )
    tried = replace(new, messages=[*messages, Message("user", "…")] if messages[-1].role == "assistant" else messages)
    try:
        engine.tokenize(tried.pieces())
    except MinichatError as error:
        raise DataError(f"{model.name} cannot go on with this conversation: {error}") from error
    return new


def _is_same_vocabulary(path: Path, other: Path) -> bool:
    """Whether the ids of one file mean the same in another. Files that cannot be read have nothing in common."""
    if path == other:
        return True
    from convert.gguf_file import read_header

    def vocabulary(file: Path) -> list[Any]:
        metadata = read_header(file).metadata
        return [metadata.get(key) for key in _VOCABULARY_KEYS]

    try:
        return vocabulary(path) == vocabulary(other)
    except (MinichatError, OSError):
        return False
