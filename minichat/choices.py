"""What is chosen for one chat: it can be changed while the chat goes on, and is told anew for another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.parameters import PARAMETERS, Value
from minichat.settings import COMMAND_LINE, Layer, Setting, Settings, layers_below, merged, sound
from minichat.settings_file import FILE_NAME

if TYPE_CHECKING:
    from minichat.models import Model

_OF_ONE_MODEL = ("template",)  # what is said on the command line of the model that is named there, and of no other
THE_FILE, MINICHAT = "the model's file", "minichat"


@dataclass
class Choices:
    """See `minichat.settings.layers_below`. given: the command line's, None for what is not given; typed: /set's.

    model: what the chat talks to, called `named` by the person; None before it is known.
    """

    settings: Settings = field(default_factory=lambda: Settings(Path(FILE_NAME)))
    persona: str | None = None
    given: dict[str, Value] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    saved: Mapping[str, Value] = field(default_factory=dict)
    typed: dict[str, Value] = field(default_factory=dict)
    model: Model | None = None
    named: str | None = None
    _below: list[Layer] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises UsageError for what is wrong on the command line, DataError for a system-file that is not there."""
        self.given = sound(self.given)
        manifest = self.model.manifest if self.model is not None else None
        self._below = layers_below(
            self.settings,
            names_of(self.model, self.named) if self.model is not None else (),
            self.persona,
            environment=self.environment,
            saved=self.saved,
            advised={"temperature": manifest.temperature} if manifest is not None else {},
        )

    def for_model(self, model: Model, named: str | None = None) -> Choices:
        """The same person's choices for a model, which may be another one than before."""
        given, typed = dict(self.given), dict(self.typed)
        for name in _OF_ONE_MODEL if self.model is not None else ():
            given.pop(name, None)
            typed.pop(name, None)
        return replace(self, given=given, typed=typed, model=model, named=named)

    def chosen(self) -> dict[str, Setting]:
        """Every parameter with its value and who chose it; None and "" for what nobody has chosen."""
        return merged([("/set", self.typed), (COMMAND_LINE, self.given), *self._below])

    def with_choice(self, name: str, value: Value) -> Choices:
        """These, and `value` by /set. None takes back what was said by /set and on the command line."""
        new = copy(self)
        new.given, new.typed = dict(self.given), dict(self.typed)
        if value is not None:
            new.typed[name] = value
        else:
            new.typed.pop(name, None)
            new.given.pop(name, None)
        return new


def names_of(model: Model, named: str | None = None) -> Iterator[str]:
    """The names that a model goes by, the most exact first: tables of settings are looked for under them.

    mistral-small:24b-instruct-2501-q4_K_M, mistral-small:24b-q4_K_M, mistral-small:24b-instruct-2501,
    mistral-small:24b, its repo, mistral-small. named: what the person called it. The catalog is not read before the
    first name is asked for.
    """
    manifest, names = model.manifest, [model.name, str(model.path)]
    if manifest is not None:
        names += [*catalog_names(manifest.full_name), *([manifest.repo] if manifest.repo else []), manifest.name]
    if named is not None and named.lower() not in map(str.lower, names):
        names.insert(0, named)
    yield from names


def catalog_names(text: str) -> list[str]:
    """The names that the catalog has for a model, the most exact first; none for one that it does not know.

    >>> catalog_names("Ministral")
    ['ministral:8b-instruct-2410-q4_K_M', 'ministral:8b-q4_K_M', 'ministral:8b-instruct-2410', 'ministral:8b', \
'mistralai/Ministral-8B-Instruct-2410', 'ministral']
    """
    from minichat.catalog import load_catalog
    from minichat.manifest import ModelName

    match = load_catalog().find(ModelName.parse(text))
    if match is None:
        return []
    families = [f"{match.entry.family}:{tag}" for tag in match.entry.tags]
    return [*(f"{name}-{match.target}" for name in families), *families, match.entry.repo, match.entry.family]


def with_defaults(chosen: Mapping[str, Setting], path: Path | None) -> dict[str, Setting]:
    """`chosen`, and where nobody has chosen what holds then: the word of the GGUF file at `path`, or minichat's own.

    A file that cannot be read has no word. What depends on the machine stays None.
    """
    from convert.gguf_file import read_header
    from minichat.engine.sampler import resolve
    from minichat.engine.types import Sampling
    from quant.errors import MinichatError

    try:
        metadata = read_header(path).metadata if path is not None else {}
    except (MinichatError, OSError):
        metadata = {}
    told, ours = resolve(Sampling(), metadata), resolve(Sampling(), {})
    filled = dict(chosen)
    for name in ("temperature", "top-k", "top-p", "min-p"):
        key = name.replace("-", "_")
        value = getattr(told, key)
        if chosen[name].value is None:
            filled[name] = Setting(value, MINICHAT if value == getattr(ours, key) else THE_FILE)
    return {name: setting if setting.source else Setting(setting.value, MINICHAT) for name, setting in filled.items()}


def shown(name: str, setting: Setting) -> str:
    """A value and who chose it, on one line.

    >>> shown("temperature", Setting(0.2, "/set")), shown("seed", Setting())
    ('temperature 0.2 (/set)', 'seed a new one for each answer')
    """
    return f"{name} {PARAMETERS[name].shown(setting.value)}" + (f" ({setting.source})" if setting.source else "")
