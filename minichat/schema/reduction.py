"""From rules as they follow from a schema to rules that llama.cpp works through quickly.

What contains itself gets a last level, what has no end is left out, what is used once is joined; and grammars that
would take llama.cpp long are refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque

from minichat.schema.rules import MAX_RULES, ROOT, Alternative, Item, Literal, Ref, Rules, refs
from quant.errors import SchemaError

MAX_BEGINNINGS = 1000  # alternatives that llama.cpp must follow at once
MAX_WORK = 200_000  # paths of first rules that llama.cpp walks when it looks for left recursion, without a memory
NESTING, MAX_NESTING = 20, 200
"""How deep a rule that contains itself may go, and how deep anything may."""


def unrolled(rules: Rules, root: str) -> Rules:
    """The rules that `root` needs; those that contain themselves NESTING times, each one level above the next.

    The parsers of JSON give up at some depth: an answer that goes on opening lists is no JSON to them.
    """
    group = _groups(rules, root)
    nested = {
        group[name] for name in group for ref in refs(rules[name]) if ref.inside and group[ref.name] == group[name]
    }
    _check_nesting(rules, group, nested)

    def renamed(name: str, level: int) -> str:
        return f"{name}-{level}" if group[name] in nested else name

    def followed(item: Item, of: str, level: int) -> tuple[Item, tuple[str, int] | None]:
        if not isinstance(item, Ref):
            return item, None
        if group[item.name] == group[of]:
            level -= item.inside
        else:
            level = NESTING
        return Ref(renamed(item.name, level)), (item.name, level)

    levels: Rules = {ROOT: [(Ref(renamed(root, NESTING)),)]}
    todo = [(root, NESTING)]
    known = set(todo)
    while todo:
        name, level = todo.pop()
        alternatives: list[Alternative] = []
        for alternative in rules[name] if level else []:
            pairs = [followed(item, name, level) for item in alternative]
            alternatives.append(tuple(item for item, _ in pairs))
            new = {target for _, target in pairs if target} - known
            known |= new
            todo += new
        levels[renamed(name, level)] = alternatives
        if len(levels) > MAX_RULES:
            raise SchemaError(f"the schema is too large: its grammar has more than {MAX_RULES:,} rules")
    return levels


def _groups(rules: Rules, root: str) -> dict[str, int]:
    """Which rules contain each other: the number of its group for each rule that `root` needs (Tarjan's algorithm).

    A group has a higher number than those that it needs.
    """
    index: dict[str, int] = {root: 0}
    low: dict[str, int] = {root: 0}
    group: dict[str, int] = {}
    stack, path = [root], [(root, refs(rules[root]))]
    groups = 0
    while path:
        name, rest = path[-1]
        for ref in rest:
            if ref.name not in index:
                index[ref.name] = low[ref.name] = len(index)
                stack.append(ref.name)
                path.append((ref.name, refs(rules[ref.name])))
                break
            if ref.name not in group:
                low[name] = min(low[name], index[ref.name])
        else:
            path.pop()
            if path:
                low[path[-1][0]] = min(low[path[-1][0]], low[name])
            if low[name] == index[name]:
                while True:
                    member = stack.pop()
                    group[member] = groups
                    if member == name:
                        break
                groups += 1
    return group


def _check_nesting(rules: Rules, group: dict[str, int], nested: set[int]) -> None:
    members: dict[int, list[str]] = defaultdict(list)
    for name, number in group.items():
        members[number].append(name)
    depth: dict[int, int] = {}
    for number in sorted(members):
        below = [
            depth[group[ref.name]] + ref.inside
            for name in members[number]
            for ref in refs(rules[name])
            if group[ref.name] != number
        ]
        depth[number] = max(below, default=0) + (NESTING if number in nested else 0)
    if max(depth.values()) > MAX_NESTING:
        raise SchemaError(f"the schema describes values that are nested more than {MAX_NESTING} deep")


def productive(rules: Rules) -> Rules:
    """Without the alternatives that no text can come to the end of, and the rules that are not needed any more."""
    users: dict[str, list[tuple[str, int]]] = defaultdict(list)
    missing: dict[tuple[str, int], int] = {}
    done: set[str] = set()
    todo: list[str] = []
    for name, alternatives in rules.items():
        for number, alternative in enumerate(alternatives):
            needed = {ref.name for ref in refs([alternative])}
            missing[name, number] = len(needed)
            for one in needed:
                users[one].append((name, number))
            if not needed and name not in done:
                done.add(name)
                todo.append(name)
    while todo:
        for user in users[todo.pop()]:
            missing[user] -= 1
            if not missing[user] and user[0] not in done:
                done.add(user[0])
                todo.append(user[0])
    kept: Rules = {}
    todo = [ROOT] if ROOT in done else []
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = [a for number, a in enumerate(rules[name]) if not missing[name, number]]
            todo += reversed([ref.name for ref in refs(kept[name])])
    return kept


def check_work(rules: Rules) -> None:
    """Raises SchemaError for a grammar whose rules begin with too many others. No rule may begin with itself."""
    firsts = {name: [ref.name for ref in refs(a[:1] for a in alternatives)] for name, alternatives in rules.items()}
    beginnings: dict[str, int] = {}  # texts that a rule begins with
    paths: dict[str, int] = {}  # ways to them
    seen: set[str] = set()
    work = 0
    for start in rules:
        path = [start]
        while path:
            name = path[-1]
            if unknown := [first for first in firsts[name] if first not in paths]:
                path += unknown
                continue
            path.pop()
            beginnings[name] = sum(map(beginnings.__getitem__, firsts[name])) + len(rules[name]) - len(firsts[name])
            paths[name] = sum(map(paths.__getitem__, firsts[name])) + 1
            if beginnings[name] > MAX_BEGINNINGS:
                raise SchemaError(f"the schema allows more than {MAX_BEGINNINGS:,} alternatives at one place")
        work += paths[start] if start not in seen else 0
        todo = [start]
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += firsts[name]
    if work > MAX_WORK:
        raise SchemaError("the schema allows too many alternatives")


def joined(rules: Rules) -> Rules:
    """Each rule that has one alternative and is used once, or is of one item at most, stands where it is used."""
    uses = Counter(ref.name for alternatives in rules.values() for ref in refs(alternatives))
    once = {
        name
        for name, alternatives in rules.items()
        if name != ROOT and len(alternatives) == 1 and (uses[name] == 1 or len(alternatives[0]) <= 1)
    }

    def flat(alternative: Alternative) -> Alternative:
        items: list[Item] = []
        todo = deque(alternative)
        while todo:
            item = todo.popleft()
            if isinstance(item, Ref) and item.name in once:
                todo.extendleft(reversed(rules[item.name][0]))
            elif isinstance(item, Literal) and items and isinstance(items[-1], Literal):
                items[-1] = Literal(items[-1].text + item.text)
            else:
                items.append(item)
        return tuple(items)

    return {name: [flat(one) for one in alternatives] for name, alternatives in rules.items() if name not in once}
