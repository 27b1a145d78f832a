"""What a JSON Schema allows, in a normal form: a list of nodes, each for values of one type.

A node is what one place asks for; two meet in the node that asks for both. The schemas of members and items are named
by their places, several where all of them hold, and looked at only when they are needed: a schema may contain itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from minichat.schema.numbers import Bound

Places = tuple[str, ...]
"""Schemas that hold together; none at all allows anything."""

NOTHING = "nothing"
"""In place of a place: a schema that allows nothing."""


@dataclass(frozen=True)
class Finite:
    """Some values, as JSON texts."""

    texts: tuple[str, ...]
    implied: bool = False


@dataclass(frozen=True)
class Simple:
    """ "boolean" or "null". implied, here and below: the schema names neither the type nor a keyword of its own."""

    type: str
    implied: bool = False


@dataclass(frozen=True)
class String:
    """low, high: characters. patterns: all are to be found in it; formats among them, as patterns."""

    low: int = 0
    high: int | None = None
    patterns: tuple[str, ...] = ()
    implied: bool = False


@dataclass(frozen=True)
class Number:
    low: Bound | None = None
    high: Bound | None = None
    is_integer: bool = False
    multiple: int = 1
    implied: bool = False


@dataclass(frozen=True)
class Array:
    """prefix: the schemas of the first items. rest: of those that follow; None where the schema does not say."""

    prefix: tuple[Places, ...] = ()
    rest: Places | None = None
    low: int = 0
    high: int | None = None
    implied: bool = False

    def at(self, index: int) -> Places:
        return self.prefix[index] if index < len(self.prefix) else self.rest or ()


@dataclass(frozen=True)
class Object:
    """members: schemas by name, in order. extra: the schema of others; None where the schema does not say.

    is_named: whether there is a list of members at all.
    """

    members: tuple[tuple[str, Places], ...] = ()
    required: tuple[str, ...] = ()
    extra: Places | None = None
    is_named: bool = False
    implied: bool = False

    def of(self, name: str) -> Places:
        return dict(self.members).get(name, self.extra or ())


Node = Finite | Simple | String | Number | Array | Object


def meet(one: Node, other: Node) -> Node | None:
    """What fits both; None where nothing does. Finite values are not looked at: they are checked when all is known.

    >>> meet(String(low=2), String(high=5, patterns=("a",)))
    String(low=2, high=5, patterns=('a',), implied=False)
    """
    implied = one.implied and other.implied
    if isinstance(one, Finite) or isinstance(other, Finite):
        return replace(one if isinstance(one, Finite) else other, implied=implied)
    if isinstance(one, Simple) and isinstance(other, Simple) and one.type == other.type:
        return replace(one, implied=implied)
    if isinstance(one, String) and isinstance(other, String):
        patterns = tuple(dict.fromkeys(one.patterns + other.patterns))
        return String(max(one.low, other.low), _least(one.high, other.high), patterns, implied)
    if isinstance(one, Number) and isinstance(other, Number):
        return _meet_numbers(one, other, implied)
    if isinstance(one, Array) and isinstance(other, Array):
        prefix = tuple(_all(one.at(i), other.at(i)) for i in range(max(len(one.prefix), len(other.prefix))))
        low, high = max(one.low, other.low), _least(one.high, other.high)
        return Array(prefix, _both(one.rest, other.rest), low, high, implied)
    if isinstance(one, Object) and isinstance(other, Object):
        names = dict.fromkeys(name for name, _ in one.members + other.members)
        members = tuple((name, _all(one.of(name), other.of(name))) for name in names)
        required = tuple(dict.fromkeys(one.required + other.required))
        return Object(members, required, _both(one.extra, other.extra), one.is_named or other.is_named, implied)
    return None


def _meet_numbers(one: Number, other: Number, implied: bool) -> Number:
    lows = [end for end in (one.low, other.low) if end]
    highs = [end for end in (one.high, other.high) if end]
    return Number(
        max(lows, key=lambda end: (end.value, end.is_exclusive), default=None),
        min(highs, key=lambda end: (end.value, not end.is_exclusive), default=None),
        one.is_integer or other.is_integer,
        math.lcm(one.multiple, other.multiple),
        implied,
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _all(one: Places, other: Places) -> Places:
    return tuple(dict.fromkeys(one + other))


def _both(one: Places | None, other: Places | None) -> Places | None:
    return None if one is None and other is None else _all(one or (), other or ())
