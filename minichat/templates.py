"""Which template a model is talked to with: the person's choice, else the file's word, else the catalog's, else what
the file's vocabulary and embedded template tell. Nothing is guessed: what cannot be told is refused, with what was
found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.conversation import EMBEDDED
from minichat.template import VERSIONS
from minichat.template.pieces import Control
from quant.errors import DataError, GgufError, UsageError

if TYPE_CHECKING:
    from minichat.engine.client import Engine
    from minichat.engine.types import ModelInfo
    from minichat.models import Model


def template_of(model: Model, info: ModelInfo, chosen: str | None) -> str | None:
    """A name of VERSIONS; EMBEDDED for a model of another family that brings its own; None to complete text.

    Raises UsageError for a choice that does not exist, DataError for a model whose template cannot be told or is one
    that this minichat does not have.
    """
    if chosen is not None:
        return check_template(chosen)
    recorded = model.manifest.template if model.manifest is not None else None
    found = info.template if info.template_how == "recorded" else recorded or info.template
    if found is not None and found not in VERSIONS:
        raise DataError(f"{model.name} wants the template {found[:40]!r}; this minichat has {', '.join(VERSIONS)}")
    if found is None and info.template_how == "embedded":
        return EMBEDDED
    if found is None and info.template_how == "unknown":
        raise DataError(
            f"{model.name} does not say which of Mistral's templates it was trained on ({info.template_why}); "
            f"--template names it: {', '.join(VERSIONS)}"
        )
    return found


def check_template(name: str) -> str:
    """`name`, if there is such a template. Raises UsageError."""
    if name not in VERSIONS:
        raise UsageError(f"--template {name[:40]!r}: one of {', '.join(VERSIONS)}")
    return name


def check_tools(template: str | None) -> None:
    """Raises UsageError for a template that has no form for tools."""
    version = VERSIONS.get(template or "")
    if version is None or not version.rules.tools:
        said = {None: "a base model has no form for tools", EMBEDDED: "other families' calls are not understood"}
        why = said.get(template, f"the template {template} has no form for tools")
        raise UsageError(f"--tools: {why}; Mistral's templates from V2 on have one")


def check_call_tokens(template: str | None, engine: Engine) -> None:
    """Raises UsageError for a template whose calls the model's vocabulary cannot write: it was not trained on it."""
    names = ["[TOOL_CALLS]", *(["[ARGS]"] if VERSIONS[template or ""].call_syntax == "marks" else [])]
    try:
        engine.tokenize([Control(name) for name in names])
    except GgufError as error:
        raise UsageError(f"--tools with the template {template}: {error}") from error


def describe_choice(template: str | None, info: ModelInfo, in_chat: bool) -> str | None:
    """What a person should know of the choice before the first answer; None where there is nothing to say."""
    if template == EMBEDDED:
        return f"not one of Mistral's templates: the one that the file carries is used ({info.template_why})"
    if template is None and info.template_how == "base" and in_chat:
        return f"the model continues what you type: {info.template_why} (--template names one)"
    return None
