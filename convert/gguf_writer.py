"""Writing GGUF files: every byte is given its place first, then the file is written from front to back.

`lay_out` turns keys and the tensors' names, shapes and types into a header of its final size; `Writer` appends the
tensors' bytes behind it. A value that is only known at the end, of a size that is known before, can be put in its place
then (`Layout.with_value`). The format is drawn in `convert.gguf_file`.
"""

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from convert.digest import sha256_of_descriptor
from convert.gguf_file import TensorInfo, padded
from convert.gguf_keys import ARRAY, BOOL, F32, FORMATS, I32, MAGIC, STRING, U32
from quant.types import QuantType

_VERSION = 3


@dataclass(frozen=True)
class Value:
    """A key's value as it is written: GGUF's type number, and for an array that of its elements."""

    kind: int
    value: Any
    element: int | None = None


def u32(value: int) -> Value:
    return Value(U32, value)


def i32(value: int) -> Value:
    return Value(I32, value)


def f32(value: float) -> Value:
    return Value(F32, value)


def boolean(value: bool) -> Value:
    return Value(BOOL, value)


def string(value: str) -> Value:
    return Value(STRING, value)


def strings(values: Sequence[str]) -> Value:
    return Value(ARRAY, values, STRING)


def i32s(values: Sequence[int]) -> Value:
    return Value(ARRAY, values, I32)


def bools(values: Sequence[bool]) -> Value:
    return Value(ARRAY, values, BOOL)


def f32s(values: Sequence[float]) -> Value:
    return Value(ARRAY, values, F32)


@dataclass(frozen=True)
class Layout:
    """A file whose every byte has its place: the header's bytes, where each tensor goes, and the whole size.

    `places`: where in the header each key's value stands.
    """

    header: bytes
    tensors: tuple[TensorInfo, ...]
    file_bytes: int
    places: Mapping[str, int]

    def with_value(self, key: str, value: Value) -> "Layout":
        """The same file with another value, of the same size in bytes as the old one, under `key`."""
        data, place = _written(value), self.places[key]
        return replace(self, header=self.header[:place] + data + self.header[place + len(data) :])


def lay_out(metadata: Mapping[str, Value], tensors: Sequence[tuple[str, Sequence[int], QuantType]]) -> Layout:
    """Give every tensor (name, shape outermost first, type) its place, in the given order, and build the header."""
    infos, offset = [], 0
    for name, shape, kind in tensors:
        n_weights = 1
        for size in shape:
            n_weights *= size
        infos.append(TensorInfo(name, tuple(shape), kind.ggml_id, offset, kind.nbytes(n_weights)))
        offset += padded(infos[-1].nbytes)
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(infos), len(metadata))]
    places, place = {}, sum(map(len, parts))
    for key, value in metadata.items():
        head, data = _text(key) + struct.pack("<I", value.kind), _written(value)
        places[key] = place + len(head)
        place += len(head) + len(data)
        parts += [head, data]
    for info in infos:
        sizes = info.shape[::-1]
        parts += [_text(info.name), struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)]
        parts.append(struct.pack("<IQ", info.type_id, info.offset))
    header = b"".join(parts)
    header += bytes(padded(len(header)) - len(header))
    return Layout(header, tuple(infos), len(header) + offset, places)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _written(value: Value) -> bytes:
    if value.element is None:
        return _text(value.value) if value.kind == STRING else struct.pack("<" + FORMATS[value.kind], value.value)
    count = len(value.value)
    head = struct.pack("<IQ", value.element, count)
    if value.element == STRING:
        return head + b"".join(map(_text, value.value))
    return head + struct.pack(f"<{count}{FORMATS[value.element]}", *value.value)


class Writer:
    """Writes a `Layout` to an open file from its first byte to its last.

    `append` takes the tensors' bytes in the layout's order, in pieces of any size, none reaching over a tensor's end;
    padding is the writer's. With `hashing` it hashes as it goes, which is of use if the header is final. OSError passes
    through.

    `begun`: (bytes, their SHA-256) of an earlier writer of this layout, where an `append` ended; the file has them.
    """

    def __init__(
        self, file: BinaryIO, layout: Layout, hashing: bool = True, begun: "tuple[int, hashlib._Hash] | None" = None
    ) -> None:
        self._file, self._layout = file, layout
        self._hash = hashlib.sha256() if hashing else None
        self._place = 0  # of the tensor being written
        self._done = 0  # bytes of that tensor
        self.written = 0
        self._write(layout.header)
        if begun is not None:
            self._go_on(*begun)

    def _go_on(self, written: int, digest: "hashlib._Hash") -> None:
        """The header stands anew, whatever it was."""
        data_bytes = written - len(self._layout.header)
        while self._place < len(self._layout.tensors) and _end(self._layout.tensors[self._place]) <= data_bytes:
            self._place += 1
        if self._place < len(self._layout.tensors):
            self._done = data_bytes - self._layout.tensors[self._place].offset
        self._hash, self.written = digest.copy(), written
        self._file.seek(written)

    @property
    def tensors(self) -> list[str]:
        """The names of the layout's tensors."""
        return [tensor.name for tensor in self._layout.tensors]

    def append(self, data: memoryview) -> None:
        """The next bytes of the tensor that is being written."""
        tensor = self._layout.tensors[self._place]
        self._done += data.nbytes
        if self._done > tensor.nbytes:
            raise ValueError(f"{tensor.name}: {self._done} bytes where {tensor.nbytes} were planned")
        self._write(data)
        if self._done == tensor.nbytes:
            self._write(bytes(padded(self._done) - self._done))
            self._place, self._done = self._place + 1, 0

    @property
    def written_unpadded(self) -> int:
        """Bytes written, without the tensors' padding."""
        return len(self._layout.header) + sum(t.nbytes for t in self._layout.tensors[: self._place]) + self._done

    @property
    def total_unpadded(self) -> int:
        """The same of the whole file."""
        return len(self._layout.header) + sum(tensor.nbytes for tensor in self._layout.tensors)

    def flush(self) -> str:
        """All that was written is the system's, whatever becomes of this process; its sha256 so far, if hashing."""
        self._file.flush()
        return self._hash.hexdigest() if self._hash is not None else ""

    def finish(self, header: bytes | None = None) -> str:
        """The whole file's sha256, once all is written; `header`, of the same size, replaces the one that was.

        A file with a new header, or one that was not hashed, is read again, while the disk takes what is left of it.
        """
        if self.written != self._layout.file_bytes:
            raise ValueError(f"{self.written} bytes written where {self._layout.file_bytes} were planned")
        if header is not None:
            if len(header) != len(self._layout.header):
                raise ValueError(f"a header of {len(header)} bytes where {len(self._layout.header)} were planned")
            self._file.seek(0)
            self._file.write(header)
            self._file.seek(0, 2)
        elif self._hash is not None:
            return self._hash.hexdigest()
        self._file.flush()
        with ThreadPoolExecutor(1) as pool:
            synced = pool.submit(os.fsync, self._file.fileno())
            digest = sha256_of_descriptor(self._file.fileno())
            synced.result()
        return digest

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        if self._hash is not None:
            self._hash.update(data)
        self.written += len(data) if isinstance(data, bytes) else data.nbytes


def _end(tensor: TensorInfo) -> int:
    """Where a tensor and its padding end, from the start of the data."""
    return tensor.offset + padded(tensor.nbytes)
