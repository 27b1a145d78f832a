"""Deterministic finite automata over characters: sets of strings that can be met, turned round and counted.

State 0 is where a string begins; from a state, the sets of characters on its edges do not overlap. Every function that
could grow an automaton takes a limit of states and raises TooLarge beyond it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from minichat.schema import characters
from minichat.schema.characters import Ranges
from minichat.schema.nfa import Nfa, States

MAX_LITERALS = 60_000  # states
_MAX_WORK = 150_000  # ranges looked at when a pattern is made deterministic: half a second

_S = TypeVar("_S", bound=Hashable)
Edges = tuple[tuple[Ranges, int], ...]


class TooLargeError(Exception):
    """An automaton would have more states than it may."""


@dataclass(frozen=True)
class Automaton:
    """edges[state]: (set of characters, next state). final: the states where a string may end."""

    edges: tuple[Edges, ...]
    final: frozenset[int]


ANY = Automaton((((characters.TEXT, 0),),), frozenset({0}))
"""All strings."""


def explore(
    start: _S, moves: Callable[[_S], Iterable[tuple[Ranges, _S]]], is_final: Callable[[_S], bool], limit: int
) -> Automaton:
    """The automaton with the states that are found from `start` by `moves`; those that lead nowhere are left out.

    >>> digits = characters.of("0123456789")
    >>> explore(0, lambda n: [(digits, n + 1)] if n < 2 else [], lambda n: n == 2, 10).final
    frozenset({2})
    """
    numbers, states, edges = {start: 0}, [start], list[Edges]()
    for state in states:  # grows meanwhile
        grouped: dict[int, list[Ranges]] = defaultdict(list)
        for ranges, target in moves(state):
            if target not in numbers:
                if len(states) >= limit:
                    raise TooLargeError
                numbers[target] = len(states)
                states.append(target)
            grouped[numbers[target]].append(ranges)
        edges.append(tuple((characters.union(parts), target) for target, parts in grouped.items()))
    return _trimmed(edges, {number for state, number in numbers.items() if is_final(state)})


def _trimmed(edges: list[Edges], final: set[int]) -> Automaton:
    """Without the states from which no string can end, but always with the first; states with equal ends are one."""
    before: dict[int, list[int]] = defaultdict(list)
    for state, moves in enumerate(edges):
        for _, target in moves:
            before[target].append(state)
    alive, todo = set(final), list(final)
    while todo:
        new = set(before[todo.pop()]) - alive
        alive |= new
        todo += new
    merged = _merged(edges, final, alive)
    kept = [merged[0], *sorted(set(merged.values()) - {merged[0]})]
    numbers = {state: number for number, state in enumerate(kept)}
    renamed = {old: numbers[new] for old, new in merged.items()}
    return Automaton(
        tuple(_moves(edges[state], renamed) for state in kept),
        frozenset(renamed[state] for state in final if state in renamed),
    )


def _moves(moves: Edges, names: dict[int, int]) -> Edges:
    """The edges with other names for states, without those that lead to states that have none."""
    grouped: dict[int, list[Ranges]] = defaultdict(list)
    for ranges, target in moves:
        if target in names and ranges:
            grouped[names[target]].append(ranges)
    return tuple(sorted((characters.union(parts), target) for target, parts in grouped.items()))


def _merged(edges: list[Edges], final: set[int], alive: set[int]) -> dict[int, int]:
    """For each state that is alive, and the first, one that accepts the same from there on.

    Goes from the ends back, once: what differs in a loop only is kept apart.
    """
    same: dict[int, int] = {}
    known: dict[tuple[bool, Edges], int] = {}
    for state in _from_ends(edges):
        if state in alive or state == 0:
            names = {target: same.get(target, target) for _, target in edges[state] if target in alive}
            # A loop to itself is told apart from one to another state by a number that none has.
            key = (state in final, _moves(edges[state], {**names, **({state: -1} if state in names else {})}))
            same[state] = known.setdefault(key, state)
    return same


def _from_ends(edges: list[Edges]) -> list[int]:
    """The states that can be reached, each behind those that it leads to, loops aside."""
    order, seen = list[int](), {0}
    path = [(0, iter(edges[0]))]
    while path:
        state, rest = path[-1]
        for _, target in rest:
            if target not in seen:
                seen.add(target)
                path.append((target, iter(edges[target])))
                break
        else:
            order.append(state)
            path.pop()
    return order


def from_nfa(nfa: Nfa, limit: int) -> Automaton:
    """The same strings, without those that UTF-8 cannot hold (subset construction)."""
    found = frozenset({1})  # from where on everything is accepted
    work = 0

    def closed(states: Iterable[int]) -> States:
        closure = nfa.closure(states)
        return found if 1 in closure else closure

    def moves(state: tuple[States, bool]) -> list[tuple[Ranges, tuple[States, bool]]]:
        nonlocal work
        labels = [(ranges, target) for one in state[0] for ranges, target in nfa.moves[one]]
        work += len(state[0]) + sum(len(ranges) for ranges, _ in labels)
        if work > _MAX_WORK:
            raise TooLargeError
        return [(ranges, (closed(targets), False)) for ranges, targets in _split(labels)]

    first = nfa.closure({0}, starting=True)
    start = (found if 1 in first else first, True)
    return explore(start, moves, lambda state: nfa.accepts(state[0], starting=state[1]), limit)


def _split(labels: list[tuple[Ranges, int]]) -> list[tuple[Ranges, frozenset[int]]]:
    """Overlapping labels as sets of characters that do not overlap, each with all its targets."""
    turns: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for ranges, target in labels:
        for first, last in characters.intersection(ranges, characters.TEXT):
            turns[first].append((target, 1))
            turns[last + 1].append((target, -1))
    active: dict[int, int] = defaultdict(int)
    pieces: dict[frozenset[int], list[tuple[int, int]]] = defaultdict(list)
    previous, targets = 0, frozenset[int]()
    for point in sorted(turns):
        if targets:
            pieces[targets].append((previous, point - 1))
        for target, change in turns[point]:
            active[target] += change
        previous, targets = point, frozenset(target for target, count in active.items() if count)
    return [(characters.union([tuple(parts)]), targets) for targets, parts in pieces.items()]


def literals(texts: Iterable[str]) -> Automaton:
    """Exactly these strings. Raises TooLargeError beyond MAX_LITERALS states."""
    tree: list[dict[str, int]] = [{}]
    final = set[int]()
    for text in texts:
        state = 0
        for character in text:
            if character not in tree[state]:
                tree[state][character] = len(tree)
                tree.append({})
                if len(tree) > MAX_LITERALS:
                    raise TooLargeError
            state = tree[state][character]
        final.add(state)
    edges = [tuple((characters.of(character), target) for character, target in moves.items()) for moves in tree]
    return _trimmed(edges, final)


def complement(one: Automaton) -> Automaton:
    """All other strings."""
    sink = len(one.edges)
    edges: list[Edges] = []
    for moves in (*one.edges, ()):
        used = characters.union(ranges for ranges, _ in moves)
        rest = characters.intersection(characters.TEXT, characters.complement(used))
        edges.append((*moves, (rest, sink)) if rest else moves)
    return _trimmed(edges, set(range(sink + 1)) - one.final)


def intersect(one: Automaton, other: Automaton, limit: int) -> Automaton:
    """The strings that both accept."""

    def moves(state: tuple[int, int]) -> list[tuple[Ranges, tuple[int, int]]]:
        pairs = ((a, b) for a in one.edges[state[0]] for b in other.edges[state[1]])
        met = ((characters.intersection(a[0], b[0]), (a[1], b[1])) for a, b in pairs)
        return [(ranges, target) for ranges, target in met if ranges]

    return explore((0, 0), moves, lambda state: state[0] in one.final and state[1] in other.final, limit)


def lengths(low: int, high: int | None) -> Automaton:
    """All strings of `low` to `high` characters; without a limit where `high` is None."""
    last = low if high is None else high
    edges: list[Edges] = [((characters.TEXT, state + 1),) for state in range(last)]
    edges.append(((characters.TEXT, last),) if high is None else ())
    return Automaton(tuple(edges), frozenset(range(low, last + 1)))
