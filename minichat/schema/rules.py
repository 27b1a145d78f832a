"""Rules of grammars: alternatives of texts, sets of characters and other rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minichat.schema.characters import Ranges

ROOT = "root"
MAX_RULES = 30_000


@dataclass(frozen=True)
class Literal:
    text: str


@dataclass(frozen=True)
class OneOf:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Ref:
    """Another rule. inside: what it describes lies one level deeper, in a list or an object."""

    name: str
    inside: bool = False


Item = Literal | OneOf | Ref
Alternative = tuple[Item, ...]
Rules = dict[str, list[Alternative]]


def refs(alternatives: Iterable[Alternative]) -> Iterator[Ref]:
    return (item for alternative in alternatives for item in alternative if isinstance(item, Ref))
