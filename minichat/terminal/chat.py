"""What the REPL and its commands work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from minichat.formats import TEXT, Format
from minichat.terminal.agreement import Agreement
from minichat.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import ModelInfo, Sampling, Stats
    from minichat.template.pieces import Piece


@dataclass
class Chat:
    """One chat with one model. `run_repl` closes the engine, also one that it opened itself.

    open_engine: starts another engine on the same model, as `engine` was.
    template_of: the template to talk to the model with, told from what the engine says of it once it is loaded; raises
        UsageError for what was asked for and does not go with it.
    history_path: where typed lines are kept for the next time; None keeps them in memory.
    toolbox: what the model may call; agreement: what the person decided of it.
    form: what answers must look like.
    info: what the engine said of the model once it was loaded; stats: those of the last answer; last_prompt: what it
        was given for it.
    """

    engine: Engine
    open_engine: Callable[[], Engine]
    conversation: Conversation
    sampling: Sampling
    max_tokens: int | None
    model_name: str
    history_path: Path | None
    template_of: Callable[[ModelInfo], str | None] = attrgetter("template")
    info: ModelInfo | None = None
    toolbox: Toolbox = field(default_factory=Toolbox)
    agreement: Agreement = field(default_factory=Agreement)
    form: Format = TEXT
    stats: Stats | None = None
    last_prompt: list[Piece] = field(default_factory=list)
