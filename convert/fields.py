"""A JSON file that describes a model, and its keys, read with care: each value is of its kind and in bounds.

Errors name the file and the key: `config.json: hidden_size is '256', no sensible size`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.errors import CheckpointError

MAX_SIZE = 1 << 24  # of any dimension; far above any model, and products of three stay small
MAX_CONTEXT = 1 << 30
_MAX_JSON_BYTES = 4 << 20  # parsed, JSON may take 25 times as much memory; an index has some 100 kB


@dataclass(frozen=True)
class Fields:
    """An object's keys. `file`: what errors call it."""

    file: str
    values: Mapping[str, Any]

    def get(self, key: str) -> Any:
        """The value as it stands; None if there is none."""
        return self.values.get(key)

    def size(self, key: str, largest: int = MAX_SIZE, default: int | None = None) -> int:
        """A whole number from 1 to `largest`; `default`, if there is one, where the key is absent or null."""
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
            raise CheckpointError(f"{self.file}: {key} is {shown(value)}, no sensible size")
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        """A finite number above 0; `default`, if there is one, where the key is absent or null."""
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e12:
            raise CheckpointError(f"{self.file}: {key} is {shown(value)}, no sensible number")
        return float(value)

    def inside(self, key: str) -> "Fields":
        """The object under `key`; an empty one where the key is absent or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise CheckpointError(f"{self.file}: {key} is {shown(value)}, no object")
        return Fields(self.file, value or {})


def shown(value: object) -> str:
    """A value in an error's line.

    >>> shown(None), shown("llama")
    ('missing', "'llama'")
    """
    return "missing" if value is None else repr(value)[:40]


def read_json(path: Path, max_bytes: int = _MAX_JSON_BYTES) -> dict[str, Any]:
    """The object in a JSON file of at most `max_bytes`. CheckpointError if there is none."""
    try:
        if path.stat().st_size > max_bytes:
            raise CheckpointError(f"{path} is larger than {max_bytes >> 20} MB: it is not what its name says")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object")
    return value
