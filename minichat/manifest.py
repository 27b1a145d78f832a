"""A model's name, and what the store has written down under it. Standard library only."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minichat.demos import is_demo
from minichat.hub.address import is_repo
from quant.errors import UsageError

DEFAULT_TAG = "q4_K_M"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_ENDING = re.compile(r"(?:[._-](?:gguf)?)+$", re.IGNORECASE)
_MAX_LIKE = 80  # characters, of 96: a hash may come behind them
_MAX_TEXT = 1 << 16  # characters: room for a licence's notice
_MAX_COUNT = 1 << 62
_MAX_TEMPERATURE = 100.0
# What json makes of a field of each annotation. A bool is an int to Python, and none here.
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "str | None": (str, type(None)),
    "float | None": (float, int, type(None)),
}


class ManifestError(ValueError):
    """Which field of a manifest is wrong; the end of a sentence."""


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

    @property
    def key(self) -> str:
        """What files and folders that belong to the name are called.

        >>> ModelName("mistral-small", "24b-q4_K_M").key
        'mistral-small@24b-q4_k_m'
        """
        return f"{self.name}@{(self.tag or DEFAULT_TAG).lower()}"

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else self.name


def name_like(text: str, origin: str) -> str:
    """A name for what is called `text` elsewhere: none that is read as a path, nor the one of a demo.

    origin: where it comes from, in a word, which tells it from that.

    >>> name_like("Mistral Small (3).gguf", "hub"), name_like("Demo-GGUF", "hub"), name_like("…", "hub")
    ('mistral-small-3', 'demo-hub', 'model')
    """
    name = _shortened(re.sub(r"[^a-z0-9._-]+", "-", text.lower())) or "model"
    return f"{name}-{origin}" if is_demo(name) else name


def tag_like(text: str) -> str | None:
    """As `name_like`, for a tag; None if nothing is left of it.

    >>> tag_like("24B Q8_0"), tag_like("...")
    ('24B-Q8_0', None)
    """
    return _shortened(re.sub(r"[^A-Za-z0-9._-]+", "-", text)) or None


def _shortened(text: str) -> str:
    """Without the ending of a GGUF file, and what a name cannot begin or should not end with.

    >>> _shortened(".x-7b.gguf.GGUF-")
    'x-7b'
    """
    return _ENDING.sub("", text.lstrip("._-")[:_MAX_LIKE])


@dataclass(frozen=True)
class KeptFile:
    """One file of a model: its name among the blobs, its bytes, and where it is kept if the store only links to it."""

    blob: str
    size_bytes: int
    linked: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What a name in the store stands for. size_bytes and parameters count; context_length in tokens.

    blob: "sha256-" and the 64 hex digits of the GGUF file. source: where the model came from. source_stamp: a
    fingerprint of that, to see whether it has changed since. repo and revision: of the hub, if it came from there.
    temperature: the one that its makers advise. linked: the other program's file, an absolute path, that the blob is
    a symbolic link to; None for a file of the store's own. projector: the blob of the file that the model reads
    pictures with, of projector_bytes, linked as the model's own may be; None for a model of text alone.
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
    repo: str | None = None
    revision: str | None = None
    licence: str | None = None
    licence_name: str | None = None
    notice: str | None = None
    temperature: float | None = None
    linked: str | None = None
    projector: str | None = None
    projector_bytes: int = 0
    projector_linked: str | None = None

    @property
    def file(self) -> KeptFile:
        """The model's own file."""
        return KeptFile(self.blob, self.size_bytes, self.linked)

    @property
    def projector_file(self) -> KeptFile | None:
        """What it reads pictures with; None for a model of text alone."""
        return KeptFile(self.projector, self.projector_bytes, self.projector_linked) if self.projector else None

    @property
    def files(self) -> tuple[KeptFile, ...]:
        """All files of the model."""
        return (self.file, *filter(None, (self.projector_file,)))

    @property
    def sees(self) -> bool:
        """Whether it can read pictures."""
        return self.projector is not None

    @property
    def total_bytes(self) -> int:
        """Of all its files."""
        return self.size_bytes + self.projector_bytes

    @property
    def full_name(self) -> str:
        return f"{self.name}:{self.tag}"

    @property
    def key(self) -> str:
        return ModelName(self.name, self.tag).key

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest that a text holds; fields that are younger than it have their defaults.

        Raises ManifestError for wrong fields, ValueError or RecursionError for what is no JSON.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ManifestError("it holds no object")
        if odd := values.keys() - {field.name for field in fields(cls)}:
            raise ManifestError(f"{min(odd)[:40]!r} is no field of one")
        try:
            manifest = cls(**values)
        except TypeError:
            raise ManifestError("a field is missing") from None
        for field in fields(cls):
            if not _is_sound(field.name, str(field.type), getattr(manifest, field.name)):
                raise ManifestError(f"its {field.name} makes no sense")
        return manifest


def _is_sound(name: str, kind: str, value: Any) -> bool:
    """Whether a field of the annotation `kind` may hold `value`, which comes from anywhere."""
    if type(value) not in _KINDS[kind]:
        return False
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and _is_sound_text(name, value)
    if isinstance(value, (int, float)):
        return math.isfinite(value) and 0 <= value <= (_MAX_TEMPERATURE if name == "temperature" else _MAX_COUNT)
    return True


def _is_sound_text(name: str, value: str) -> bool:
    match name:
        case "name":
            return _NAME.fullmatch(value) is not None and value == value.lower()
        case "tag":
            return _NAME.fullmatch(value) is not None
        case "blob" | "projector":
            return _BLOB.fullmatch(value) is not None
        case "repo":
            return is_repo(value)
        case "linked" | "projector_linked":
            return Path(value).is_absolute() and "\0" not in value
        case _:
            return True
