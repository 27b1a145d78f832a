"""Regular expressions of JSON Schema (ECMA-262), read into a tree.

What is known: characters, `.`, classes, the escapes of both ECMA-262 and Python (\\d \\w \\s \\t \\n \\r \\f \\v \\xHH
\\uHHHH and punctuation), groups, alternatives, quantifiers (greedy or not: the language is the same), `^` and `$`.
Anything that ECMA-262 and Python understand differently, and what no finite automaton can match, is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from minichat.schema import characters
from minichat.schema.characters import Ranges

_MAX_LENGTH, _MAX_NESTING = 4000, 50


class PatternError(ValueError):
    """What is wrong with a pattern, or what in it is not supported: half a sentence."""


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Anchor:
    """The beginning of the text (`^`) or its end (`$`)."""

    at_end: bool


@dataclass(frozen=True)
class Sequence:
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Choice:
    options: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """`item`, `low` to `high` times; without an end where `high` is None."""

    item: Expression
    low: int
    high: int | None


Expression = Characters | Anchor | Sequence | Choice | Repeat
ClassOf = Callable[[str], tuple[Ranges, Ranges]]

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_QUANTIFIER = re.compile(r"\*|\+|\?|\{([0-9]{1,6})(?:(,)([0-9]{1,6})?)?\}")
_LOOK = {"(?=": "a look-ahead", "(?!": "a look-ahead", "(?<=": "a look-behind", "(?<!": "a look-behind"}
_GROUP_NAME = re.compile(r"\(\?<[A-Za-z_]\w*>", re.ASCII)


def parse(pattern: str, class_of: ClassOf = characters.ecma_class) -> Expression:
    r"""The tree of a pattern. class_of: what `\d`, `\w`, `\s` and their opposites stand for.

    Raises PatternError.

    >>> parse("^a+")
    Sequence(items=(Anchor(at_end=False), Repeat(item=Characters(ranges=((97, 97),)), low=1, high=None)))
    """
    if len(pattern) > _MAX_LENGTH:
        raise PatternError(f"it is longer than {_MAX_LENGTH:,} characters")
    parser = _Parser(pattern, class_of)
    tree = parser.choice(0)
    if parser.position < len(pattern):
        raise PatternError("a ')' closes nothing")
    return tree


class _Parser:
    def __init__(self, pattern: str, class_of: ClassOf) -> None:
        self._pattern, self._class_of = pattern, class_of
        self.position = 0

    def _next(self) -> str:
        """The character at the position, '' at the end."""
        return self._pattern[self.position : self.position + 1]

    def _take(self) -> str:
        character = self._next()
        self.position += 1
        return character

    def choice(self, depth: int) -> Expression:
        if depth > _MAX_NESTING:
            raise PatternError(f"its groups are nested more than {_MAX_NESTING} deep")
        options = [self._sequence(depth)]
        while self._next() == "|":
            self.position += 1
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Expression:
        items: list[Expression] = []
        while self._next() not in ("", "|", ")"):
            is_anchor = self._next() in "^$"
            items.append(self._quantified(self._atom(depth), is_anchor))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _quantified(self, item: Expression, is_anchor: bool) -> Expression:
        found = _QUANTIFIER.match(self._pattern, self.position)
        if not found:
            if self._next() == "{" and re.match(r"\{[0-9,]", self._pattern[self.position :]):
                raise PatternError(r"a '{' that begins no quantifier must be written \{")
            return item
        if is_anchor:
            raise PatternError("'^' and '$' cannot be repeated")
        self.position = found.end()
        low, high = _counts(found)
        if high is not None and low > high:
            raise PatternError(f"the quantifier {found[0]} has its numbers in the wrong order")
        if self._next() == "?":
            self.position += 1
        if _QUANTIFIER.match(self._pattern, self.position):
            raise PatternError(f"a quantifier follows the quantifier {found[0]}")
        return Repeat(item, low, high)

    def _atom(self, depth: int) -> Expression:
        character = self._take()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return Characters(self._class())
        if character == "\\":
            return Characters(self._escape(in_class=False)[0])
        if character == ".":
            return Characters(characters.DOT)
        if character in "^$":
            return Anchor(character == "$")
        if character in "*+?":
            raise PatternError(f"the quantifier {character} follows nothing")
        return Characters(characters.of(character))

    def _group(self, depth: int) -> Expression:
        rest = self._pattern[self.position - 1 :]
        for opening, what in _LOOK.items():
            if rest.startswith(opening):
                raise PatternError(f"{what} ('{opening}') is not supported")
        if rest.startswith("(?:"):
            self.position += 2
        elif name := _GROUP_NAME.match(rest):
            self.position += name.end() - 1
        elif rest.startswith("(?"):
            raise PatternError(f"the group {rest[:3]!r} is not supported")
        inside = self.choice(depth + 1)
        if self._take() != ")":
            raise PatternError("a '(' is not closed")
        return inside

    def _class(self) -> Ranges:
        negated = self._next() == "^"
        self.position += negated
        if self._next() == "]":
            raise PatternError(r"a ']' that comes first in a class must be written \]")
        parts: list[Ranges] = []
        while (character := self._take()) != "]":
            if not character:
                raise PatternError("a '[' is not closed")
            within, at_most = self._escape(in_class=True) if character == "\\" else (characters.of(character),) * 2
            if self._next() == "-" and self._pattern[self.position + 1 : self.position + 2] not in ("]", ""):
                self.position += 1
                within = at_most = self._span(within)
            parts.append(at_most if negated else within)
        ranges = characters.union(parts)
        return characters.complement(ranges) if negated else ranges

    def _span(self, first: Ranges) -> Ranges:
        character = self._take()
        last = self._escape(in_class=True)[0] if character == "\\" else characters.of(character)
        if any(len(end) != 1 or end[0][0] != end[0][1] for end in (first, last)):
            raise PatternError("a range in a class must go from one character to another")
        if first[0][0] > last[0][0]:
            raise PatternError(f"the range {chr(first[0][0])}-{chr(last[0][0])} is in the wrong order")
        return ((first[0][0], last[0][0]),)

    def _escape(self, in_class: bool) -> tuple[Ranges, Ranges]:
        character = self._take()
        if character and character in "dDwWsS":
            return self._class_of(character)
        if character == "b" and in_class:
            single = "\b"
        elif character in _ESCAPES:
            single = _ESCAPES[character]
        elif character and character in "xu":
            single = self._code_point(4 if character == "u" else 2)
        elif character and not character.isalnum() and character != "_" and character.isascii():
            single = character
        else:
            raise PatternError(f"the escape \\{character} is not supported" if character else "it ends in a '\\'")
        return (characters.of(single),) * 2

    def _code_point(self, digits: int) -> str:
        found = re.compile(f"[0-9a-fA-F]{{{digits}}}").match(self._pattern, self.position)
        if not found:
            raise PatternError(f"an escape needs {digits} hexadecimal digits")
        self.position = found.end()
        if 0xD800 <= (point := int(found[0], 16)) <= 0xDFFF:
            raise PatternError(f"the escape \\u{found[0]} is half a character: write the character itself")
        return chr(point)


def _counts(found: re.Match[str]) -> tuple[int, int | None]:
    if found[0] in ("*", "+", "?"):
        return int(found[0] == "+"), 1 if found[0] == "?" else None
    low = int(found[1])
    return low, (int(found[3]) if found[3] else None) if found[2] else low
