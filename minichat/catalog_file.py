"""Reading a catalog: TOML, each model a table of its own.

    [[model]]
    family = "mistral-small"            what stands before the colon
    tag = "24b-instruct-2501"           what stands after it, without a quantization
    aliases = ["24b"]                   other tags of the same model
    default = true                      the one that the family's bare name means
    repo = "mistralai/Mistral-Small-24B-Instruct-2501"
    licence = "apache-2.0"              as the hub names it; "mrl" for the Mistral AI Research License
    template = "v7-tekken"              left out for a base model
    context_length = 32768              tokens
    temperature = 0.15                  left out where nobody recommends one
    parameters = 23572403200
    sees_images = true                  left out where it does not
    gguf = "org/repo"                   where ready GGUF files are, if somewhere trusted
    description = "..."                 one line

A catalog may be written by hand, or by somebody else: every value is checked, and an error names the file, the model
and the key.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.fields import MAX_CONTEXT, shown
from convert.provenance import clean
from minichat.demos import is_demo
from minichat.hub.address import is_repo
from quant.errors import DataError
from quant.types import TARGET_NAMES

_MAX_FILE_BYTES = 1 << 20
_MAX_MODELS = 1000
_MAX_PARAMETERS = 10**13
_MAX_TEMPERATURE = 2.0
_MAX_ALIASES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEMPLATE = re.compile(r"v[0-9]{1,3}(-tekken)?")
LATEST = "latest"


@dataclass(frozen=True)
class Entry:
    """A model that minichat knows by name. `tag` and `aliases` name it without a quantization, in lower case.

    template: None for a base model. context_length: tokens. temperature: what its makers recommend, if they do.
    gguf: a repo of ready GGUF files; None where the official checkpoint is to be converted here.
    is_default: whether the family's bare name means this model.
    """

    family: str
    tag: str
    repo: str
    licence: str
    context_length: int
    parameters: int
    description: str = ""
    aliases: tuple[str, ...] = ()
    template: str | None = None
    temperature: float | None = None
    sees_images: bool = False
    gguf: str | None = None
    is_default: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.tag, *self.aliases)

    @property
    def short_name(self) -> str:
        """What it is called where nobody asks for more: "mistral-small:24b"."""
        return f"{self.family}:{self.aliases[0] if self.aliases else self.tag}"


def read_entries(path: Path) -> list[Entry]:
    """The models of a catalog; none if there is no such file. DataError for one that is damaged."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot read this catalog: {error.strerror}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise DataError(f"{path}: a catalog of more than {_MAX_FILE_BYTES >> 20} MB is none")
    try:
        return parse_entries(raw.decode(), str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: this catalog is not UTF-8 text (byte {error.start})") from error


def parse_entries(text: str, file: str) -> list[Entry]:
    """The models in a catalog's text; `file` is what errors call it."""
    tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = clean(str(error)) if str(error) else "it is nested too deeply"
        raise DataError(f"{file}: this catalog is no TOML: {reason}") from error
    models = document.pop("model", [])
    if document:
        raise DataError(f"{file}: {shown(next(iter(document)))} is unknown: a catalog holds [[model]] tables only")
    if not isinstance(models, list) or len(models) > _MAX_MODELS or not all(isinstance(m, dict) for m in models):
        raise DataError(f"{file}: `model` is no list of at most {_MAX_MODELS} tables: each begins with [[model]]")
    entries = [_entry(_Table(f"{file}: model {number}", model)) for number, model in enumerate(models, start=1)]
    _refuse_doubles(entries, file)
    return entries


def _entry(table: _Table) -> Entry:
    family = table.name("family")
    if is_demo(family):
        raise DataError(f"{table.where}: {family} is the name of the model that comes with minichat")
    table = _Table(f"{table.where} ({family})", table.values)
    entry = Entry(
        family=family,
        tag=_tag(table, table.name("tag")),
        aliases=tuple(_tag(table, alias) for alias in table.names("aliases")),
        is_default=table.flag("default"),
        repo=table.repo("repo"),
        licence=table.line("licence"),
        template=table.text("template", _TEMPLATE, "no template (v3, v3-tekken …)") if table.has("template") else None,
        context_length=table.count("context_length", MAX_CONTEXT),
        temperature=table.temperature("temperature"),
        parameters=table.count("parameters", _MAX_PARAMETERS),
        sees_images=table.flag("sees_images"),
        gguf=table.repo("gguf") if table.has("gguf") else None,
        description=table.line("description") if table.has("description") else "",
    )
    table.refuse_unknown()
    return entry


def _tag(table: _Table, tag: str) -> str:
    """`tag`, unless it could be read as one with a quantization."""
    for target in (*TARGET_NAMES, "f16", LATEST):
        if tag == target.lower() or tag.endswith(f"-{target.lower()}"):
            raise DataError(f"{table.where}: the tag {tag} ends like a quantization ({target}): leave that out")
    return tag


def _refuse_doubles(entries: list[Entry], file: str) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        for tag in entry.tags:
            if (entry.family, tag) in seen:
                raise DataError(f"{file}: {entry.family}:{tag} stands in it twice")
            seen.add((entry.family, tag))
        if entry.is_default:
            if (entry.family, LATEST) in seen:
                raise DataError(f"{file}: two models are the default of {entry.family}")
            seen.add((entry.family, LATEST))


@dataclass(frozen=True)
class _Table:
    """A model's keys, read with care. `where`: what errors call it."""

    where: str
    values: Mapping[str, Any]

    def has(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str, form: re.Pattern[str], problem: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self._refused(key, problem)
        return value

    def repo(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not is_repo(value):
            raise self._refused(key, "no repo on the hub (org/name)")
        return value

    def name(self, key: str) -> str:
        return self.text(key, _NAME, "no name (lower case letters, digits, '.', '_' and '-')")

    def names(self, key: str) -> list[str]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or len(value) > _MAX_ALIASES:
            raise self._refused(key, "no list of tags")
        return [_Table(self.where, {key: name}).name(key) for name in value]

    def line(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value or clean(value) != value:
            raise self._refused(key, "no short line of text")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self._refused(key, "neither true nor false")
        return value

    def count(self, key: str, largest: int) -> int:
        value = self.values.get(key)
        if type(value) is not int or not 0 < value <= largest:
            raise self._refused(key, "no sensible number")
        return value

    def temperature(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_TEMPERATURE:
            raise self._refused(key, f"no temperature from 0 to {_MAX_TEMPERATURE:g}")
        return float(value)

    def refuse_unknown(self) -> None:
        known = {"default", *Entry.__dataclass_fields__} - {"is_default"}
        if unknown := sorted(set(self.values) - known):
            raise DataError(f"{self.where}: the key {shown(clean(unknown[0]))} is unknown")

    def _refused(self, key: str, problem: str) -> DataError:
        return DataError(f"{self.where}: {key} is {shown(self.values.get(key))}, {problem}")
