"""What the command line and the settings come to, for `run` and `map`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.chat import Memory, RunOptions
    from minichat.choices import Choices
    from minichat.terminal.chat import Opened
    from minichat.tools.toolbox import Toolbox


def model_and_prompt(model: str | None, prompt: str | None, default: str | None) -> tuple[str, str | None]:
    """What the words behind `run` stand for; `default` is the model of the session, or of the settings.

    A word alone is the MODEL if it names one, or there is no other; else it is a PROMPT for the default one.
    Raises UsageError where no model is named.

    >>> model_and_prompt("demo", None, "mistral-small"), model_and_prompt("why?", None, "mistral-small")
    (('demo', None), ('mistral-small', 'why?'))
    """
    if model is not None and prompt is None and default is not None:
        from minichat.models import names_model
        from minichat.store import Store

        if not names_model(model, Store.default()):
            return default, model
    named = model if model is not None else default
    if named is None:
        raise UsageError(
            "no MODEL: name one (`minichat run demo`), or set the one that you mean without a name: "
            'model = "…" in the file that `minichat config --edit` opens'
        )
    return named, prompt


def run_options(choices: Choices, toolbox: Toolbox | None = None, allow_tools: bool = False) -> RunOptions:
    """The choices for one model, as a run takes them. Raises DataError for the file of a schema that is none."""
    from minichat import settings
    from minichat.chat import RunOptions

    chosen = choices.chosen()
    system, template = (chosen[name].value for name in ("system", "template"))
    max_tokens, warm_gb, image_tokens = (chosen[name].value for name in ("max-tokens", "warm-gb", "image-max-tokens"))
    return RunOptions(
        str(system) if system else None,
        settings.sampling(chosen),
        max_tokens if isinstance(max_tokens, int) else None,
        settings.load_options(chosen),
        str(template) if template else None,
        toolbox,
        allow_tools,
        settings.answer_format(chosen),
        bool(chosen["plain"].value),
        str(chosen["keys"].value or "emacs"),
        str(chosen["typeahead"].value or "on"),
        warm_gb=warm_gb if isinstance(warm_gb, int) else None,
        image_max_tokens=image_tokens if isinstance(image_tokens, int) else None,
    )


def open_memory(continues: bool, name: str | None, private: bool) -> Memory:
    """What --continue, --session and --private come to.

    Raises UsageError where they contradict each other, or there is no session to go on with; DataError for a session's
    file that is none.
    """
    from minichat.chat import Memory

    if private and (continues or name is not None):
        raise UsageError("--private keeps nothing: leave it out, or --continue and --session")
    if continues and name is not None:
        raise UsageError("--continue is the last session, --session one of its name: one of the two")
    if name is None and not continues:
        return Memory(private=private)
    from minichat.sessions import Sessions

    sessions = Sessions.default()
    name = sessions.newest() if continues else name
    if name is None:
        raise UsageError("there is no session to go on with yet: every chat becomes one")
    return Memory(*sessions.open_or_new(name))


def open_model(name: str) -> Opened:
    """What /model goes on with: found, fetched or made as `run` does it, with the same questions.

    Nothing that was agreed to on the command line is agreed to for another model.
    """
    from minichat.commands.chat import use
    from minichat.commands.hub import fetching
    from minichat.commands.options import find_model
    from minichat.engine.client import Engine
    from minichat.sight import with_projector
    from minichat.terminal.chat import Opened

    found = find_model(name, fetching(False, False))
    use(found, False)
    return Opened(found, lambda load: Engine(found.path, with_projector(load, found)))
