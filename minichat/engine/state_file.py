r"""A file with the state of a KV cache: what stands in it, and whether all of it is sound. Standard library only.

    llama.cpp's own file           magic, version, number of ids, ids; then for each cache of the model (one, or one for
                                   the full and one for the sliding layers): streams, cells, a position for each cell,
                                   and for each layer the type and size of a row and the rows, keys before values
    facts                          one JSON object: what the state belongs to, and how long it took to compute
    crc32 of all before, length of the facts, b"minichat-state-1"

llama.cpp's reader trusts its file and aborts on some that are damaged. So nothing reaches it that `check` has not read:
every count is bounded by the file, the positions are those of the ids, and no byte is left over. Integers are those of
the machine: a file from another kind of machine is none.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

_END = struct.Struct("=II16s")  # crc32, length of the facts, _MAGIC
_MAGIC = b"minichat-state-1"
_HEAD = struct.Struct("=III")  # llama.cpp's magic, its version, number of ids
_LLAMA_MAGIC = 0x67677371  # "ggsq"
_CELL_INTS = 3  # position, number of sequences, the sequence
_MAX_FACTS_BYTES = 4096
_MAX_IDS = 1 << 24
_MAX_LAYERS = 1024
_MAX_ROW_BYTES = 1 << 24
_BLOCK_BYTES = 4 << 20
_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))


class DamagedStateError(Exception):
    """The file is not one that was written whole, or not one of these."""


@dataclass(frozen=True)
class Facts:
    """key: what the state belongs to. prefill_tokens_per_s: how quickly its ids were decoded."""

    key: str
    prefill_tokens_per_s: float


@dataclass(frozen=True)
class Head:
    """What a file holds, as far as is known without reading the rows: `check_sum` does that.

    ids: the tokens, in order. kept_from: the first position that all layers have. bytes: of the whole file.
    """

    facts: Facts
    ids: list[int]
    kept_from: int
    bytes: int


def seal(path: Path, facts: Facts) -> None:
    """Makes what llama.cpp has written a file of ours. OSError passes; DamagedStateError if it is not as expected."""
    text = json.dumps(asdict(facts)).encode()
    with path.open("r+b") as file:
        _check_llama_part(file, file.seek(0, os.SEEK_END))
        crc = 0
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
        file.write(text + _END.pack(zlib.crc32(text, crc), len(text), _MAGIC))


def open_state(path: Path) -> BinaryIO:
    """A plain file, to read. OSError passes, also for a link, a folder or a device."""
    handle = os.open(path, os.O_RDONLY | _FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no plain file")
    return os.fdopen(handle, "rb")


def read_head(file: BinaryIO, key: str) -> Head:
    """Everything but the rows, checked. Raises DamagedStateError, also for the state of something else than `key`."""
    size = file.seek(0, os.SEEK_END)
    _check(size > _END.size)
    file.seek(size - _END.size)
    _, length, magic = _END.unpack(file.read(_END.size))
    end = size - _END.size - length
    _check(magic == _MAGIC and 0 < length <= _MAX_FACTS_BYTES and end > 0)
    file.seek(end)
    facts = _facts(file.read(length))
    _check(facts.key == key)
    ids, kept_from = _check_llama_part(file, end)
    return Head(facts, ids, kept_from, size)


def check_sum(file: BinaryIO, head: Head, goes_on: Callable[[int], bool]) -> bool:
    """Reads the whole file once; whether its sum is right. `goes_on` gets the bytes read so far; False gives up."""
    file.seek(0)
    crc, done, end = 0, 0, head.bytes - _END.size
    while done < end:
        block = file.read(min(_BLOCK_BYTES, end - done))
        done += len(block)
        if not block or not goes_on(done):
            return False
        crc = zlib.crc32(block, crc)
    return bool(_END.unpack(file.read(_END.size))[0] == crc)


def _facts(raw: bytes) -> Facts:
    try:
        values = json.loads(raw)
        facts = Facts(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedStateError from error
    _check(isinstance(facts.key, str) and type(facts.prefill_tokens_per_s) is float)
    _check(0 < facts.prefill_tokens_per_s < float("inf"))
    return facts


def _check_llama_part(file: BinaryIO, end: int) -> tuple[list[int], int]:
    """The ids, and the first position that all layers have."""
    file.seek(0)
    magic, _, count = _HEAD.unpack(_take(file, _HEAD.size, end))
    _check(magic == _LLAMA_MAGIC and 0 < count <= _MAX_IDS)
    ids = _integers(file, count, end).tolist()  # negative ones are rows of pictures
    kept_from = 0
    while file.tell() < end:
        kept_from = max(kept_from, _check_cache(file, count, end))
    _check(file.tell() == end)
    return ids, kept_from


def _check_cache(file: BinaryIO, n_ids: int, end: int) -> int:
    """One cache's cells and rows; its first position."""
    streams, cells = struct.unpack("=II", _take(file, 8, end))
    _check(streams == 1 and 0 < cells <= n_ids)
    fields = _integers(file, _CELL_INTS * cells, end)
    first: int = n_ids - cells
    _check(sorted(fields[0::_CELL_INTS]) == list(range(first, n_ids)))
    _check(set(fields[1::_CELL_INTS]) == {1} and set(fields[2::_CELL_INTS]) == {0})
    transposed, layers = struct.unpack("=II", _take(file, 8, end))
    _check(transposed in (0, 1) and layers <= _MAX_LAYERS)
    for _ in range(layers):
        _skip_rows(file, cells, end)
    for _ in range(layers):
        (_skip_columns if transposed else _skip_rows)(file, cells, end)
    return first


def _skip_rows(file: BinaryIO, cells: int, end: int) -> None:
    """A layer's keys or values: a row for each cell."""
    _, row_bytes = struct.unpack("=iQ", _take(file, 12, end))
    _check(0 < row_bytes <= _MAX_ROW_BYTES and row_bytes * cells <= end - file.tell())
    file.seek(row_bytes * cells, os.SEEK_CUR)


def _skip_columns(file: BinaryIO, cells: int, end: int) -> None:
    """A layer's values where they are kept transposed: for each of its dimensions a value for each cell."""
    _, value_bytes, dimensions = struct.unpack("=iII", _take(file, 12, end))
    size = value_bytes * dimensions * cells
    _check(0 < value_bytes * dimensions <= _MAX_ROW_BYTES and size <= end - file.tell())
    file.seek(size, os.SEEK_CUR)


def _integers(file: BinaryIO, count: int, end: int) -> array[int]:
    numbers = array("i")
    numbers.frombytes(_take(file, count * numbers.itemsize, end))
    return numbers


def _take(file: BinaryIO, size: int, end: int) -> bytes:
    _check(size <= end - file.tell())
    data = file.read(size)
    _check(len(data) == size)
    return data


def _check(is_sound: bool) -> None:
    if not is_sound:
        raise DamagedStateError
