"""A pattern as a nondeterministic automaton (Thompson's construction), and the search with it in linear time.

Python's own `re` goes back and tries again: `(a+)+$` on thirty letters can take hours. This does not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from minichat.schema import characters
from minichat.schema.characters import Ranges
from minichat.schema.pattern import Anchor, Characters, Choice, Expression, PatternError, Repeat, Sequence, parse

MAX_STATES = 3000
_MAX_WORK = 1_000_000  # states that one search goes through, without those that it remembers: about a second
_MAX_KNOWN = 2000  # steps that a search remembers

States = frozenset[int]


@dataclass
class Nfa:
    """The automaton that accepts the texts in which a pattern is found: state 0 is its beginning, 1 its end.

    moves[state]: (set of characters, next state). silent[state]: next states that need no character; `at_start` and
    `at_end`: those that need the beginning or the end of the text.
    """

    moves: list[list[tuple[Ranges, int]]] = field(default_factory=list)
    silent: list[list[int]] = field(default_factory=list)
    at_start: list[list[int]] = field(default_factory=list)
    at_end: list[list[int]] = field(default_factory=list)

    def state(self) -> int:
        if len(self.moves) >= MAX_STATES:
            raise PatternError("it is too long, or repeats too often")
        for table in (self.moves, self.silent, self.at_start, self.at_end):
            table.append([])
        return len(self.moves) - 1

    def closure(self, states: Iterable[int], starting: bool = False, ending: bool = False) -> States:
        """The states that can be reached from these without a character."""
        found, todo = set(states), list(states)
        while todo:
            state = todo.pop()
            nexts = [*self.silent[state]]
            nexts += self.at_start[state] if starting else []
            nexts += self.at_end[state] if ending else []
            todo += (new := set(nexts) - found)
            found |= new
        return frozenset(found)

    def accepts(self, states: States, starting: bool = False) -> bool:
        """Whether a text that leads to these states may end here. starting: the text is empty."""
        return 1 in self.closure(states, starting, ending=True)


def build(expression: Expression) -> Nfa:
    """Raises PatternError for an expression that becomes too large."""
    nfa = Nfa()
    start, end = nfa.state(), nfa.state()
    nfa.moves[start].append((characters.ALL, start))  # a pattern is searched for, not matched from the beginning
    nfa.moves[end].append((characters.ALL, end))
    _add(nfa, expression, start, end)
    return nfa


def _add(nfa: Nfa, expression: Expression, start: int, end: int) -> None:
    """Leads from `start` to `end` by what the expression matches."""
    match expression:
        case Characters(ranges):
            nfa.moves[start].append((ranges, end))
        case Anchor(at_end):
            (nfa.at_end if at_end else nfa.at_start)[start].append(end)
        case Choice(options):
            for option in options:
                _add(nfa, option, start, end)
        case Sequence(items):
            for item in items:
                following = nfa.state()
                _add(nfa, item, start, following)
                start = following
            nfa.silent[start].append(end)
        case Repeat(item, low, high):
            _add_repeat(nfa, item, low, high, start, end)


def _add_repeat(nfa: Nfa, item: Expression, low: int, high: int | None, start: int, end: int) -> None:
    for _ in range(low):
        following = nfa.state()
        _add(nfa, item, start, following)
        start = following
    if high is None:
        loop = nfa.state()  # of its own: nothing else may lead back into it
        nfa.silent[start].append(loop)
        after = nfa.state()
        _add(nfa, item, loop, after)
        nfa.silent[after].append(loop)
        nfa.silent[loop].append(end)
        return
    for _ in range(high - low):
        nfa.silent[start].append(end)
        following = nfa.state()
        _add(nfa, item, start, following)
        start = following
    nfa.silent[start].append(end)


class Search:
    """Whether a pattern is found in texts, in time proportional to their lengths. Raises PatternError.

    work: how many states it has gone through so far.
    """

    def __init__(self, pattern: str) -> None:
        self._nfa = build(parse(pattern))
        edges = {edge for moves in self._nfa.moves for ranges, _ in moves for a, b in ranges for edge in (a, b + 1)}
        self._edges = sorted(edges)
        self._known: dict[tuple[States, int], States] = {}
        self.work = 0

    def found_in(self, text: str) -> bool:
        limit = self.work + _MAX_WORK
        states = self._nfa.closure({0}, starting=True)
        for character in text:
            if 1 in states:
                return True
            if self.work > limit:
                raise PatternError("the text is too long to be searched for it")
            states = self._step(states, bisect_right(self._edges, ord(character)))
        return self._nfa.accepts(states, starting=not text)

    def _step(self, states: States, interval: int) -> States:
        """interval: which of the pieces between `_edges` the character lies in."""
        key = (states, interval)
        if (known := self._known.get(key)) is None:
            self.work += len(states)
            point = self._edges[interval - 1]
            moved = {
                target
                for state in states
                for ranges, target in self._nfa.moves[state]
                if any(first <= point <= last for first, last in ranges)
            }
            known = self._nfa.closure(moved)
            if len(self._known) < _MAX_KNOWN:
                self._known[key] = known
        return known


@lru_cache(maxsize=64)
def search(pattern: str) -> Search:
    return Search(pattern)
