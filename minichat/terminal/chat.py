"""What the REPL and its commands work on."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import ModelInfo, Sampling, Stats


@dataclass
class Chat:
    """One chat with one model. `run_repl` closes the engine, also one that it opened itself.

    open_engine: starts another engine on the same model, as `engine` was.
    template_of: the template to talk to the model with, told from what the engine says of it once it is loaded.
    history_path: where typed lines are kept for the next time; None keeps them in memory.
    info: what the engine said of the model once it was loaded; stats: those of the last answer.
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
    stats: Stats | None = None
