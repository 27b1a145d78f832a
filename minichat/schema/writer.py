"""Rules of a grammar from nodes: how each type of value is written in JSON."""

from __future__ import annotations

import json

from minichat.schema import automaton, numbers
from minichat.schema.automaton import Automaton, TooLargeError
from minichat.schema.characters import common_class
from minichat.schema.exclusion import written
from minichat.schema.grammar import Grammar
from minichat.schema.meaning import Meaning
from minichat.schema.nfa import build
from minichat.schema.nodes import NOTHING, Array, Finite, Node, Number, Object, Places, Simple, String
from minichat.schema.pattern import PatternError, parse
from minichat.schema.places import refuse, shown
from minichat.schema.rules import Alternative, Item, Literal, Ref
from minichat.schema.strings import counted_rule, string_rule, text_rule
from quant.errors import SchemaError

MAX_MEMBERS = 1000
_MAX_STATES = 3000
_END = Literal("}")


class Writer:
    """Writes one grammar. Raises SchemaError."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning, self._grammar = meaning, Grammar()
        self._values: dict[Places, str] = {}
        self._nodes: dict[Node, str] = {}
        self._keys: dict[tuple[str, ...], str] = {}
        self._todo: list[tuple[str, Places]] = []

    def grammar(self) -> str | None:
        """The grammar of the whole schema; None where nothing fits it."""
        root = self._value(("#",))
        while self._todo:
            name, places = self._todo.pop()
            nodes = written(self._meaning.nodes(places))
            texts = [text for node in nodes if isinstance(node, Finite) for text in node.texts]
            refs: list[Alternative] = [(self._finite(texts, places),)] if texts else []
            refs += [(Ref(self._node(node, places)),) for node in nodes if not isinstance(node, Finite)]
            self._grammar.define(name, refs)
        return self._grammar.text(root)

    def _value(self, places: Places) -> str:
        """The rule for what fits these schemas; written later, as it may contain itself."""
        if places not in self._values:
            self._values[places] = self._grammar.new("v")
            self._todo.append((self._values[places], places))
        return self._values[places]

    def _finite(self, texts: list[str], places: Places) -> Item:
        if len(texts) == 1:
            return Literal(texts[0])
        try:
            return Ref(text_rule(self._grammar, automaton.literals(texts)))
        except TooLargeError:
            refuse(places[0], f"its values have more than {automaton.MAX_LITERALS:,} characters")

    def _node(self, node: Node, places: Places) -> str:
        if node not in self._nodes:
            try:
                self._nodes[node] = self._written(node)
            except TooLargeError:
                refuse(places[0], "its pattern, length or multiple is too large for a grammar")
            except PatternError as error:
                refuse(places[0], f"its pattern is not supported: {error}")
        return self._nodes[node]

    def _written(self, node: Node) -> str:
        match node:
            case String():
                return self._string(node)
            case Number():
                return text_rule(self._grammar, _numbers(node))
            case Array():
                return self._array(node)
            case Object():
                return self._object(node)
            case Simple(type="null"):
                return self._grammar.define(self._grammar.new("n"), [(Literal("null"),)])
            case _:
                return self._grammar.define(self._grammar.new("b"), [(Literal("true"),), (Literal("false"),)])

    def _string(self, node: String) -> str:
        name = self._grammar.new("s")
        if node.patterns:
            inside = string_rule(self._grammar, _matching(node))
        elif node.high is not None and node.high < node.low:
            return name
        else:
            inside = counted_rule(self._grammar, node.low, node.high)
        return self._grammar.define(name, [(Literal('"'), Ref(inside))])

    def _array(self, node: Array) -> str:
        high = node.high
        if node.rest is None and node.prefix:
            closed = max(len(node.prefix), node.low)
            high = closed if high is None else min(closed, high)
        name = self._grammar.new("a")
        empty: list[Alternative] = [(Literal("[]"),)] if node.low == 0 else []
        if high == 0:
            return self._grammar.define(name, empty)
        if high is not None and high < node.low:
            return name
        first = Ref(self._value(node.at(0)), inside=True)
        return self._grammar.define(name, [(Literal("["), first, Ref(self._items(node, high))), *empty])

    def _items(self, node: Array, high: int | None) -> str:
        """The rule for what follows the first item of a list, with its end."""
        last = max(len(node.prefix), node.low, 1) if high is None else high
        following = ""
        for count in range(last, 0, -1):
            rule = self._grammar.new("i")
            after = rule if count == last else following
            more = high is None or count < last
            item = (Literal(", "), Ref(self._value(node.at(count)), inside=True), Ref(after))
            alternatives: list[Alternative] = [item] if more else []
            following = self._grammar.define(rule, [*alternatives, *([(Literal("]"),)] if count >= node.low else [])])
        return following

    def _object(self, node: Object) -> str:
        extra = node.extra if node.extra is not None else None if node.is_named else ()
        members = list(node.members)
        named = {name for name, _ in members}
        members += [(name, node.extra or ()) for name in node.required if name not in named]
        if len(members) > MAX_MEMBERS:
            raise SchemaError(f"the schema has an object with more than {MAX_MEMBERS:,} members")
        # From the last member to the first: `key`: the rules from a member's name on, behind the opening quote;
        # `rest`: from what follows a member's value on.
        rest, key = self._extras(tuple(sorted(name for name, _ in members)), extra)
        must = False
        for name, places in reversed(members):
            is_required = name in node.required
            if NOTHING in places and not is_required:
                continue
            member = (Literal(_key(name) + ": "), Ref(self._value(places), inside=True), Ref(rest))
            skipped: list[Alternative] = [(Ref(key),)] if key and not is_required else []
            key = self._grammar.define(self._grammar.new("k"), [member, *skipped])
            must = must or is_required
            ends: list[Alternative] = [] if must else [(_END,)]
            rest = self._grammar.define(self._grammar.new("m"), [(Literal(', "'), Ref(key)), *ends])
        whole: list[Alternative] = [(Literal('{"'), Ref(key))] if key else []
        return self._grammar.define(self._grammar.new("o"), [*whole, *([] if must else [(Literal("{}"),)])])

    def _extras(self, names: tuple[str, ...], extra: Places | None) -> tuple[str, str | None]:
        """The rules (rest, key) for members whose names the schema does not list."""
        rest = self._grammar.new("m")
        if extra is None:
            return self._grammar.define(rest, [(_END,)]), None
        if names not in self._keys:
            other = automaton.complement(automaton.literals(names)) if names else automaton.ANY
            self._keys[names] = string_rule(self._grammar, other)
        member = (Ref(self._keys[names]), Literal(": "), Ref(self._value(extra), inside=True), Ref(rest))
        key = self._grammar.define(self._grammar.new("k"), [member])
        return self._grammar.define(rest, [(Literal(', "'), Ref(key)), (_END,)]), key


def _matching(node: String) -> Automaton:
    """The strings in which all patterns are found, of the right length."""
    found = automaton.ANY
    for pattern in node.patterns:
        one = automaton.from_nfa(build(parse(pattern, common_class)), _MAX_STATES)
        found = one if found is automaton.ANY else automaton.intersect(found, one, _MAX_STATES)
    if node.low or node.high is not None:
        found = automaton.intersect(found, automaton.lengths(node.low, node.high), _MAX_STATES)
    return found


def _numbers(node: Number) -> Automaton:
    if node.low is None and node.high is None and node.multiple == 1:
        return numbers.any_integer() if node.is_integer else numbers.any_number()
    if node.is_integer:
        return numbers.integers(node.low, node.high, node.multiple)
    return numbers.decimals(node.low, node.high)


def _key(name: str) -> str:
    """A member's name behind its opening quote."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(f"the name {shown(ascii(name))} holds half a character, which cannot be written") from error
    return json.dumps(name, ensure_ascii=False)[1:]
