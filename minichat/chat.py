"""`minichat run`: one answer, or a chat, from a model that is being loaded."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from minichat.conversation import Conversation
from minichat.engine.client import Engine
from minichat.engine.types import Done, LoadOptions, ModelInfo, Sampling, Stats
from minichat.template import VERSIONS
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from minichat.models import Model


@dataclass(frozen=True)
class RunOptions:
    """What a person may choose for a run. max_tokens: the longest answer; template: over the model's own."""

    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    template: str | None = None


def answer(model: Model, question: str, options: RunOptions, as_json: bool, with_stats: bool) -> None:
    """Writes one answer to standard output, and with `with_stats` a line about its cost to standard error."""
    sampling = _sampling(model, options.sampling)
    with Engine(model.path, options.load) as engine:  # it loads while the terminal is imported
        from minichat.terminal.answer import answer_once, wait_loaded
        from minichat.terminal.output import print_json, say
        from minichat.terminal.progress import StatusLine

        info = wait_loaded(engine, StatusLine(sys.stderr))
        conversation = Conversation(template_of(model, info, options.template), options.system)
        conversation.ask(question)
        with io.StringIO() if as_json else contextlib.nullcontext(sys.stdout) as out:
            done = answer_once(engine, conversation, sampling, options.max_tokens, out)
        if as_json:
            print_json(_facts(model.name, conversation.template, done), indent=None)
        if with_stats:
            say(describe_stats(done.stats), stream=sys.stderr)
        if done.reason == "context":
            say(f"the answer was cut: the context of {info.ctx:,} tokens is full (--ctx)", stream=sys.stderr)


def chat(model: Model, options: RunOptions) -> None:
    """Talks in the terminal until the person leaves."""
    if options.template is not None:
        check_template(options.template)
    engine = Engine(model.path, options.load)  # it loads while the terminal is imported
    from minichat.home import home
    from minichat.terminal.interrupt import echo_off

    with echo_off():  # what is typed already belongs to the prompt
        from minichat.terminal.chat import Chat
        from minichat.terminal.repl import run_repl

    run_repl(
        Chat(
            engine=engine,
            open_engine=lambda: Engine(model.path, options.load),
            conversation=Conversation(options.template, options.system),
            sampling=_sampling(model, options.sampling),
            max_tokens=options.max_tokens,
            model_name=model.name,
            history_path=home() / "history",
            template_of=lambda info: template_of(model, info, options.template),
        )
    )


def template_of(model: Model, info: ModelInfo, chosen: str | None) -> str | None:
    """The version of Mistral's template to talk to a model with; None to complete text.

    The file itself tells, else what the store recorded of it (the catalog knows templates of files by others). Raises
    UsageError for a choice that does not exist, DataError for a model whose template cannot be told.
    """
    if chosen is not None:
        return check_template(chosen)
    recorded = model.manifest.template if model.manifest is not None else None
    found = info.template or (recorded if info.template_how == "unknown" else None)
    if found is not None and found not in VERSIONS:
        raise DataError(f"{model.name} wants the template {found[:40]!r}; this minichat has {', '.join(VERSIONS)}")
    if found is None and info.template_how == "unknown":
        raise DataError(
            f"{model.name} does not say which of Mistral's templates it was trained on; --template names it: "
            "v7-tekken (Mistral Small 3), v3-tekken (Ministral 8B) or v3 (Mistral Small 2)"
        )
    return found


def _sampling(model: Model, asked: Sampling) -> Sampling:
    """What was asked for, at the temperature that the catalog advises if nobody asked for one."""
    advised = model.manifest.temperature if model.manifest is not None else None
    return replace(asked, temperature=advised) if asked.temperature is None and advised is not None else asked


def check_template(name: str) -> str:
    """`name`, if there is such a template. Raises UsageError."""
    if name not in VERSIONS:
        raise UsageError(f"--template {name[:40]!r}: one of {', '.join(VERSIONS)}")
    return name


def describe_stats(stats: Stats) -> str:
    """One line on what an answer cost."""
    prefilled = stats.prompt_tokens - stats.reused_tokens
    return (
        f"prompt {stats.prompt_tokens} tokens, {stats.reused_tokens} of them cached, the rest at "
        f"{prefilled / max(stats.prefill_s, 1e-9):.0f}/s; first token after {stats.first_token_s:.2f} s; "
        f"answer {stats.answer_tokens} tokens at {stats.decode_tokens_per_s:.1f}/s"
    )


def _facts(name: str, template: str | None, done: Done) -> dict[str, Any]:
    stats = asdict(done.stats) | {"decode_tokens_per_s": done.stats.decode_tokens_per_s}
    return {"model": name, "template": template, "answer": done.text, "reason": done.reason, "stats": stats}
