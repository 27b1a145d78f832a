"""GBNF, read and run by the tests themselves: whether a text fits a grammar, and random texts that do."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<rule>[a-zA-Z0-9-]+)\s*::=|(?P<ref>[a-zA-Z0-9-]+)|"(?P<text>(?:[^"\\]|\\.)*)"|\[(?P<set>(?:[^\]\\]|\\.)*)\]|(?P<bar>\|))"""
)
_CHARACTER = re.compile(r"\\x(..)|\\u(....)|\\U(........)|\\(.)|([^\\])", re.DOTALL)

Set = tuple[tuple[int, int], ...]
Item = Set | str  # one character of a set, or a rule
Stack = tuple["Item", "Stack"] | None


@dataclass
class Gbnf:
    rules: dict[str, list[tuple[Item, ...]]]

    def fits(self, text: str) -> bool:
        """Whether the whole text can be made of `root`."""
        stacks = self._expanded({("root", None)})
        for character in text:
            point = ord(character)
            moved: set[Stack] = {
                stack[1]
                for stack in stacks
                if stack is not None and any(first <= point <= last for first, last in stack[0])  # type: ignore[misc]
            }
            stacks = self._expanded(moved)
            if not stacks:
                return False
        return None in stacks

    def _expanded(self, stacks: set[Stack]) -> set[Stack]:
        """With rules at the top replaced by their alternatives, until there are characters at the top of all."""
        found: set[Stack] = set()
        todo, seen = list(stacks), set(stacks)
        while todo:
            stack = todo.pop()
            if stack is None or not isinstance(stack[0], str):
                found.add(stack)
                continue
            for alternative in self.rules[stack[0]]:
                new = stack[1]
                for item in reversed(alternative):
                    new = (item, new)
                if new not in seen:
                    seen.add(new)
                    todo.append(new)
        return found

    def sample(self, draw: random.Random, length: int = 60) -> str:
        """A text that fits; after about `length` characters it comes to an end by the shortest way."""
        cost = self._costs()
        text: list[str] = []
        todo: list[Item] = ["root"]
        while todo:
            item = todo.pop()
            if not isinstance(item, str):
                first, last = draw.choice(item)
                text.append(chr(draw.randint(first, last) if draw.random() < 0.7 else draw.choice((first, last))))
                continue
            options = self.rules[item]
            if len(text) > length:
                least = min(sum(cost[i] if isinstance(i, str) else 1 for i in option) for option in options)
                options = [o for o in options if sum(cost[i] if isinstance(i, str) else 1 for i in o) == least]
            todo += reversed(draw.choice(options))
        return "".join(text)

    def _costs(self) -> dict[str, float]:
        """The fewest characters that each rule can be."""
        cost = dict.fromkeys(self.rules, float("inf"))
        changed = True
        while changed:
            changed = False
            for name in reversed(list(self.rules)):
                best = min(sum(cost[i] if isinstance(i, str) else 1 for i in option) for option in self.rules[name])
                if best < cost[name]:
                    cost[name], changed = best, True
        return cost


def read(grammar: str) -> Gbnf:
    """Reads what minichat writes: no groups, no repetitions."""
    rules: dict[str, list[tuple[Item, ...]]] = {}
    position, options = 0, list[list[Item]]()
    while grammar[position:].strip():
        found = _TOKEN.match(grammar, position)
        assert found, grammar[position : position + 40]
        position = found.end()
        if (name := found["rule"]) is not None:
            assert name not in rules, name
            options = rules[name] = [[]]  # type: ignore[assignment]
        elif found["bar"]:
            options.append([])
        elif found["ref"] is not None:
            options[-1].append(found["ref"])
        elif found["text"] is not None:
            options[-1] += [((ord(c), ord(c)),) for c in _characters(found["text"])]
        else:
            options[-1].append(_set(found["set"]))
    for alternatives in rules.values():
        for i, alternative in enumerate(alternatives):
            assert all(not isinstance(item, str) or item in rules for item in alternative)
            alternatives[i] = tuple(alternative)
    return Gbnf(rules)


def _characters(text: str) -> list[str]:
    named = {"n": "\n", "r": "\r", "t": "\t"}
    return [
        named.get(m[4], m[4]) if m[4] else m[5] or chr(int(m[1] or m[2] or m[3], 16)) for m in _CHARACTER.finditer(text)
    ]


def _set(text: str) -> Set:
    parts = [(m[0], c) for m, c in zip(_CHARACTER.finditer(text), _characters(text), strict=True)]
    spans, i = [], 0
    while i < len(parts):
        if i + 2 < len(parts) and parts[i + 1][0] == "-":
            spans.append((ord(parts[i][1]), ord(parts[i + 2][1])))
            i += 3
        else:
            spans.append((ord(parts[i][1]),) * 2)
            i += 1
    return tuple(spans)  # type: ignore[arg-type]
