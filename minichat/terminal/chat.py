"""What the REPL and its commands work on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from minichat.choices import Choices
from minichat.engine.types import LoadOptions
from minichat.formats import TEXT, Format
from minichat.saved import without_tokens
from minichat.sessions import Sessions
from minichat.terminal import parking
from minichat.terminal.agreement import Agreement
from minichat.terminal.output import print_error
from minichat.tools.toolbox import Toolbox
from minichat.worded import sources_in
from quant.errors import MinichatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import Chunk, ModelInfo, Sampling, Stats
    from minichat.models import Model
    from minichat.session import Session
    from minichat.sight import Sight
    from minichat.template.pieces import Piece
    from minichat.terminal.parking import Parked
    from minichat.terminal.unsent import Unsent


@dataclass(frozen=True)
class Opened:
    """A model that another one may be changed for. open_engine: starts an engine on it."""

    model: Model
    open_engine: Callable[[LoadOptions], Engine]


@dataclass
class Chat:
    """One chat with one model. `run_repl` closes the engine, also one that it opened itself.

    open_engine: starts another engine on the same model. load: how `engine` was started.
    template_of: the template to talk to the model with, told from what the engine says of it once it is loaded; raises
        UsageError for what was asked for and does not go with it.
    history_path: where typed lines are kept for the next time; None keeps them in memory.
    toolbox: what the model may call; agreement: what the person decided of it.
    form: what answers must look like.
    choices: what was chosen for the chat, and by whom.
    open_model: finds, fetches or makes the model of a name, with the questions that belong to it; None where the model
        cannot be changed.
    plain: for screen readers: nothing is redrawn. keys: "emacs" or "vi".
    typeahead: whether what is typed is read before it is sent: "on", "off", or "mains" (not on battery).
    was_loaded: whether a model has ever been loaded in it.
    info: what the engine said of the model once it was loaded; stats: those of the last answer; last_prompt: what it
        was given for it; heard: the text of the answer under way; keeps_heard: whether the session is told of it; used:
        tokens of the context that are taken, None where that has not been counted.
    draft: what the next prompt begins with; editing: the turn in whose place it will be sent; unsent: the last message
        that came to nothing.
    sessions: the conversations that are kept; session: this one, None where it is kept nowhere.
    deaths: how often the engine has died since it gave an answer, or was started by hand.
    parked: the model before this one, if it is still loaded.
    sight: the pictures of the conversation; None where it has none.
    retries: how often an answer was drawn again with a seed next to the one that was asked for.
    """

    engine: Engine
    open_engine: Callable[[LoadOptions], Engine]
    conversation: Conversation
    sampling: Sampling
    max_tokens: int | None
    model_name: str
    history_path: Path | None
    template_of: Callable[[ModelInfo], str | None] = attrgetter("template")
    load: LoadOptions = field(default_factory=LoadOptions)
    info: ModelInfo | None = None
    toolbox: Toolbox = field(default_factory=Toolbox)
    agreement: Agreement = field(default_factory=Agreement)
    form: Format = TEXT
    plain: bool = False
    keys: str = "emacs"
    typeahead: str = "on"
    choices: Choices = field(default_factory=Choices)
    open_model: Callable[[str], Opened] | None = None
    was_loaded: bool = False
    stats: Stats | None = None
    last_prompt: list[Piece] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    keeps_heard: bool = True
    used: int | None = None
    draft: str = ""
    editing: int | None = None
    unsent: Unsent | None = None
    retries: int = 0
    deaths: int = 0
    sessions: Sessions = field(default_factory=Sessions.default)
    session: Session | None = None
    parked: Parked | None = None
    sight: Sight | None = None
    _kept: set[tuple[str, str]] = field(default_factory=set)  # pictures that are kept: by session, and source

    def restart(self, load: LoadOptions | None = None) -> None:
        """Ends the engine and starts it again, with other options if there are any; the conversation stays."""
        parking.close(self)  # what is loaded anew is to have all the memory that there is
        self.engine.close()
        self.load = load or self.load
        self.engine, self.info = self.open_engine(self.load), None
        self.warm_up()

    def resize(self, ctx: int) -> None:
        """Goes on with a context of `ctx` tokens, and what has been read of the conversation. Errors of the engine."""
        parking.close(self)
        self.info = self.engine.resize(ctx)

    def edit_no_more(self) -> None:
        """What stands in the prompt will be sent as a new message."""
        self.editing = None

    def hear(self, chunk: Chunk) -> None:
        """Takes note of a piece of the answer under way."""
        if chunk.kind == "text":
            self.heard.append(chunk.text)
            if self.session is not None and self.keeps_heard:
                self.session.hear(chunk.text)

    def as_shown(self, info: ModelInfo) -> Conversation:
        """The conversation as a model that has been loaded is shown it. What raises is what `template_of` raises."""
        messages = list(self.conversation.messages)
        if self.session is not None and self.session.vocabulary not in (None, info.vocabulary):
            messages = without_tokens(messages)  # a file of the same name was another model
        template, embedded = self.template_of(info), self.engine.apply_template
        return replace(self.conversation, template=template, embedded=embedded, bos=info.bos, messages=messages)

    @property
    def model_reference(self) -> str:
        """What leads to the chat's model again, from any folder."""
        return self.choices.model.reference if self.choices.model is not None else self.model_name

    def save(self) -> None:
        """Brings what is on the disk of this conversation up to date."""
        if self.session is not None:
            self._keep_pictures()
            vocabulary = self.info.vocabulary if self.info is not None else None
            self.session.save(self.conversation, self.model_reference, vocabulary)

    def _keep_pictures(self) -> None:
        """Sees to it that the session can go on when the files of its pictures are gone. Tells what cannot be kept."""
        if self.sight is None or self.session is None:
            return
        for source in sources_in([message.content for message in self.conversation.messages]):
            kept = self.session.name, source  # with another session it may have gone since
            if kept not in self._kept:
                self._kept.add(kept)
                try:
                    self.sight.album().keep(source)
                except MinichatError as error:
                    print_error(str(error), sys.stdout)

    def warm_up(self, name: str | None = None) -> None:
        """Has the engine go on with what it had read of this session when that was left. name: of another, like it."""
        if self.session is not None:
            self.sessions.warm.offer(self.engine, name or self.session.name)

    def forget_warm(self) -> None:
        """Has the next engine read this session anew."""
        if self.session is not None:
            self.sessions.warm.forget(self.session.name)

    def keep_warm(self) -> None:
        """Keeps what the engine has read of this session, for the next time."""
        session = self.session
        if session is not None and session.is_on_disk and self.stats is not None and self.engine.is_loaded():
            self.sessions.warm.keep(self.engine, session.name)
