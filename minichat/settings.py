"""What is chosen for a chat, and by whom: the command line, a persona, the model's own settings, defaults, advice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minichat.engine.types import LoadOptions, Sampling
from minichat.parameters import AUTO, PARAMETERS, Value
from minichat.settings_file import Settings, config_path, load_settings, parse_settings, values_of
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.formats import Format

__all__ = ["Setting", "Settings", "config_path", "load_settings", "parse_settings"]

COMMAND_LINE = "command line"
Layer = tuple[str, Mapping[str, Value]]  # who says it, and what


@dataclass(frozen=True)
class Setting:
    """A parameter's value and who chose it; "" for nobody."""

    value: Value = None
    source: str = ""


def layers_below(
    settings: Settings,
    model_names: Iterable[str] = (),
    persona: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    saved: Mapping[str, Value] | None = None,
    advised: Mapping[str, Value] | None = None,
) -> list[Layer]:
    """Who has a say after /set and the command line, and what they say; the first one wins (see `merged`).

    These are: the environment (ACCESSIBLE), the persona, saved (a session that goes on), the model's tables,
    [defaults], advised (the catalog's temperature). model_names: the names of the model, the most exact first; where
    several tables fit, the more exact one wins.
    Raises UsageError for a persona that is none, DataError for a system-file that cannot be read.

    >>> from pathlib import Path
    >>> settings = parse_settings('[defaults]\\ntop-k = 20\\n[models.demo]\\ntop-k = 1', Path("config.toml"))
    >>> merged([("command line", {"seed": 7}), *layers_below(settings, ["demo:q4_K_M", "demo"])])["top-k"]
    Setting(value=1, source='[models."demo"]')
    """
    layers: list[Layer] = []
    if environment and environment.get("ACCESSIBLE", "0") not in ("", "0"):
        layers.append(("ACCESSIBLE", {"plain": True}))
    if persona is not None:
        persona = settings.persona(persona)
        layers.append((f"persona {persona}", values_of(settings, settings.personas[persona])))
    layers.append(("the session", saved or {}))
    for name, table in _fitting(settings.models, model_names):
        layers.append((f'[models."{name}"]', values_of(settings, table)))
    layers.append(("[defaults]", values_of(settings, settings.defaults)))
    layers.append(("the catalog", advised or {}))
    return layers


def merged(layers: Sequence[Layer]) -> dict[str, Setting]:
    """Every parameter with its value and who chose it; None and "" where that is left to the model and to minichat.

    >>> merged([("/set", {"seed": 1}), ("[defaults]", {"seed": 2, "ctx": 64})])["seed"]
    Setting(value=1, source='/set')
    """
    chosen = dict.fromkeys(PARAMETERS, Setting())
    for source, values in reversed(layers):
        chosen |= {name: Setting(value, source) for name, value in values.items() if value is not None}
    return chosen


def sound(given: Mapping[str, Value]) -> dict[str, Value]:
    """The command line's values, None there left out. UsageError for one that is out of its limits.

    >>> sound({"top_k": 5, "seed": None})
    {'top-k': 5}
    """
    named = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    try:
        return {name: _checked(name, value) for name, value in named.items()}
    except UsageError as error:
        raise UsageError(f"--{error}") from None


def _checked(name: str, value: Value) -> Value:
    """A value of the command line, which gives a number that may also be a word as a text."""
    known = PARAMETERS[name]
    return known.parse(value) if known.word is not None and isinstance(value, str) else known.check(value)


def _fitting(
    tables: Mapping[str, Mapping[str, Value]], model_names: Iterable[str]
) -> list[tuple[str, Mapping[str, Value]]]:
    """The tables of a model, the most exact name's first."""
    if not tables:
        return []
    rank = {name.lower(): number for number, name in reversed(list(enumerate(model_names)))}
    fitting = [(name, table) for name, table in tables.items() if name.lower() in rank]
    return sorted(fitting, key=lambda item: rank[item[0].lower()])


def sampling(chosen: Mapping[str, Setting]) -> Sampling:
    """The sampler's part of what `merged` found."""
    names = ("temperature", "top-k", "top-p", "min-p", "seed")
    return Sampling(**{name.replace("-", "_"): chosen[name].value for name in names})  # type: ignore[arg-type]


def load_options(chosen: Mapping[str, Setting]) -> LoadOptions:
    """How to load the model, of what `merged` found. DataError and the like for a draft model that is not there."""
    names = ("ctx", "gpu-layers", "threads", "device", "cache-type", "flash-attention")
    said = {name.replace("-", "_"): chosen[name].value for name in names}
    values = {field: value for field, value in said.items() if value is not None and value != AUTO}
    if chosen["draft"].value:
        values["draft"] = draft_file(str(chosen["draft"].value))
    values["speculation"] = chosen["speculation"].value is not False
    return LoadOptions(**values)  # type: ignore[arg-type]


def draft_file(model: str) -> str:
    """The GGUF of a model that is here; fetched it is not, and what is made on the way is made in silence.

    Raises what `models.resolve` raises, DataError for one that is not here.
    """
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.work import Silent

    return os.fspath(resolve(model, Store.default(), Silent()).path)


def answer_format(chosen: Mapping[str, Setting]) -> Format:
    """The form of answers. DataError and SchemaError for the file of a schema that is none."""
    from minichat import formats

    match chosen["format"].value:
        case None | "text":
            return formats.TEXT
        case "json":
            return formats.any_object()
        case file:
            return formats.from_schema(str(file))
