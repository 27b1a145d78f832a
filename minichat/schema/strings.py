"""Rules for strings of JSON, as `json.dumps(..., ensure_ascii=False)` writes them: each character in one way only."""

from __future__ import annotations

import json

from minichat.schema import characters
from minichat.schema.automaton import Automaton
from minichat.schema.characters import Ranges
from minichat.schema.grammar import Grammar
from minichat.schema.rules import Alternative, Literal, OneOf, Ref

_ESCAPED = {point: json.dumps(chr(point))[2:-1] for point in (*range(0x20), *b'"\\')}  # \n -> n, \0 -> u0000
_SHORT = {point: escape for point, escape in _ESCAPED.items() if len(escape) == 1}
_LONG = [point for point in _ESCAPED if point not in _SHORT]
_PLAIN = characters.intersection(characters.TEXT, characters.complement(characters.of("".join(map(chr, _ESCAPED)))))
_QUOTE = Literal('"')


def string_rule(grammar: Grammar, strings: Automaton) -> str:
    """The rule for these strings in JSON, without the opening quote."""
    names = [grammar.new("s") for _ in strings.edges]
    for state, moves in enumerate(strings.edges):
        alternatives = [(*written, Ref(names[target])) for ranges, target in moves for written in _characters(ranges)]
        grammar.define(names[state], [*alternatives, *([(_QUOTE,)] if state in strings.final else [])])
    return names[0]


def text_rule(grammar: Grammar, texts: Automaton) -> str:
    """The rule for these texts as they are."""
    names = [grammar.new("t") for _ in texts.edges]
    for state, moves in enumerate(texts.edges):
        alternatives: list[Alternative] = [(_one(ranges), Ref(names[target])) for ranges, target in moves]
        grammar.define(names[state], [*alternatives, *([()] if state in texts.final else [])])
    return names[0]


def counted_rule(grammar: Grammar, low: int, high: int | None) -> str:
    """The rule for any string of `low` to `high` characters, without the opening quote.

    Strings share their rules: for the last 30 characters of a long one stand those of a short one.
    """
    if "char" not in grammar.rules:
        grammar.define("char", _characters(characters.TEXT))
    if high is None:
        rest = "chars"
        if rest not in grammar.rules:
            grammar.define(rest, [(Ref("char"), Ref(rest)), (_QUOTE,)])
    else:
        rest = f"upto{high - low}"
        for count in range(high - low + 1):
            if (name := f"upto{count}") not in grammar.rules:
                grammar.define(name, [*([(Ref("char"), Ref(f"upto{count - 1}"))] if count else []), (_QUOTE,)])
    return grammar.define(grammar.new("s"), [(*exactly(grammar, "char", low), Ref(rest))])


def exactly(grammar: Grammar, name: str, count: int) -> Alternative:
    """A rule `count` times, by rules for 2, 4, 8, ... of it."""
    items: list[Ref] = []
    power, bit = name, 1
    while bit <= count:
        if count & bit:
            items.append(Ref(power))
        twice = f"{name}x{2 * bit}"
        if 2 * bit <= count and twice not in grammar.rules:
            grammar.define(twice, [(Ref(power), Ref(power))])
        power, bit = twice, 2 * bit
    return tuple(items)


def _characters(ranges: Ranges) -> list[Alternative]:
    """One character of a set, in JSON."""
    written: list[Alternative] = []
    if plain := characters.intersection(ranges, _PLAIN):
        written.append((_one(plain),))
    if letters := "".join(escape for point, escape in _SHORT.items() if _has(ranges, point)):
        written.append((Literal("\\"), _one(characters.of(letters))))
    for row in "01":
        digits = "".join(_ESCAPED[p][-1] for p in _LONG if _has(ranges, p) and _ESCAPED[p][-2] == row)
        if digits:
            written.append((Literal(f"\\u00{row}"), _one(characters.of(digits))))
    return written


def _has(ranges: Ranges, point: int) -> bool:
    return any(first <= point <= last for first, last in ranges)


def _one(ranges: Ranges) -> Literal | OneOf:
    is_single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return Literal(chr(ranges[0][0])) if is_single else OneOf(ranges)
