"""What `minichat config` has to say: JSON for scripts, a table for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.choices import Choices, with_defaults
from minichat.manifest import DEFAULT_TAG, Manifest, ModelName
from minichat.parameters import PARAMETERS
from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.sanitize import clean_line

if TYPE_CHECKING:
    from minichat.catalog import Entry
    from minichat.models import Model
    from minichat.settings import Setting, Settings

_MAX_SHOWN = 200  # characters of a system prompt in the table


def show_config(
    settings: Settings, model: str | None, persona: str | None, environment: Mapping[str, str], as_json: bool
) -> None:
    """Every parameter for the chats with a model, None: with the default one. It need not be here.

    Raises UsageError for a persona that is none, and for what can be no model.
    """
    named = model if model is not None else settings.model_for(persona)
    choices = Choices(settings, persona, environment=environment)
    path = None
    if named is not None:
        found = _known(named)
        choices = choices.for_model(found, named)
        path = found.path
    chosen = with_defaults(choices.chosen(), path)
    if as_json:
        print_json(
            {
                "path": str(settings.path),
                "model": named,
                "persona": settings.persona(persona) if persona is not None else None,
                "personas": list(settings.personas),
                "parameters": {n: {"value": s.value, "from": s.source} for n, s in chosen.items()},
            }
        )
        return
    _say_where(settings, named, model is None)
    rows = [[name, _brief(name, setting), setting.source] for name, setting in chosen.items()]
    tables.print_table(["NAME", "VALUE", "FROM"], rows, wraps=(1,))
    if settings.personas and persona is None:
        say(f"personas (--as NAME): {', '.join(settings.personas)}", "dim", stream=sys.stderr)


def _say_where(settings: Settings, model: str | None, is_default: bool) -> None:
    there = "" if settings.path.exists() else " (not there yet: `minichat config --edit` makes it)"
    say(f"{settings.path}{there}", "dim", stream=sys.stderr)
    if model is not None:
        said = "the default model" if is_default else "chats with"
        say(f"{said} {clean_line(model)}", "dim", stream=sys.stderr)


def _brief(name: str, setting: Setting) -> str:
    text = " ".join(PARAMETERS[name].shown(setting.value).split())
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _known(text: str) -> Model:
    """What can be told of a model without fetching or making it. UsageError for what can be no name."""
    from minichat.catalog import load_catalog
    from minichat.models import Model, expanded, is_path
    from minichat.store import Store

    if is_path(text):
        return Model(text, expanded(text))
    if "/" in text:  # a repo on the hub
        return Model(text, Path(text))
    name, store, match = ModelName.parse(text), Store.default(), load_catalog().find(ModelName.parse(text))
    manifest = store.find(name) or (store.find(match.canonical) if match is not None else None)
    if manifest is not None:
        return Model(manifest.full_name, store.path(manifest), manifest)
    name = match.canonical if match is not None else ModelName(name.name, name.tag or DEFAULT_TAG)
    return Model(str(name), Path(str(name)), _awaited(name, match.entry if match is not None else None))


def _awaited(name: ModelName, entry: Entry | None) -> Manifest:
    """What the store would know of a model that is not here."""
    unknown = {"blob": "", "size_bytes": 0, "target": "", "architecture": "", "source": "", "source_stamp": ""}
    return Manifest(
        name.name,
        name.tag or DEFAULT_TAG,
        **unknown,  # type: ignore[arg-type]
        created="",
        template=entry.template if entry is not None else None,
        parameters=entry.parameters if entry is not None else 0,
        context_length=entry.context_length if entry is not None else 0,
        repo=entry.repo if entry is not None else None,
        temperature=entry.temperature if entry is not None else None,
    )
