"""The header of a safetensors file, checked before anything is believed.

    length u64 | header: JSON, `length` bytes | data
    header: {name: {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, "__metadata__": {...}}

Offsets count from the start of the data, and the tensors fill it without gaps. Weights are not read here.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from convert.files import WeightFiles
from quant.errors import CheckpointError

_MAX_HEADER_BYTES = 16 << 20  # a hundred times that of the largest models; the format itself allows 100 MB
_MAX_NAME = 200  # letters; far above any tensor's name
_DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class SourceTensor:
    """One tensor of a checkpoint: where its bytes lie. `offset` counts from the start of the file at `path`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int


def read_header(path: Path, files: WeightFiles) -> list[SourceTensor]:
    """The tensors of a safetensors file, in the order of their bytes. CheckpointError if the file is not sound.

    Names are short and printable: errors may show them.
    """
    file_bytes = files.size(path)
    length = int.from_bytes(files.read(path, 0, 8), "little") if file_bytes >= 8 else file_bytes
    if length > file_bytes - 8:
        raise CheckpointError(f"{path} is cut short or is no safetensors file: fetch it again")
    if length > _MAX_HEADER_BYTES:
        raise CheckpointError(f"{path} has a header of {length} bytes: it is damaged; fetch it again")
    text = files.read(path, 8, length)
    tensors = [_tensor(path, 8 + length, name, entry) for name, entry in _entries(path, text)]
    tensors.sort(key=lambda t: (t.offset, t.nbytes))
    end = 8 + length
    for tensor in tensors:
        if tensor.offset + tensor.nbytes > file_bytes:
            raise CheckpointError(f"{path} is cut short: {tensor.name} reaches past its end; fetch it again")
        if tensor.offset != end:
            raise CheckpointError(f"{path} is damaged: {tensor.name} does not begin where the tensor before it ends")
        end += tensor.nbytes
    if end != file_bytes:
        raise CheckpointError(f"{path} is damaged: {file_bytes - end} bytes at its end belong to no tensor")
    return tensors


def is_tensor_name(name: str) -> bool:
    """Whether an error may show this name: it is printable, and not long."""
    return name.isprintable() and 0 < len(name) <= _MAX_NAME


def _entries(path: Path, text: bytes) -> list[tuple[str, Any]]:
    try:
        # Pairs, not a dictionary: JSON keeps the last of two equal names in silence.
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no safetensors file: its header is not JSON") from error
    if not isinstance(pairs, _Pairs):
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON object")
    names = [name for name, _ in pairs]
    if odd := [name for name in names if not is_tensor_name(name)]:
        raise CheckpointError(f"{path} is damaged: {odd[0][:40]!r} is no tensor's name")
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise CheckpointError(f"{path} is damaged: {twice} stands in it twice")
    return [(name, entry) for name, entry in pairs if name != "__metadata__"]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, in order."""


def _tensor(path: Path, data_offset: int, name: str, entry: Any) -> SourceTensor:
    fields = dict(entry) if isinstance(entry, _Pairs) else {}
    dtype, shape, place = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPE_BYTES or not _are_sizes(shape) or not _are_sizes(place):
        raise CheckpointError(f"{path} is damaged: the entry of {name} in its header makes no sense")
    nbytes = math.prod(shape) * _DTYPE_BYTES[dtype]
    if len(place) != 2 or place[1] - place[0] != nbytes:
        raise CheckpointError(f"{path} is damaged: {name} of shape {shape} and type {dtype} has the bytes {place}")
    return SourceTensor(name, dtype, tuple(shape), path, data_offset + place[0], nbytes)


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    """Whether this is a short list of sensible whole numbers."""
    return (
        isinstance(value, list)
        and len(value) <= 8
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 48 for n in value)
    )
