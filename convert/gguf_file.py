"""GGUF files, version 3: their layout, and reading a header, checked and bounded. `convert.gguf_writer` writes them.

    "GGUF" | version u32 | tensors u64 | keys u64
    key: name str | type u32 | value               str: length u64, UTF-8; array: type u32, count u64, elements
    tensor: name str | dimensions u32 | sizes u64 (innermost first) | type u32 | offset u64 (from the data's start)
    padding to the alignment | data of the tensors, in order, each padded to the alignment

All numbers are little-endian. A header may come from anywhere: it can neither hang the reader nor make it allocate
without bound, and every tensor that it names lies inside the file. Shapes are outermost first here, as numpy's.

Standard library only: the front process reads headers with this module.
"""

import io
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quant.errors import GgufError, QuantError
from quant.types import QuantType, by_id

MAGIC = b"GGUF"
ALIGNMENT = 32

# Far above any real model (a vocabulary of 262,144 tokens with merges makes 16 MB and 800,000 elements).
_MAX_HEADER_BYTES = 256 << 20
_MAX_ELEMENTS = 8 << 20
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 16
_MAX_NAME_BYTES = 1 << 16
_MAX_DIMENSIONS = 4

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FIRST_READ_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file. `shape` is outermost first; `offset` counts from the start of the file's data."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int
    nbytes: int

    @property
    def kind(self) -> QuantType:
        return by_id(self.type_id)


@dataclass(frozen=True)
class GgufHeader:
    metadata: dict[str, Any]
    tensors: list[TensorInfo]
    data_offset: int
    file_bytes: int

    @property
    def weights(self) -> list[TensorInfo]:
        """The tensors that were trained: all but the constants that a graph with windows asks for."""
        return [tensor for tensor in self.tensors if not tensor.name.endswith(".attn_sinks.weight")]

    @property
    def parameters(self) -> int:
        """How many weights they hold."""
        return sum(math.prod(tensor.shape) for tensor in self.weights)


@dataclass(frozen=True)
class LeadingKeys:
    """What the first bytes of a file tell. `metadata`: the keys that are whole; `lengths`: how many elements each array
    has, also the one that is cut, `tokenizer.ggml.tokens` as a rule."""

    metadata: dict[str, Any]
    lengths: dict[str, int]


def read_header(path: Path, name: str | None = None) -> GgufHeader:
    """The header of a GGUF file: keys as plain Python values, tensors in the file's order.

    GgufError, in one line that says `name`, else the path, if it is no GGUF, is damaged or cut short, or is beyond the
    bounds.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            return _parse(_Cursor(file, os.fstat(file.fileno()).st_size))
    except FileNotFoundError:
        raise GgufError(f"{name} does not exist") from None
    except OSError as error:
        raise GgufError(f"{name} cannot be read: {error.strerror or error}") from error
    except (_BadError, QuantError) as error:
        raise GgufError(f"{name} is no usable GGUF file: {error}") from error


def read_leading_keys(head: bytes, file_bytes: int, name: str) -> LeadingKeys:
    """The keys in `head`, the first bytes of a file of `file_bytes` that is somewhere else.

    They end where `head` does. GgufError, in one line that says `name`, if no header of such a file begins so.
    """
    cursor = _Cursor(io.BytesIO(head), file_bytes)
    metadata: dict[str, Any] = {}
    try:
        _, n_keys = _counts(cursor)
        _read_keys(cursor, n_keys, metadata)
    except _CutError:
        pass
    except _BadError as error:
        raise GgufError(f"{name} is no usable GGUF file: {error}") from error
    return LeadingKeys(metadata, cursor.lengths)


class _BadError(Exception):
    """What is wrong with a header; `read_header` adds the file's name."""


class _CutError(_BadError):
    """What was given of it ends, and might go on."""

    def __init__(self) -> None:
        super().__init__("it is cut short or damaged")


class _Cursor:
    """A place in a header that is read a step at a time, never past the file's end or the bound."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self._file = file
        self._limit = min(file_bytes, _MAX_HEADER_BYTES)
        self._buffer = b""
        self.file_bytes = file_bytes
        self.place = 0
        self.key = ""  # whose value is being read
        self.lengths: dict[str, int] = {}  # of the arrays so far
        self._elements_left = _MAX_ELEMENTS

    def ensure(self, n_bytes: int) -> bytes:
        """The header so far, which holds at least `n_bytes` from `place` on."""
        end = self.place + n_bytes
        if end > len(self._buffer):
            self._fill(end)
        return self._buffer

    def _fill(self, end: int) -> None:
        if end > self._limit:
            cut = end > self.file_bytes
            raise _BadError("it is cut short or damaged" if cut else "its header is too large")
        grown = min(max(end, 2 * len(self._buffer), _FIRST_READ_BYTES), self._limit)
        self._buffer += self._file.read(grown - len(self._buffer))
        if len(self._buffer) < end:
            raise _CutError

    def number(self, letter: str) -> Any:
        size = struct.calcsize("<" + letter)
        value = struct.unpack_from("<" + letter, self.ensure(size), self.place)[0]
        self.place += size
        return value

    def raw(self, n_bytes: int) -> bytes:
        value = self.ensure(n_bytes)[self.place : self.place + n_bytes]
        self.place += n_bytes
        return value

    def name(self, what: str) -> str:
        size = self.number("Q")
        if size > _MAX_NAME_BYTES:
            raise _BadError(f"a {what} is {size} bytes long")
        try:
            return self.raw(size).decode()
        except UnicodeDecodeError:
            raise _BadError(f"a {what} is not UTF-8") from None

    def count_elements(self, count: int) -> None:
        self._elements_left -= count
        if self._elements_left < 0:
            raise _BadError("its header holds too many values")
        self.lengths[self.key] = count


def _counts(cursor: _Cursor) -> tuple[int, int]:
    """How many tensors and keys a header has, by its first bytes."""
    if cursor.file_bytes < len(MAGIC) or cursor.raw(4) != MAGIC:
        raise _BadError("it does not begin with GGUF")
    version = cursor.number("I")
    if version not in (2, 3):
        raise _BadError(f"its version is {version}, and minichat reads 2 and 3")
    n_tensors, n_keys = cursor.number("Q"), cursor.number("Q")
    if n_tensors > _MAX_TENSORS or n_keys > _MAX_KEYS:
        raise _BadError(f"it claims {n_tensors} tensors and {n_keys} keys")
    return n_tensors, n_keys


def _read_keys(cursor: _Cursor, n_keys: int, metadata: dict[str, Any]) -> None:
    """Into `metadata`, which holds those that are whole if this ends too early."""
    for _ in range(n_keys):
        cursor.key = key = cursor.name("key")
        if key in metadata:
            raise _BadError(f"the key {key!r} stands in it twice")
        metadata[key] = _value(cursor, cursor.number("I"))


def _parse(cursor: _Cursor) -> GgufHeader:
    n_tensors, n_keys = _counts(cursor)
    metadata: dict[str, Any] = {}
    _read_keys(cursor, n_keys, metadata)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise _BadError(f"its alignment is {alignment!r}")
    tensors = [_tensor(cursor, alignment) for _ in range(n_tensors)]
    data_offset = padded(cursor.place, alignment)
    _check_places(tensors, cursor.file_bytes - data_offset)
    return GgufHeader(metadata, tensors, data_offset, cursor.file_bytes)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == ARRAY:
        return _array(cursor)
    if kind == STRING:
        return cursor.raw(cursor.number("Q")).decode(errors="replace")
    if kind not in FORMATS:
        raise _BadError(f"a key has the unknown type {kind}")
    return cursor.number(FORMATS[kind])


def _array(cursor: _Cursor) -> list[Any]:
    kind, count = cursor.number("I"), cursor.number("Q")
    cursor.count_elements(count)
    if kind == STRING:
        return _strings(cursor, count)
    if kind not in FORMATS:  # arrays of arrays have no use in a model
        raise _BadError(f"an array has the type {kind}")
    layout = f"<{count}{FORMATS[kind]}"
    size = struct.calcsize(layout)
    values = list(struct.unpack_from(layout, cursor.ensure(size), cursor.place))
    cursor.place += size
    return values


def _strings(cursor: _Cursor, count: int) -> list[str]:
    """Hundreds of thousands of tokens and merges: a tight loop over the buffer, refilled only where it ends."""
    texts = []
    buffer, place = cursor.ensure(0), cursor.place
    length_at = _LENGTH.unpack_from
    for _ in range(count):
        if place + 8 > len(buffer):
            cursor.place = place
            buffer = cursor.ensure(8)
        end = place + 8 + length_at(buffer, place)[0]
        if end > len(buffer):
            cursor.place = place
            buffer = cursor.ensure(end - place)
        texts.append(buffer[place + 8 : end].decode("utf-8", "replace"))
        place = end
    cursor.place = place
    return texts


def _tensor(cursor: _Cursor, alignment: int) -> TensorInfo:
    name = cursor.name("tensor's name")
    n_dimensions = cursor.number("I")
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise _BadError(f"tensor {name!r} has {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))[::-1]
    type_id, offset = cursor.number("I"), cursor.number("Q")
    n_weights = 1
    for size in shape:
        n_weights *= size
    kind = by_id(type_id)
    if n_weights == 0 or shape[-1] % kind.block_weights:
        raise _BadError(f"tensor {name!r} of shape {shape} cannot be of type {kind.name}")
    if offset % alignment:
        raise _BadError(f"tensor {name!r} stands at {offset}, no multiple of {alignment}")
    return TensorInfo(name, shape, type_id, offset, kind.nbytes(n_weights))


def _check_places(tensors: Sequence[TensorInfo], data_bytes: int) -> None:
    names, end = set(), 0
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.name in names:
            raise _BadError(f"tensor {tensor.name!r} stands in it twice")
        if tensor.offset < end:
            raise _BadError(f"tensor {tensor.name!r} overlaps another")
        names.add(tensor.name)
        end = tensor.offset + tensor.nbytes
        if end > data_bytes:
            raise _BadError(f"tensor {tensor.name!r} reaches past its end: it is cut short or damaged")


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment
