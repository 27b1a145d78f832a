"""config.toml: the user's settings, read and checked.

    model = "mistral-small"             what `minichat run` without a MODEL talks to
    [defaults]                          for every chat; the keys are the options' names (minichat.parameters)
    temperature = 0.3
    [models."mistral-small:24b"]        for the chats with one model, by any of its names
    ctx = 16384
    [personas.coder]                    `minichat run --as coder`; may name its model
    model = "devstral"
    system = "You write Python."        or system-file = "coder.md", a path from this file's folder

The file is written by hand: whatever is wrong in it is one DataError with the file, the table and the key. No file is
no cost. Imports nothing heavy; TOML is imported where there is a file.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minichat.home import home
from minichat.parameters import JSON, PARAMETERS, TEXT, Value, nearest
from quant.errors import DataError, UsageError

FILE_NAME = "config.toml"
SYSTEM_FILE = "system-file"
_MAX_FILE_BYTES = 1 << 20
_MAX_NAME = 64  # characters of a persona's name
_MAX_SHOWN = 60


@dataclass(frozen=True)
class Settings:
    """What config.toml says, checked. The tables map names of parameters (and SYSTEM_FILE) to values.

    persona_models: the models that personas name.
    """

    path: Path
    model: str | None = None
    defaults: Mapping[str, Value] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    personas: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    persona_models: Mapping[str, str] = field(default_factory=dict)

    def model_for(self, persona: str | None) -> str | None:
        """The model to talk to where none is named. UsageError for a persona that is none."""
        if persona is not None and (named := self.persona_models.get(self.persona(persona))) is not None:
            return named
        return self.model

    def persona(self, name: str) -> str:
        """The persona's name as it is written in the file, found without regard to case. UsageError if it is none."""
        for known in self.personas:
            if known.lower() == name.lower():
                return known
        hint = nearest(name, self.personas) if self.personas else f"{self.path} has no [personas.NAME]"
        raise UsageError(f"no persona {name[:_MAX_SHOWN]!r}: {hint}")


def config_path() -> Path:
    """Where the settings are: config.toml in MINICHAT_HOME, else in the platform's folder for configuration."""
    if os.environ.get("MINICHAT_HOME"):
        return home() / FILE_NAME
    import platformdirs

    return platformdirs.user_config_path("minichat", appauthor=False) / FILE_NAME


def load_settings(path: Path | None = None) -> Settings:
    """The settings in `path` (None: `config_path()`), which need not exist. DataError for a file with a fault."""
    path = config_path() if path is None else path
    raw = _read(path, "settings")
    if raw is None:
        return Settings(path)
    try:
        return parse_settings(raw.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not UTF-8 text (byte {error.start})") from error


def parse_settings(text: str, path: Path) -> Settings:
    """The settings in a text; errors call it `path`."""
    tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too large or too deep"
        raise DataError(f"{path}: no TOML: {reason}") from error
    for key in document:
        if key not in (tops := ("model", "defaults", "models", "personas")):
            hint = f"it belongs under [defaults]: {key} = …" if key in PARAMETERS else nearest(key, tops)
            raise DataError(f"{path}: {key[:_MAX_SHOWN]!r} is unknown; {hint}")
    personas = {name: _table(path, f"personas.{name}", t) for name, t in _tables(path, document, "personas").items()}
    for name in personas:
        _check_persona(path, name)
    return Settings(
        path,
        _model(path, "", document),
        _checked(path, "defaults", _table(path, "defaults", document.get("defaults", {}))),
        {
            name: _checked(path, (at := f'models."{name[:_MAX_SHOWN]}"'), _table(path, at, table))
            for name, table in _tables(path, document, "models").items()
        },
        {name: _checked(path, f"personas.{name}", table, ("model",)) for name, table in personas.items()},
        {
            name: named
            for name, table in personas.items()
            if (named := _model(path, f"[personas.{name}] ", table)) is not None
        },
    )


def values_of(settings: Settings, table: Mapping[str, Value]) -> dict[str, Value]:
    """A table of parameters only: system-file is read, and the path of a schema begins at the settings' folder.

    Raises DataError for a system-file that cannot be read.
    """
    values = dict(table)
    folder = settings.path.parent
    if (named := values.pop(SYSTEM_FILE, None)) is not None:
        path = _beside(folder, str(named))
        raw = _read(path, "system prompt")
        if raw is None:
            raise DataError(f"{path}: no such file ({SYSTEM_FILE} in {settings.path})")
        values["system"] = raw.decode("utf-8-sig", "replace").strip()
    if (form := values.get("format")) is not None and form not in (TEXT, JSON):
        values["format"] = str(_beside(folder, str(form)))
    return values


def _beside(folder: Path, named: str) -> Path:
    return folder / os.path.expanduser(named)  # noqa: PTH111  (unlike Path's, it never fails)


def _read(path: Path, what: str) -> bytes | None:
    """A file written by hand, None if it is not there. DataError for a device, for too much, for one out of reach."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DataError(f"{path}: it is no file, so it holds no {what}")
            raw = file.read(_MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can be called so"
        raise DataError(f"{path}: cannot read it: {reason}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise DataError(f"{path}: more than {_MAX_FILE_BYTES >> 20} MB is too much for a {what}")
    return raw


def _model(path: Path, at: str, table: Mapping[str, Any]) -> str | None:
    value = table.get("model")
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise DataError(f"{path}: {at}model is no name of a model: write it in quotes")
    return value.strip() if isinstance(value, str) else None


def _tables(path: Path, document: Mapping[str, Any], key: str) -> dict[str, Any]:
    tables = _table(path, key, document.get(key, {}))
    for name, table in tables.items():
        if not isinstance(table, dict):
            example = '[models."NAME"]' if key == "models" else "[personas.NAME]"
            raise DataError(f"{path}: [{key}] {name[:_MAX_SHOWN]} is no table: {key} are tables, {example}")
    return tables


def _table(path: Path, at: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: {at} is no table: write [{at}] on a line of its own")
    return value


def _check_persona(path: Path, name: str) -> None:
    if not name or len(name) > _MAX_NAME or not all(char.isalnum() or char in "._-" for char in name):
        raise DataError(
            f"{path}: [personas] {name[:_MAX_SHOWN]!r} is no name: up to {_MAX_NAME} letters, digits, '.', '_', '-'"
        )


def _checked(path: Path, at: str, table: Mapping[str, Any], others: tuple[str, ...] = ()) -> dict[str, Value]:
    """The parameters in a table. DataError for any that is none, or has no such value."""
    values: dict[str, Value] = {}
    for key, value in table.items():
        if key in others:
            continue
        if key == SYSTEM_FILE:
            if not isinstance(value, str) or not value or "\0" in value:
                raise DataError(f"{path}: [{at}] {SYSTEM_FILE} is no path of a file")
            if "system" in table:
                raise DataError(f"{path}: [{at}] has both system and {SYSTEM_FILE}: leave one out")
            values[key] = value
            continue
        if key not in PARAMETERS:
            hint = _hint(key, others)
            raise DataError(f"{path}: [{at}] {key[:_MAX_SHOWN]!r} is unknown; {hint}")
        try:
            values[key] = PARAMETERS[key].check(value)
        except UsageError as error:
            raise DataError(f"{path}: [{at}] {error}") from None
    return values


def _hint(key: str, others: tuple[str, ...]) -> str:
    spelled = key.lower().replace("_", "-")
    return nearest(spelled, (*PARAMETERS, SYSTEM_FILE, *others))
