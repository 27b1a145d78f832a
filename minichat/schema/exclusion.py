"""`oneOf`: alternatives of which no value fits two.

A grammar cannot say "but not that one", so what is written for each alternative must fit no other by its own nature:
other types, other values of a member that must be there, other lengths or bounds; or a member that the other needs is
kept out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from minichat.schema.nodes import NOTHING, Array, Finite, Node, Number, Object, Places, Simple, String, meet
from minichat.schema.places import refuse
from quant.errors import SchemaError

_DEPTH = 4
_MAX_WORK = 200_000  # members compared: about a second


class Exclusion:
    """nodes, is_valid: those of Meaning."""

    def __init__(self, nodes: Callable[[Places], list[Node]], is_valid: Callable[[str, Places], bool]) -> None:
        self._nodes, self._is_valid = nodes, is_valid
        self._work = 0

    def apart(self, place: str, branches: list[list[Node]]) -> list[Node]:
        """All nodes of the branches, each so that none of its values fits another branch. Raises SchemaError."""
        found: list[Node] = []
        for number, branch in enumerate(branches):
            for node in written(branch):
                kept = node
                for other_number, other in enumerate(branches):
                    for against in other if other_number != number else ():
                        if (narrowed := self._kept_apart(kept, against)) is None:
                            refuse(place, f"a value could fit both {number} and {other_number}: 'anyOf' allows that")
                        kept = narrowed
                found.append(kept)
        return found

    def _kept_apart(self, node: Node, other: Node) -> Node | None:
        """The node without the values that fit the other too; None where that cannot be said."""
        self._work += 1 + (len(node.members) if isinstance(node, Object) else 0)
        if self._work > _MAX_WORK:
            raise SchemaError("the schema has a 'oneOf' of too many alternatives: 'anyOf' may have more")
        if isinstance(node, Finite) or self._differ(node, other, _DEPTH):
            return node  # finite values are checked against the whole schema later
        if isinstance(node, Object) and isinstance(other, Object) and node.extra is None:
            names = {name for name, _ in node.members}
            for name in other.required:
                if name not in names and name not in node.required:
                    return replace(node, members=(*node.members, (name, (NOTHING,))))
        return None

    def _differ(self, one: Node, other: Node, depth: int) -> bool:
        """Whether it is certain that no value fits both."""
        if isinstance(other, Finite):
            return not any(_could_be(text, one) for text in other.texts)
        if meet(one, other) is None:
            return True
        if isinstance(one, String) and isinstance(other, String):
            return _beyond(one.low, one.high, other.low, other.high)
        if isinstance(one, Number) and isinstance(other, Number):
            return _bounds_apart(one, other) or _bounds_apart(other, one)
        if isinstance(one, Array) and isinstance(other, Array):
            return _beyond(one.low, one.high, other.low, other.high)
        if isinstance(one, Object) and isinstance(other, Object) and depth:
            needed = {*one.required, *other.required}
            return any(self._places_differ(one.of(name), other.of(name), depth - 1) for name in needed)
        return False

    def _places_differ(self, ones: Places, others: Places, depth: int) -> bool:
        pairs = ((one, other) for one in self._nodes(ones) for other in self._nodes(others))
        return all(
            not any(self._is_valid(text, others) for text in one.texts)
            if isinstance(one, Finite)
            else not any(self._is_valid(text, ones) for text in other.texts)
            if isinstance(other, Finite)
            else self._differ(one, other, depth)
            for one, other in pairs
        )


def written(nodes: list[Node]) -> list[Node]:
    """The nodes that are written: those of implied types only where there are no others."""
    return [node for node in nodes if not node.implied] or nodes


def _could_be(text: str, node: Node) -> bool:
    """Whether a JSON text is of a node's type."""
    if isinstance(node, Simple):
        return text == "null" if node.type == "null" else text in ("true", "false")
    kinds = {'"': String, "[": Array, "{": Object, "t": Simple, "f": Simple, "n": Simple}
    return isinstance(node, kinds.get(text[0], Number))


def _beyond(low: int, high: int | None, other_low: int, other_high: int | None) -> bool:
    return (high is not None and high < other_low) or (other_high is not None and other_high < low)


def _bounds_apart(one: Number, other: Number) -> bool:
    if one.high is None or other.low is None:
        return False
    if one.high.value == other.low.value:
        return one.high.is_exclusive or other.low.is_exclusive
    return one.high.value < other.low.value
