"""A model's name, and what the store has written down under it. Standard library only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

from quant.errors import UsageError

DEFAULT_TAG = "q4_K_M"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class ModelName:
    """`name` in lower case, and a tag as it was written; None where none was given."""

    name: str
    tag: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises UsageError for what can be no name.

        >>> ModelName.parse("Demo:q8_0")
        ModelName(name='demo', tag='q8_0')
        """
        name, colon, tag = text.partition(":")
        if not _NAME.fullmatch(name) or (colon and not _NAME.fullmatch(tag)):
            raise UsageError(f"{text[:100]!r} is no model name: name[:tag], made of letters, digits, '.', '_' and '-'")
        return cls(name.lower(), tag or None)

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else self.name


@dataclass(frozen=True)
class Manifest:
    """What a name in the store stands for. size_bytes and parameters count; context_length in tokens.

    source: where the model came from. source_stamp: a fingerprint of that, to see whether it has changed since.
    """

    name: str
    tag: str
    blob: str
    size_bytes: int
    target: str
    architecture: str
    template: str | None
    parameters: int
    context_length: int
    source: str
    source_stamp: str
    created: str

    @property
    def full_name(self) -> str:
        return f"{self.name}:{self.tag}"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises ValueError or TypeError for what is no manifest."""
        manifest = cls(**json.loads(text))
        for field in fields(cls):
            value = getattr(manifest, field.name)
            if not isinstance(value, int if field.type == "int" else str) and (field.type, value) != (
                "str | None",
                None,
            ):
                raise TypeError(field.name)
        return manifest
