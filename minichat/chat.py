"""`minichat run`: what a person may choose for it, and the chat. One answer is `minichat.oneshot`'s."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, Sampling, Stats
from minichat.formats import TEXT, Format
from minichat.templates import check_template, check_tools, template_of

if TYPE_CHECKING:
    from minichat.engine.types import ModelInfo
    from minichat.models import Model
    from minichat.tools.toolbox import Toolbox


@dataclass(frozen=True)
class RunOptions:
    """What a person may choose for a run.

    max_tokens: the longest answer. template: over the model's own. toolbox: what the model may call; allow_tools: its
    calls are run without asking. form: what the answer must look like.
    """

    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    template: str | None = None
    toolbox: Toolbox | None = None
    allow_tools: bool = False
    form: Format = TEXT

    def conversation(self) -> Conversation:
        """An empty conversation; its template is `choose_template`'s to tell, once the model is loaded."""
        return Conversation(self.template, self.system, tools=self.toolbox.tools if self.toolbox else ())

    def choose_template(self, model: Model, info: ModelInfo) -> str | None:
        """The template for a model that has been loaded. Raises UsageError for tools where it has no form for them."""
        template = template_of(model, info, self.template)
        if self.toolbox is not None:
            check_tools(template)
        return template


def chat(model: Model, options: RunOptions) -> None:
    """Talks in the terminal until the person leaves."""
    if options.template is not None:
        check_template(options.template)
    engine = Engine(model.path, options.load)  # it loads while the terminal is imported
    from minichat.home import home
    from minichat.terminal.interrupt import echo_off
    from minichat.tools.toolbox import Toolbox

    with echo_off():  # what is typed already belongs to the prompt
        from minichat.terminal.agreement import Agreement
        from minichat.terminal.chat import Chat
        from minichat.terminal.repl import run_repl

    run_repl(
        Chat(
            engine=engine,
            open_engine=lambda load: Engine(model.path, load),
            load=options.load,
            conversation=options.conversation(),
            sampling=sampling_of(model, options.sampling),
            max_tokens=options.max_tokens,
            model_name=model.name,
            history_path=home() / "history",
            template_of=lambda info: options.choose_template(model, info),
            toolbox=options.toolbox or Toolbox(),
            agreement=Agreement(options.allow_tools, sys.stdout),
            form=options.form,
        )
    )


def sampling_of(model: Model, asked: Sampling) -> Sampling:
    """What was asked for, at the temperature that the catalog advises if nobody asked for one."""
    advised = model.manifest.temperature if model.manifest is not None else None
    return replace(asked, temperature=advised) if asked.temperature is None and advised is not None else asked


def describe_stats(stats: Stats) -> str:
    """One line on what an answer cost."""
    prefilled = stats.prompt_tokens - stats.reused_tokens
    return (
        f"prompt {stats.prompt_tokens} tokens, {stats.reused_tokens} of them cached, the rest at "
        f"{prefilled / max(stats.prefill_s, 1e-9):.0f}/s; first token after {stats.first_token_s:.2f} s; "
        f"answer {stats.answer_tokens} tokens at {stats.decode_tokens_per_s:.1f}/s"
    )
