"""Damages GGUF files as disks and strangers do: keys and tensors that say something else, counts, any bytes.

Every function takes a random generator, so that a seed names a damage. `Parts` takes a file apart and puts it together
with no check at all, and knows nothing of the program's own reader and writer.
"""

from __future__ import annotations

import random
import struct
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
_LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 513, 1024, 4096, 32768,
    1 << 16, 1 << 20, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62), (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("-inf"), float("nan"), 0.5, 1e-5, 1e6)
_TEXTS = ("", " ", "llama", "gpt2", "bert", "clip", "mamba", "granite_swa", "mistral3", "t5", "spm", "none", "tekken",
          "default", "yarn", "linear", "\x1b[31mred", "x" * 300, "é" * 1000, "\0", "{{ messages }}")  # fmt: skip


@dataclass
class Key:
    name: bytes
    kind: int
    value: Any  # of an array: [kind of the elements, count as it is told, values]


@dataclass
class Tensor:
    name: bytes
    sizes: list[int]  # innermost first
    kind: int
    offset: int


@dataclass
class Parts:
    """A file: version, what it says of how many tensors and keys there are, these, and the data behind them."""

    version: int
    keys: list[Key]
    tensors: list[Tensor]
    data: bytes
    n_tensors: int | None = None
    n_keys: int | None = None

    @classmethod
    def of(cls, raw: bytes) -> Parts:
        reader = _Reader(raw)
        version, n_tensors, n_keys = reader.take("I"), reader.take("Q"), reader.take("Q")
        keys = [reader.key() for _ in range(n_keys)]
        tensors = [reader.tensor() for _ in range(n_tensors)]
        return cls(version, keys, tensors, raw[-(-reader.place // 32) * 32 :])

    def pack(self) -> bytes:
        out = [b"GGUF", struct.pack("<I", self.version & 0xFFFFFFFF)]
        counts = [
            len(found) if told is None else told
            for found, told in ((self.tensors, self.n_tensors), (self.keys, self.n_keys))
        ]
        out += [struct.pack("<Q", count & (1 << 64) - 1) for count in counts]
        out += [_text(key.name) + struct.pack("<I", key.kind) + _value(key.kind, key.value) for key in self.keys]
        for tensor in self.tensors:
            out += [_text(tensor.name), struct.pack("<I", len(tensor.sizes))]
            out += [_number("Q", size) for size in tensor.sizes]
            out += [_number("I", tensor.kind), _number("Q", tensor.offset)]
        head = b"".join(out)
        return head + bytes(-len(head) % 32) + self.data

    def key(self, name: str) -> Key:
        return next(key for key in self.keys if key.name == name.encode())

    def tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name.encode())


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw, self.place = raw, 4

    def take(self, letter: str) -> Any:
        value = struct.unpack_from(f"<{letter}", self._raw, self.place)[0]
        self.place += struct.calcsize(f"<{letter}")
        return value

    def text(self) -> bytes:
        size = self.take("Q")
        self.place += size
        return self._raw[self.place - size : self.place]

    def key(self) -> Key:
        name, kind = self.text(), self.take("I")
        if kind != ARRAY:
            return Key(name, kind, self.text() if kind == STRING else self.take(_LETTERS[kind]))
        inner, count = self.take("I"), self.take("Q")
        values = [self.text() if inner == STRING else self.take(_LETTERS[inner]) for _ in range(count)]
        return Key(name, kind, [inner, None, values])

    def tensor(self) -> Tensor:
        name, n = self.text(), self.take("I")
        return Tensor(name, [self.take("Q") for _ in range(n)], self.take("I"), self.take("Q"))


def _text(raw: bytes) -> bytes:
    return struct.pack("<Q", len(raw)) + raw


def _number(letter: str, value: Any) -> bytes:
    if letter in "fd":
        try:
            return struct.pack(f"<{letter}", value)
        except OverflowError:
            return struct.pack(f"<{letter}", float("inf"))
    size = struct.calcsize(f"<{letter}")
    return (int(value) & (1 << 8 * size) - 1).to_bytes(size, "little")


def _value(kind: int, value: Any) -> bytes:
    if kind == ARRAY:
        inner, told, values = value
        count = len(values) if told is None else told
        return struct.pack("<I", inner) + _number("Q", count) + b"".join(_value(inner, each) for each in values)
    if kind == STRING:
        return _text(value)
    return _number(_LETTERS.get(kind, "I"), value)


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """A file with one damage, now and then with two or three."""
    parts = Parts.of(raw)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        rng.choices((_mutate_key, _mutate_array, _mutate_tensor, _mutate_counts, _mutate_data), (50, 12, 28, 3, 7))[0](
            parts, rng
        )
    changed = parts.pack()
    return _mutate_bytes(changed, rng) if rng.random() < 0.2 else changed


def _mutate_key(parts: Parts, rng: random.Random) -> None:
    if not parts.keys:
        return
    n = rng.randrange(len(parts.keys))
    key = parts.keys[n] = deepcopy(parts.keys[n])
    match rng.choice(("value", "value", "value", "value", "drop", "retype", "rename", "double", "swap", "array")):
        case "value":
            if key.kind != ARRAY:
                key.value = _other(key.kind, key.value, rng)
            elif key.value[2]:
                place = rng.randrange(len(key.value[2]))
                key.value[2][place] = _other(key.value[0], key.value[2][place], rng)
        case "drop":
            del parts.keys[n]
        case "retype":
            key.kind = rng.choice((U32, I32, F32, BOOL, STRING, U64, 0, 2, 12, 13, 99))
            key.value = _other(key.kind, 0, rng)
        case "rename":
            key.name = rng.choice((b"", key.name + b"x", rng.choice(parts.keys).name, b"\xff", b"general.alignment"))
        case "double":
            parts.keys.insert(rng.randrange(len(parts.keys)), deepcopy(key))
        case "swap":
            other = rng.choice(parts.keys)
            key.kind, key.value = other.kind, deepcopy(other.value)
        case "array":
            value = key.value if key.kind != ARRAY else key.value[2][:1]
            if key.kind != ARRAY:
                key.kind, key.value = ARRAY, [key.kind, None, [value] * rng.choice((0, 1, 2, 3, 600))]


def _mutate_array(parts: Parts, rng: random.Random) -> None:
    arrays = [n for n, key in enumerate(parts.keys) if key.kind == ARRAY]
    if not arrays:
        return
    n = rng.choice(arrays)
    key = parts.keys[n] = deepcopy(parts.keys[n])
    values = key.value[2]
    match rng.choice(("cut", "grow", "empty", "all", "told", "kind", "some")):
        case "cut":
            del values[rng.randrange(len(values) + 1) :]
        case "grow":
            values += values[: rng.choice((1, 2, 100, 5000))]
        case "empty":
            values.clear()
        case "all":
            key.value[2] = [rng.choice(values)] * len(values) if values else []
        case "told":
            key.value[1] = rng.choice(_NUMBERS)
        case "kind":
            key.value[0] = rng.choice((U32, I32, F32, BOOL, U64)) if key.value[0] != STRING else STRING
        case "some":
            for _ in range(20 if values else 0):
                place = rng.randrange(len(values))
                values[place] = _other(key.value[0], values[place], rng)


def _mutate_tensor(parts: Parts, rng: random.Random) -> None:
    if not parts.tensors:
        return
    n = rng.randrange(len(parts.tensors))
    tensor = parts.tensors[n] = deepcopy(parts.tensors[n])
    other = rng.choice(parts.tensors)
    match rng.choice(("sizes", "sizes", "sizes", "kind", "kind", "offset", "drop", "rename", "double", "swap", "like")):
        case "sizes":
            place = rng.randrange(len(tensor.sizes) + 1)
            if place == len(tensor.sizes):
                tensor.sizes.append(rng.choice((1, 2, 0, 1 << 40)))
            elif rng.random() < 0.2:
                del tensor.sizes[place]
            else:
                tensor.sizes[place] = _other(U64, tensor.sizes[place], rng)
        case "kind":
            tensor.kind = rng.choice((*range(42), 99, 1 << 31))
        case "offset":
            tensor.offset = rng.choice((0, tensor.offset + 32, tensor.offset - 32, other.offset, *_NUMBERS))
        case "drop":
            del parts.tensors[n]
        case "rename":
            tensor.name = rng.choice((b"", tensor.name + b"x", other.name, b"x" * 64, b"x" * 63, b"output.weight"))
        case "double":
            parts.tensors.append(Tensor(tensor.name + b"2", tensor.sizes, tensor.kind, tensor.offset))
        case "swap":
            tensor.name, other.name = other.name, tensor.name
        case "like":
            tensor.sizes, tensor.kind = list(other.sizes), other.kind


def _mutate_counts(parts: Parts, rng: random.Random) -> None:
    match rng.choice(("version", "tensors", "keys")):
        case "version":
            parts.version = rng.choice((0, 1, 2, 4, 3 << 24))
        case "tensors":
            parts.n_tensors = rng.choice((len(parts.tensors) + 1, len(parts.tensors) - 1, *_NUMBERS))
        case "keys":
            parts.n_keys = rng.choice((len(parts.keys) + 1, len(parts.keys) - 1, *_NUMBERS))


def _mutate_data(parts: Parts, rng: random.Random) -> None:
    data = bytearray(parts.data)
    place = rng.randrange(len(data) or 1)
    match rng.choice(("flip", "noise", "ones", "cut", "nothing")):
        case "flip":
            for _ in range(rng.choice((1, 8, 1000)) if data else 0):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "noise":
            data[place : place + 5000] = rng.randbytes(min(5000, len(data) - place))
        case "ones":
            data[place : place + 5000] = b"\xff" * min(5000, len(data) - place)
        case "cut":
            del data[place:]
        case "nothing":
            data.clear()
    parts.data = bytes(data)


def _mutate_bytes(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 2, 5))):
        place = rng.randrange(min(len(changed), rng.choice((64, 4096, len(changed)))) or 1)
        match rng.choice(("flip", "set", "delete", "insert", "cut")):
            case "flip":
                if changed:
                    changed[place] ^= 1 << rng.randrange(8)
            case "set":
                changed[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
            case "delete":
                del changed[place : place + rng.choice((1, 4, 8, 100))]
            case "insert":
                changed[place:place] = rng.randbytes(rng.choice((1, 4, 8, 100)))
            case "cut":
                del changed[place:]
    return bytes(changed)


def _other(kind: int, value: Any, rng: random.Random) -> Any:
    """Another value of this kind."""
    if kind == STRING:
        old = value if isinstance(value, bytes) else b""
        return rng.choice((old * 2, old[:-1], old.upper(), b"\xff\xfe", rng.choice(_TEXTS).encode()))
    if kind in (F32, 12):
        return rng.choice((*_FLOATS, -value if isinstance(value, float) else 1.0))
    if kind == BOOL:
        return rng.choice((0, 1, 2, 255))
    number = value if isinstance(value, int) else 0
    return rng.choice((number + 1, number - 1, number * 2, number // 2, -number, *_NUMBERS))
