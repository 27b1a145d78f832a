"""Grammars in GBNF, llama.cpp's notation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minichat.schema.reduction import check_work, joined, productive, unrolled
from minichat.schema.rules import MAX_RULES, ROOT, Alternative, Item, Literal, OneOf, Ref, Rules
from quant.errors import SchemaError

MAX_CHARACTERS = 1 << 20


@dataclass
class Grammar:
    """Rules by name, each a list of alternatives; one without any describes nothing."""

    rules: Rules = field(default_factory=dict)

    def new(self, kind: str) -> str:
        """A name that is free, for a rule that will be defined."""
        name = f"{kind}{len(self.rules)}"
        self.define(name, [])
        return name

    def define(self, name: str, alternatives: Iterable[Alternative]) -> str:
        if len(self.rules) >= MAX_RULES:
            raise SchemaError(f"the schema is too large: its grammar has more than {MAX_RULES:,} rules")
        self.rules[name] = list(dict.fromkeys(alternatives))
        return name

    def text(self, root: str) -> str | None:
        """The grammar from the rule `root` on, as GBNF; None where it describes nothing at all. Raises SchemaError."""
        rules = productive(unrolled(self.rules, root))
        if ROOT not in rules:
            return None
        check_work(rules)
        lines = [f"{name} ::= {_written(alternatives)}\n" for name, alternatives in joined(rules).items()]
        if sum(map(len, lines)) > MAX_CHARACTERS:
            raise SchemaError(f"the schema is too large: its grammar is longer than {MAX_CHARACTERS:,} characters")
        return "".join(lines)


def _written(alternatives: list[Alternative]) -> str:
    """
    >>> print(_written([(Literal("a"), Ref("b")), (OneOf(((48, 57), (65, 65))),), ()]))
    "a" b | [0-9A] | ""
    """
    return " | ".join(" ".join(map(_item, alternative)) or '""' for alternative in alternatives)


def _item(item: Item) -> str:
    match item:
        case Ref(name):
            return name
        case OneOf(ranges):
            return "[" + "".join(_span(first, last) for first, last in ranges) + "]"
        case Literal(text):
            return '"' + "".join(map(_in_text, text)) + '"'


def _in_text(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if " " <= character <= "~" else _code(ord(character))


def _span(first: int, last: int) -> str:
    dash = "-" if last > first + 1 else ""
    return _in_class(first) + (dash + _in_class(last) if last > first else "")


def _in_class(point: int) -> str:
    return chr(point) if point < 128 and chr(point).isalnum() else _code(point)


def _code(point: int) -> str:
    return f"\\x{point:02X}" if point < 0x80 else f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"
