"""minichat for Python programs: a chat with a model, as the terminal has it, without a terminal.

    from minichat import Chat

    with Chat("demo", system="Be brief.") as chat:
        for text in chat.say("What is minichat?"):
            print(text, end="", flush=True)
        print(chat.say("Who made it?").text)

    with Chat("mistral-small3.1") as chat:
        print(chat.say("What is this?", images=["photo.jpg"]).text)

- The model runs in a process of its own. Making a Chat starts it and returns at once; what is wrong with the model's
  file is raised by the first use. It ends with the chat: `with`, `close()`, or when nothing refers to it any more.
- A Chat belongs to one thread at a time; a second one that uses it meanwhile gets a UsageError. Only `stop()` may come
  from any thread, or from a signal handler. Any number of chats may talk at the same time, each in its own thread.
- Whatever goes wrong is a MinichatError, one line (quant/errors.py has the tree), and leaves the conversation as it was
  before the question; so the chat can go on. That holds for a crash of the engine too: the next question starts it
  again. Ctrl-C stops the answer, and what was said of it stays.
- Nothing is printed or asked, and settings of the user are not read: a program means the same everywhere.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, Sampling
from minichat.parameters import PARAMETERS
from minichat.reply import Alone, Heard, Reply
from minichat.sight import Sight, seeing, with_mmproj, with_projector
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from minichat.answering import Question
    from minichat.engine.types import CacheType, Device, FlashAttention, ModelInfo, Stats
    from minichat.formats import Format
    from minichat.models import Model
    from minichat.reply import Stream
    from minichat.template.messages import Message
    from minichat.tools.live import LiveTools
    from minichat.tools.rounds import Supply


class Chat:
    """A conversation with one model.

    model: what `minichat run` takes: a name, "demo", a .gguf file, a checkpoint folder; it must be here already
        (`minichat pull` fetches it).
    system: the system prompt. messages: what was said before, as Message objects or dicts in OpenAI's shape.
    tools: functions that the model may call. Hints and docstring tell it how; they run in the thread that reads the
        answer, without a question to anybody, and what they raise is told to the model.
    max_tokens, temperature, top_k, top_p, min_p, seed: of every answer, unless `say` says otherwise. None leaves it to
        the model's makers and to minichat; temperature 0 always takes the likeliest token.
    template: over the model's own. ctx: context in tokens (None: as much as fits).
    image_max_tokens: of a picture, which is made smaller for that (None: all that the model takes). mmproj: the file
        that makes the model see, where it is not beside it; "none": text alone. The others are the options of
        `minichat run`.

    Raises UsageError for a value out of its limits, DataError for a model that is not here, ToolError for a function
    that cannot be a tool.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "demo",
        *,
        system: str | None = None,
        messages: Sequence[Message | Mapping[str, Any]] = (),
        tools: Sequence[Callable[..., Any]] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        template: str | None = None,
        ctx: int | None = None,
        device: Device = "auto",
        gpu_layers: int | None = None,
        threads: int | None = None,
        cache_type: CacheType = "f16",
        flash_attention: FlashAttention = "auto",
        draft: str | os.PathLike[str] | None = None,
        speculation: bool = True,
        image_max_tokens: int | None = None,
        mmproj: str | os.PathLike[str] | None = None,
    ) -> None:
        self._max_tokens = _checked("max-tokens", max_tokens)
        self._sampling = _sampling(Sampling(), temperature, top_k, top_p, min_p, seed)
        self._template = _checked("template", template)
        self._load = LoadOptions(
            ctx=_checked("ctx", ctx),
            gpu_layers=_checked("gpu-layers", gpu_layers),
            threads=_checked("threads", threads),
            device=_checked("device", device),
            cache_type=_checked("cache-type", cache_type),
            flash_attention=_checked("flash-attention", flash_attention),
            speculation=bool(speculation),
            draft=os.fspath(_found(draft).path) if draft is not None else None,
        )
        self._tools = _live(tools)
        self._conversation = Conversation(None, system, _messages(messages), self._tools.tools if self._tools else ())
        self._model = with_mmproj(_found(model), mmproj)
        self._load = with_projector(self._load, self._model)
        self._sight = Sight(self._model, _checked("image-max-tokens", image_max_tokens), keeps=False)
        if self._sampling.temperature is None and self._model.manifest is not None:
            self._sampling = replace(self._sampling, temperature=self._model.manifest.temperature)
        self._alone = Alone()
        self._info: ModelInfo | None = None
        self._stats: Stats | None = None
        self._heard, self._reply = Heard(), _no_reply
        self._urls: dict[str, str] = {}  # of pictures, by their sources
        self._running = _Running(self._start(), self._sight)
        self._end = weakref.finalize(self, self._running.close)

    # Talking.

    def say(
        self,
        text: str,
        *,
        images: Sequence[str | os.PathLike[str] | bytes] = (),
        schema: object = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
    ) -> Reply:
        """The model's answer: iterate over it for its text as it comes, or take its `text`.

        images: pictures that come before the text, for a model that sees: paths, data: URLs, or the bytes of files
        (JPEG, PNG, WebP, GIF). Here they are read, and what is wrong with one is a DataError now.
        schema: a JSON Schema that the answer is held to; `Reply.value` is then its value. The others are as in the
        class, for this answer. Reading the reply raises ContextError for a conversation that is longer than the
        context, EngineError if the engine died, ToolError for calls of tools that lead nowhere.
        """
        if not isinstance(text, str):
            raise TypeError(f"a message is a text, not {type(text).__name__}")
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError(f"images are a list: images=[{images!r:.80}]")
        longest = _checked("max-tokens", max_tokens) or self._max_tokens
        sampling = _sampling(self._sampling, temperature, top_k, top_p, min_p, seed)
        form = self._form(schema)
        with self._alone():
            from minichat.answering import Question

            self._check_open()
            self._give_up_last()
            pictures = tuple(self._sight.add(image).source for image in images)
            self._heard = Heard()
            asked = Question(text, sampling, longest, form, self._supply(), pictures)
            reply = Reply(self._stream(self._heard, asked), self._heard, self._alone)
            self._reply = weakref.ref(reply)  # who breaks off a loop lets go of the reply, and that ends it
        return reply

    def stop(self) -> None:
        """Ends the answer under way, which then comes to its end like any other. From any thread."""
        self._heard.is_stopping = True
        self._running.engine.stop()

    # The conversation.

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said so far, oldest first: each has `role` and `text`, answers their `tokens`.

        They are whole in themselves: a picture that was read here is a data: URL in them, so that another Chat takes
        them as its `messages`, also in a later process (they can be pickled).
        """
        return tuple(self._whole(message) for message in self._conversation.messages)

    @property
    def system(self) -> str | None:
        """The system prompt; another one holds from the next question on."""
        return self._conversation.system

    @system.setter
    def system(self, text: str | None) -> None:
        with self._alone():
            self._conversation.system = text

    def undo(self) -> None:
        """Takes back the last question and what came of it; nothing, if there is none."""
        with self._alone():
            self._give_up_last()
            if turns := self._conversation.turns():
                self._conversation.drop(turns[-1].number, turns[-1].number)

    def clear(self) -> None:
        """Forgets all that was said; the system prompt stays."""
        with self._alone():
            self._give_up_last()
            self._conversation.clear()

    # The model.

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def info(self) -> ModelInfo:
        """What is known of the model, its context for example. Waits until it is loaded."""
        with self._alone():
            self._ready()
            return self._running.engine.wait_loaded()

    @property
    def stats(self) -> Stats | None:
        """What the last answer cost; None before there is one."""
        return self._stats

    def close(self) -> None:
        """Ends the engine. The messages stay; nothing more can be asked. Closing twice does no harm."""
        self._sight.stop()  # nobody waits for a picture that is being read
        for message in self._conversation.messages:  # whose pictures' files go with the engine
            self._whole(message)
        self._end()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        turns = len(self._conversation.turns())
        return f"<Chat with {self.model}, {turns} turn{'s' * (turns != 1)}{'' if self._end.alive else ', closed'}>"

    def _whole(self, message: Message) -> Message:
        """A message with the pictures that only this chat knows as data: URLs."""
        if isinstance(message.content, str):
            return message
        from minichat.template.messages import ImagePart

        parts = (
            replace(part, source=self._url_of(part.source)) if isinstance(part, ImagePart) else part
            for part in message.content
        )
        return replace(message, content=tuple(parts))

    def _url_of(self, source: str) -> str:
        """A picture's source for elsewhere; as it is, if its bytes are not to be had here."""
        from minichat.pictures.sources import data_url, kept

        if kept(source) is None:
            return source
        if source not in self._urls and self._end.alive:
            with suppress(DataError):
                self._urls[source] = data_url(self._sight.album().content(source))
        return self._urls.get(source, source)

    # Below: for who is alone with the chat.

    def _check_open(self) -> None:
        if not self._end.alive:
            raise UsageError("this chat is closed: make another one")

    def _give_up_last(self) -> None:
        """An answer that nobody reads on must not come between."""
        if (last := self._reply()) is not None:
            last.close()

    def _start(self) -> Engine:
        return seeing(Engine(self._model.path, self._load), self._sight, self._model)

    def _ready(self) -> Engine:
        """The engine with the model loaded; started anew if it died. What depends on the model is found out once."""
        from minichat.templates import check_call_tokens, check_tools, template_of

        self._check_open()
        if self._running.engine.has_died():
            self._running.restart(self._start)
        engine = self._running.engine
        info = engine.wait_loaded()
        self._conversation.embedded = engine.apply_template
        if self._info is None:
            template = template_of(self._model, info, self._template)
            if self._tools is not None:
                check_tools(template)
                check_call_tokens(template, engine)
            self._conversation.template, self._conversation.bos = template, info.bos
            self._info = info
        return engine

    def _form(self, schema: object) -> Format:
        from minichat.formats import TEXT, Format
        from minichat.schema.gbnf import grammar_of

        if schema is None:
            return TEXT
        if self._tools is not None:
            raise UsageError("an answer that must be JSON cannot call tools: ask a Chat without tools")
        return Format("the schema", grammar_of(schema), schema)

    def _supply(self) -> Supply | None:
        return self._tools.result_of if self._tools is not None else None

    def _stream(self, heard: Heard, question: Question) -> Stream:
        """The text of an answer. Not asked for before it is read: then the engine may have to be waited for."""
        from minichat.answering import stream

        try:
            yield from stream(self._ready, self._conversation, question, heard)
        finally:
            self._stats = heard.done.stats if heard.done is not None else self._stats


class _Running:
    """The engine of a chat and its pictures, which outlive no chat: this knows nothing of it."""

    def __init__(self, engine: Engine, sight: Sight) -> None:
        self.engine, self._sight = engine, sight

    def restart(self, start: Callable[[], Engine]) -> None:
        self.engine.close()
        self.engine = start()

    def close(self) -> None:
        self.engine.close()
        self._sight.close()


def _no_reply() -> Reply | None:
    return None


def _found(model: str | os.PathLike[str]) -> Model:
    """The model's file. A path object is a path, a text what it looks like."""
    from minichat.gguf_model import licensed_file
    from minichat.licences import Licensed, unaccepted
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.work import Silent

    text = model if isinstance(model, str) else os.path.abspath(model)  # noqa: PTH100
    found = resolve(text, Store.default(), Silent())
    terms = unaccepted(Licensed.of(found.manifest) if found.manifest else licensed_file(found.name, found.path))
    if terms is not None:
        raise UsageError(
            f"{found.name} is under the {terms.name}, which has not been accepted: `minichat run {text}` asks, once"
        )
    return found


def _messages(given: Sequence[Message | Mapping[str, Any]]) -> list[Message]:
    """Raises TemplateError for a dict that is no message in OpenAI's shape."""
    from minichat.template.messages import Message, parse_messages

    return [one if isinstance(one, Message) else parse_messages(json.dumps([dict(one)]))[0] for one in given]


def _live(functions: Sequence[Callable[..., Any]]) -> LiveTools | None:
    from minichat.tools.live import LiveTools

    return LiveTools(functions) if functions else None


def _checked(name: str, value: Any) -> Any:
    """`value`, if the parameter of this name may have it; None stays None. Raises UsageError."""
    return PARAMETERS[name].check(value) if value is not None else None


def _sampling(below: Sampling, *values: float | int | None) -> Sampling:
    """`below` with what is given, in the order of Sampling's fields. UsageError for a value out of its limits."""
    names = ("temperature", "top_k", "top_p", "min_p", "seed")
    given = {name: _checked(name.replace("_", "-"), value) for name, value in zip(names, values, strict=True)}
    return replace(below, **{name: value for name, value in given.items() if value is not None})
