"""Damages files as disks, editors and strangers do: JSON that says something else, safetensors headers, any bytes.

Every function takes a random generator, so that a seed names a damage.
"""

from __future__ import annotations

import json
import random
import struct
from typing import Any


class Pairs(list[list[Any]]):
    """A JSON object as [key, value] lists, so that a key may stand in it twice."""


class Raw(str):
    """JSON text that stands for itself, whether or not it is JSON."""


NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 2**31, 2**32, 2**48, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e-320, 1e308,
    Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("9" * 5000), Raw(""), Raw("nul"), Raw("'text'"),
    Raw('"\\ud800"'), Raw('"\\udc80\\n"'), "", " ", "0", "a\nb", "\x1b[31mred\x07", "\u202eabc", "\0", "/", "x" * 300,
    "../../etc/passwd", "é" * 70_000, "F32", "I64", "BOOL", "linear", "yarn", "sliding_attention", "v3", "v99",
    Raw("[]"), Raw("{}"), Raw("[0]"), Raw("[[]]"), Raw("[null]"), Raw('{"": 0}'), Raw("[1,2,3,4,5,6,7,8,9,10]"),
)  # fmt: skip


def mutated(name: str, content: bytes, rng: random.Random) -> bytes:
    """A file of this name with one damage, now and then with two."""
    for _ in range(1 + (rng.random() < 0.15)):
        if name.endswith(".safetensors"):
            content = _safetensors(content, rng)
        elif name.endswith(".json") and rng.random() < 0.8:
            content = _json(content, rng)
        else:
            content = _bytes(content, rng)
    return content


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    kind = rng.choices(("json", "bytes", "length", "whole", "data"), (65, 15, 10, 5, 5))[0]
    if kind == "length":
        wrong = rng.choice((0, 1, length - 1, length + 1, length + 8, len(content), 10**8 + 1, 2**31, 2**63, 2**64 - 1))
        return struct.pack("<Q", wrong) + content[8:]
    if kind == "whole":
        return _bytes(content, rng)
    if kind == "data":
        return content[: 8 + length] + _bytes(data, rng)
    header = _json(header, rng) if kind == "json" else _bytes(header, rng)
    return struct.pack("<Q", len(header)) + header + data


def _bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    begin = rng.randrange(len(changed) + 1)
    end = min(len(changed), begin + rng.choice((1, 2, 8, 100, 10_000)))
    match rng.choice(("flip", "flip", "flip", "cut", "delete", "double", "noise", "zero", "insert")):
        case "flip":
            for _ in range(rng.choice((1, 1, 2, 8)) if changed else 0):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        case "cut":
            del changed[begin:]
        case "delete":
            del changed[begin:end]
        case "double":
            changed[begin:begin] = changed[begin:end]
        case "noise":
            changed[begin:end] = rng.randbytes(end - begin)
        case "zero":
            changed[begin:end] = bytes(end - begin)
        case "insert":
            changed[begin:begin] = rng.randbytes(rng.choice((1, 4, 64)))
    return bytes(changed)


def _json(content: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(content, object_pairs_hook=lambda pairs: Pairs(map(list, pairs)))
    except (ValueError, RecursionError):  # damaged before
        return _bytes(content, rng)
    if not isinstance(value, list) or not value:
        return _bytes(content, rng)
    parent, place = _somewhere(value, rng)
    _change(parent, place, rng)
    try:
        return _written(value).encode("utf-8", "surrogatepass")
    except RecursionError:  # deep from the damage before
        return _bytes(content, rng)


def _somewhere(value: list[Any], rng: random.Random) -> tuple[list[Any], int]:
    """A list or object in the value, and a place in it: a walk from the top, so that what is near it is often met."""
    while True:
        place = rng.randrange(len(value))
        inner = value[place][1] if isinstance(value, Pairs) else value[place]
        if not isinstance(inner, list) or not inner or rng.random() < 0.3:
            return value, place
        value = inner


def _change(parent: list[Any], place: int, rng: random.Random) -> None:
    entry = parent[place] if isinstance(parent, Pairs) else parent
    slot = 1 if isinstance(parent, Pairs) else place  # entry[slot] is the value
    other = rng.randrange(len(parent))
    match rng.choice(("nasty", "nasty", "deep", "number", "number", "retype", "drop", "double", "swap", "key", "move")):
        case "nasty":
            entry[slot] = rng.choice(NASTY)
        case "deep":  # on both sides of Python's limit, and around it
            depth = rng.choice((10, 500, 800, 900, 930, 960, 980, 20_000))
            entry[slot] = Raw(rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "0" + "}" * depth)))
        case "number":
            entry[slot] = _other_number(entry[slot], rng)
        case "retype":
            entry[slot] = _retyped(entry[slot], rng)
        case "drop":
            del parent[place]
        case "double":
            parent.insert(other, list(entry) if isinstance(parent, Pairs) else entry[slot])
        case "swap" if isinstance(parent, Pairs):
            entry[1], parent[other][1] = parent[other][1], entry[1]
        case "key" if isinstance(parent, Pairs):
            words = ("", "x", "\x1b[2J", "\ud800", "n" * 70_000, "__metadata__", entry[0].upper(), entry[0] + "s")
            entry[0] = rng.choice((parent[other][0], *words))
        case _:
            parent[place], parent[other] = parent[other], parent[place]


def _other_number(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list) and value and not isinstance(value, Pairs):
        place = rng.randrange(len(value))
        return [*value[:place], _other_number(value[place], rng), *value[place + 1 :]]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return rng.choice((0, 1, -1, 2**40))
    return rng.choice((value + 1, value - 1, -value, value * 2, value // 2, value * 2**32, value + 0.5, value + 32))


def _retyped(value: Any, rng: random.Random) -> Any:
    if isinstance(value, str):
        return rng.choice(([value], len(value), value * 3, value[:-1], Pairs([[value, value]]), value.upper()))
    if isinstance(value, list):
        return rng.choice((Pairs(), [], list(value), [value], Pairs([["a", value]]), len(value)))
    return rng.choice((str(value), [value], float(value or 0), bool(value), Pairs([["a", value]])))


def _written(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
