"""`minichat run`: what a person may choose for it, and the chat. One answer is `minichat.oneshot`'s."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, Sampling, Stats
from minichat.formats import TEXT, Format
from minichat.sight import Sight, seeing, with_projector
from minichat.templates import check_template, check_tools, template_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from minichat.choices import Choices
    from minichat.engine.types import ModelInfo
    from minichat.models import Model
    from minichat.saved import Saved
    from minichat.session import Session
    from minichat.terminal.chat import Opened
    from minichat.tools.toolbox import Toolbox


@dataclass(frozen=True)
class Memory:
    """session: where the conversation is kept; None: a chat gets a new one, one answer is not kept.
    saved: the one that goes on; its system prompt is one of the choices that `RunOptions.system` comes of.
    private: nothing is written, the history of the prompt neither.
    """

    session: Session | None = None
    saved: Saved | None = None
    private: bool = False


@dataclass(frozen=True)
class RunOptions:
    """What a person may choose for a run.

    max_tokens: the longest answer. template: over the model's own. toolbox: what the model may call; allow_tools: its
    calls are run without asking. form: what the answer must look like. plain: for screen readers. keys: those of the
    prompt. typeahead: as `Chat.typeahead`. memory: where the conversation is kept, and what it goes on with. warm_gb:
    what may be kept beside sessions, so that they go on at once; None: the usual. image_max_tokens: of a picture.
    raw: no template, whatever the model's.
    """

    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    template: str | None = None
    toolbox: Toolbox | None = None
    allow_tools: bool = False
    form: Format = TEXT
    plain: bool = False
    keys: str = "emacs"
    typeahead: str = "on"
    memory: Memory = field(default_factory=Memory)
    warm_gb: int | None = None
    image_max_tokens: int | None = None
    raw: bool = False

    def conversation(self) -> Conversation:
        """An empty conversation; its template is `choose_template`'s to tell, once the model is loaded."""
        tools = self.toolbox.tools if self.toolbox else ()
        return Conversation(self.template, self.system, tools=tools)

    def choose_template(self, model: Model, info: ModelInfo) -> str | None:
        """The template for a model that has been loaded. Raises UsageError for tools where it has no form for them."""
        template = template_of(model, info, self.template) if not self.raw else None
        if self.toolbox is not None:
            check_tools(template)
        return template


def chat(
    model: Model, options: RunOptions, choices: Choices, open_model: Callable[[str], Opened], draft: str = ""
) -> None:
    """Talks in the terminal until the person leaves. open_model: for /model, as `Chat.open_model`. draft: what the
    first prompt begins with.
    """
    if options.template is not None:
        check_template(options.template)
    engine = Engine(model.path, with_projector(options.load, model))  # it loads while the terminal is imported
    from minichat.home import home
    from minichat.sessions import Sessions
    from minichat.terminal.echo import echo_off
    from minichat.tools.toolbox import Toolbox

    with echo_off():  # what is typed already belongs to the prompt
        from minichat.terminal.agreement import Agreement
        from minichat.terminal.chat import Chat
        from minichat.terminal.repl import run_repl

    memory, sessions = options.memory, Sessions.default()
    sessions.warm_gb = options.warm_gb
    sight = Sight(model, options.image_max_tokens)
    engine.pictures = sight.for_engine(model, engine)
    talk = Chat(
        engine=engine,
        open_engine=lambda load: seeing(Engine(model.path, with_projector(load, model)), sight, model),
        load=options.load,
        conversation=options.conversation(),
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        model_name=model.name,
        history_path=home() / "history" if not memory.private else None,
        template_of=lambda info: options.choose_template(model, info),
        toolbox=options.toolbox or Toolbox(),
        agreement=Agreement(options.allow_tools, sys.stdout),
        form=options.form,
        choices=choices,
        open_model=partial(_opened, open_model, sight),
        plain=options.plain,
        keys=options.keys,
        typeahead=options.typeahead,
        sessions=sessions,
        session=memory.session if memory.session is not None or memory.private else sessions.new(),
        draft=draft,
        sight=sight,
    )
    if memory.saved is not None:
        from minichat.terminal.resuming import resume

        resume(talk, memory.saved, keep_system=True)  # the choices have weighed it
    with sight:
        run_repl(talk)


def _opened(open_model: Callable[[str], Opened], sight: Sight, name: str) -> Opened:
    """Another model, shown the same pictures."""
    opened = open_model(name)
    return replace(opened, open_engine=lambda load: seeing(opened.open_engine(load), sight, opened.model))


def describe_stats(stats: Stats) -> str:
    """One line on what an answer cost.

    >>> describe_stats(Stats(598, 500, 4, 0.09, 0.05, 0.1, 602, memory_bytes=210_000_000, peak_bytes=230_000_000))
    'prompt 598 tokens: 500 reused, 98 decoded at 1960/s; first token after 0.09 s; answer 4 tokens at 30.0/s; \
memory 210 MB, at most 230 MB'
    """
    from minichat.terminal.units import format_bytes

    rate = stats.decoded_tokens / max(stats.prefill_s - stats.encode_s, 1e-9)
    parts = [
        f"prompt {stats.prompt_tokens} tokens: {stats.reused_tokens} reused, "
        f"{stats.decoded_tokens} decoded at {rate:.0f}/s",
        f"first token after {stats.first_token_s:.2f} s",
        f"answer {stats.answer_tokens} tokens at {stats.decode_tokens_per_s:.1f}/s",
    ]
    if stats.pictures:
        parts.insert(1, f"{stats.pictures} picture{'s' * (stats.pictures != 1)} encoded in {stats.encode_s:.1f} s")
    if stats.drafted:
        parts.append(f"{stats.accepted} of {stats.drafted} guesses right")
    if stats.memory_bytes:
        parts.append(f"memory {format_bytes(stats.memory_bytes)}, at most {format_bytes(stats.peak_bytes)}")
    return "; ".join(parts)
