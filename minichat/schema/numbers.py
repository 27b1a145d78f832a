"""The texts of numbers within bounds, as automata that compare digit by digit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from minichat.schema import automaton, characters
from minichat.schema.automaton import Automaton
from minichat.schema.characters import Ranges
from minichat.schema.nfa import build
from minichat.schema.pattern import parse

DIGITS = 20  # of an integer without bounds, and before or behind the point of a number without
SIGNIFICANT = 15  # digits of a number with bounds: no two such decimals are read as the same float
_LIMIT = 4000

# A float's largest power of ten is 308; what is below 1e308 needs no look at its digits.
_NUMBER = (
    rf"^-?(?:(?:0|[1-9]\d{{0,{DIGITS - 1}}})(?:\.\d{{1,{DIGITS}}})?"
    rf"|[1-9](?:\.\d{{1,{DIGITS}}})?e[+-](?:\d\d|[12]\d\d|30[0-7]))$"
)


@dataclass(frozen=True)
class Bound:
    value: int | float
    is_exclusive: bool = False


def any_integer() -> Automaton:
    return automaton.from_nfa(build(parse(rf"^(?:0|-?[1-9]\d{{0,{DIGITS - 1}}})$")), _LIMIT)


def any_number() -> Automaton:
    """Integers, decimals and `1.5e-07`, each within what a float holds."""
    return automaton.from_nfa(build(parse(_NUMBER)), _LIMIT)


def integers(low: Bound | None, high: Bound | None, multiple: int = 1) -> Automaton:
    """The integers in the bounds that are multiples of `multiple`, in JSON.

    Without a bound: of up to DIGITS digits, or one more than the other bound has. Raises TooLargeError.
    """
    least = None if low is None else math.floor(low.value) + 1 if low.is_exclusive else math.ceil(low.value)
    most = None if high is None else math.ceil(high.value) - 1 if high.is_exclusive else math.floor(high.value)
    longest = max([DIGITS, *(_digits(end) + 1 for end in (least, most) if end is not None)])
    far = 10**longest
    floor, ceiling = Decimal(-far if least is None else least), Decimal(far if most is None else most)
    return _between(_End(floor, False), _End(ceiling, False), longest, 0, multiple)


def decimals(low: Bound | None, high: Bound | None) -> Automaton:
    """The decimals of up to SIGNIFICANT digits in the bounds, in JSON, without exponents. Raises TooLargeError."""
    far = Decimal(10**SIGNIFICANT)
    floor = _End(-far, False) if low is None else _End(_exact(low.value), low.is_exclusive)
    ceiling = _End(far, False) if high is None else _End(_exact(high.value), high.is_exclusive)
    return _between(floor, ceiling, SIGNIFICANT, SIGNIFICANT - 1, 1)


class _End(NamedTuple):
    value: Decimal
    is_exclusive: bool


@dataclass(frozen=True)
class _Digits:
    """A magnitude's digits before and behind the point, to compare others with."""

    whole: str
    fraction: str
    is_exclusive: bool

    def settled(self, count: int, order: int) -> int:
        """How a whole part of `count` digits compares to this one's, where its digits compare as `order`."""
        return (count > len(self.whole)) - (count < len(self.whole)) or order

    def final(self, order: int, read: int) -> int:
        """How a number compares to this one, where its digits up to the `read`-th behind the point do as `order`."""
        return order or -bool(self.fraction[read:])


class _Span(NamedTuple):
    low: _Digits
    high: _Digits


class _State(NamedTuple):
    """Digits read so far. order: how they compare to as many of a bound's, -1, 0 or 1.

    read: digits before the point; then, while an order is open, those behind it. left: how many more there may be.
    """

    is_negative: bool
    phase: str  # "whole", "zero": a whole part of 0, "point", "fraction"
    read: int
    left: int
    to_low: int
    to_high: int
    residue: int


def _between(low: _End, high: _End, longest: int, longest_fraction: int, multiple: int) -> Automaton:
    """longest: digits in all. A multiple other than 1 asks for no fractions."""
    spans = {False: _span(low, high), True: _span(_mirrored(high), _mirrored(low), without_zero=True)}

    def moves(state: _State | str) -> Iterator[tuple[Ranges, _State | str]]:
        if isinstance(state, str):
            if state == "":
                yield characters.of("-"), "-"
            state = _State(state == "-", "", 0, longest, 0, 0, 0)
        span = spans[state.is_negative]
        if span is None:
            return
        if state.phase in ("whole", "zero") and longest_fraction and state.left:
            orders = (span.low.settled(state.read, state.to_low), span.high.settled(state.read, state.to_high))
            yield (
                characters.of("."),
                _State(state.is_negative, "point", 0, min(state.left, longest_fraction), *orders, 0),
            )
        if state.phase != "zero" and state.left:
            for digit in "0123456789":
                yield characters.of(digit), _after(state, digit, span, multiple)

    def is_final(state: _State | str) -> bool:
        if isinstance(state, str) or state.phase == "point" or state.residue:
            return False
        span = spans[state.is_negative]
        if span is None:
            return False
        if state.phase == "fraction":
            to_low, to_high = span.low.final(state.to_low, state.read), span.high.final(state.to_high, state.read)
        else:
            to_low = span.low.final(span.low.settled(state.read, state.to_low), 0)
            to_high = span.high.final(span.high.settled(state.read, state.to_high), 0)
        return to_low >= span.low.is_exclusive and to_high <= -span.high.is_exclusive

    start: _State | str = ""
    return automaton.explore(start, moves, is_final, _LIMIT)


def _after(state: _State, digit: str, span: _Span, multiple: int) -> _State:
    if state.phase in ("point", "fraction"):
        to_low = _order(state.to_low, digit, span.low.fraction, state.read, "0")
        to_high = _order(state.to_high, digit, span.high.fraction, state.read, "0")
        is_open = to_low == 0 or to_high == 0
        return state._replace(
            phase="fraction",
            read=state.read + 1 if is_open else 1,
            left=state.left - 1,
            to_low=to_low,
            to_high=to_high,
        )
    return state._replace(
        phase="zero" if not state.phase and digit == "0" else "whole",
        read=state.read + 1,
        left=state.left - 1,
        to_low=_order(state.to_low, digit, span.low.whole, state.read, digit),
        to_high=_order(state.to_high, digit, span.high.whole, state.read, digit),
        residue=(10 * state.residue + int(digit)) % multiple,
    )


def _order(order: int, digit: str, bound: str, position: int, beyond: str) -> int:
    """How digits compare to a bound's, one more digit read. beyond: what the bound has after its last digit."""
    other = bound[position] if position < len(bound) else beyond
    return order or (digit > other) - (digit < other)


def _span(low: _End, high: _End, without_zero: bool = False) -> _Span | None:
    """The magnitudes from `low` to `high`, from 0 up; None where there are none."""
    if low.value < 0 or (without_zero and low.value == 0):
        low = _End(Decimal(0), without_zero)
    if high.value < low.value:
        return None
    return _Span(_split(low), _split(high))


def _split(end: _End) -> _Digits:
    whole, _, fraction = format(end.value, "f").partition(".")
    return _Digits(whole.lstrip("-"), fraction.rstrip("0"), end.is_exclusive)


def _mirrored(end: _End) -> _End:
    return _End(end.value.copy_negate(), end.is_exclusive)


def _exact(value: int | float) -> Decimal:
    """A bound as it is written: the shortest decimal that is read as this float."""
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def _digits(value: int) -> int:
    return len(format(Decimal(abs(value)), "f"))
