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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.gguf_keys import BadHeaderError, Cursor, CutHeaderError, read_counts, read_keys
from quant.errors import GgufError, QuantError
from quant.types import QuantType, by_id

ALIGNMENT = 32
_MAX_DIMENSIONS = 4


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
    """`kinds`: the number of each key's type. `elements`: of the keys that are arrays, that of their elements'."""

    metadata: dict[str, Any]
    tensors: list[TensorInfo]
    data_offset: int
    file_bytes: int
    elements: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

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
            return _parse(Cursor(file, os.fstat(file.fileno()).st_size))
    except FileNotFoundError:
        raise GgufError(f"{name} does not exist") from None
    except OSError as error:
        raise GgufError(f"{name} cannot be read: {error.strerror or error}") from error
    except (BadHeaderError, QuantError) as error:
        raise GgufError(f"{name} is no usable GGUF file: {error}") from error


def read_leading_keys(head: bytes, file_bytes: int, name: str) -> LeadingKeys:
    """The keys in `head`, the first bytes of a file of `file_bytes` that is somewhere else.

    They end where `head` does. GgufError, in one line that says `name`, if no header of such a file begins so.
    """
    cursor = Cursor(io.BytesIO(head), file_bytes)
    metadata: dict[str, Any] = {}
    try:
        _, n_keys = read_counts(cursor)
        read_keys(cursor, n_keys, metadata)
    except CutHeaderError:
        pass
    except BadHeaderError as error:
        raise GgufError(f"{name} is no usable GGUF file: {error}") from error
    return LeadingKeys(metadata, cursor.lengths)


def _parse(cursor: Cursor) -> GgufHeader:
    n_tensors, n_keys = read_counts(cursor)
    metadata: dict[str, Any] = {}
    read_keys(cursor, n_keys, metadata)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise BadHeaderError(f"its alignment is {alignment!r:.60}")
    tensors = [_tensor(cursor, alignment) for _ in range(n_tensors)]
    data_offset = padded(cursor.place, alignment)
    _check_places(tensors, cursor.file_bytes - data_offset)
    return GgufHeader(metadata, tensors, data_offset, cursor.file_bytes, cursor.elements, cursor.kinds)


def _tensor(cursor: Cursor, alignment: int) -> TensorInfo:
    name = cursor.name("tensor's name")
    n_dimensions = cursor.number("I")
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise BadHeaderError(f"tensor {name!r} has {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))[::-1]
    type_id, offset = cursor.number("I"), cursor.number("Q")
    n_weights = 1
    for size in shape:
        n_weights *= size
    kind = by_id(type_id)
    if n_weights == 0 or shape[-1] % kind.block_weights:
        raise BadHeaderError(f"tensor {name!r} of shape {shape} cannot be of type {kind.name}")
    if offset % alignment:
        raise BadHeaderError(f"tensor {name!r} stands at {offset}, no multiple of {alignment}")
    return TensorInfo(name, shape, type_id, offset, kind.nbytes(n_weights))


def _check_places(tensors: Sequence[TensorInfo], data_bytes: int) -> None:
    names, end = set(), 0
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.name in names:
            raise BadHeaderError(f"tensor {tensor.name!r} stands in it twice")
        if tensor.offset < end:
            raise BadHeaderError(f"tensor {tensor.name!r} overlaps another")
        names.add(tensor.name)
        end = tensor.offset + tensor.nbytes
        if end > data_bytes:
            raise BadHeaderError(f"tensor {tensor.name!r} reaches past its end: it is cut short or damaged")


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment
