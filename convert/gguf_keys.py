"""The first part of a GGUF's header: how many tensors and keys it has, and the keys with their values.

A header may come from anywhere, and end anywhere: it is read a step at a time, never past its end or the bounds, with
errors that say what is wrong with it; `convert.gguf_file`, where the format is drawn, names the file.
"""

import struct
from typing import Any, BinaryIO

MAGIC = b"GGUF"

# Far above any real model (a vocabulary of 262,144 tokens with merges makes 16 MB and 800,000 elements).
_MAX_HEADER_BYTES = 256 << 20
_MAX_ELEMENTS = 8 << 20
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 16
_MAX_NAME_BYTES = 1 << 16

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FIRST_READ_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")


class BadHeaderError(Exception):
    """What is wrong with a header, without the file's name."""


class CutHeaderError(BadHeaderError):
    """What was given of it ends, and might go on."""

    def __init__(self) -> None:
        super().__init__("it is cut short or damaged")


class Cursor:
    """A place in a header that is read a step at a time, never past the file's end or the bound."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self._file = file
        self._limit = min(file_bytes, _MAX_HEADER_BYTES)
        self._buffer = b""
        self.file_bytes = file_bytes
        self.place = 0
        self.key = ""  # whose value is being read
        self.lengths: dict[str, int] = {}  # of the arrays so far
        self.elements: dict[str, int] = {}  # their types, by number
        self.kinds: dict[str, int] = {}  # the types of all values so far
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
            raise BadHeaderError("it is cut short or damaged" if cut else "its header is too large")
        grown = min(max(end, 2 * len(self._buffer), _FIRST_READ_BYTES), self._limit)
        self._buffer += self._file.read(grown - len(self._buffer))
        if len(self._buffer) < end:
            raise CutHeaderError

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
            raise BadHeaderError(f"a {what} is {size} bytes long")
        try:
            return self.raw(size).decode()
        except UnicodeDecodeError:
            raise BadHeaderError(f"a {what} is not UTF-8") from None

    def count_elements(self, count: int) -> None:
        self._elements_left -= count
        if self._elements_left < 0:
            raise BadHeaderError("its header holds too many values")
        self.lengths[self.key] = count


def read_counts(cursor: Cursor) -> tuple[int, int]:
    """How many tensors and keys a header has, by its first bytes."""
    if cursor.file_bytes < len(MAGIC) or cursor.raw(4) != MAGIC:
        raise BadHeaderError("it does not begin with GGUF")
    version = cursor.number("I")
    if version not in (2, 3):
        raise BadHeaderError(f"its version is {version}, and minichat reads 2 and 3")
    n_tensors, n_keys = cursor.number("Q"), cursor.number("Q")
    if n_tensors > _MAX_TENSORS or n_keys > _MAX_KEYS:
        raise BadHeaderError(f"it claims {n_tensors} tensors and {n_keys} keys")
    return n_tensors, n_keys


def read_keys(cursor: Cursor, n_keys: int, metadata: dict[str, Any]) -> None:
    """Into `metadata`, which holds those that are whole if this ends too early."""
    for _ in range(n_keys):
        cursor.key = key = cursor.name("key")
        if key in metadata:
            raise BadHeaderError(f"the key {key!r} stands in it twice")
        cursor.kinds[key] = kind = cursor.number("I")
        metadata[key] = _value(cursor, kind)


def _value(cursor: Cursor, kind: int) -> Any:
    if kind == ARRAY:
        return _array(cursor)
    if kind == STRING:
        return cursor.raw(cursor.number("Q")).decode(errors="replace")
    if kind not in FORMATS:
        raise BadHeaderError(f"a key has the unknown type {kind}")
    return cursor.number(FORMATS[kind])


def _array(cursor: Cursor) -> list[Any]:
    kind, count = cursor.number("I"), cursor.number("Q")
    cursor.count_elements(count)
    cursor.elements[cursor.key] = kind
    if kind == STRING:
        return _strings(cursor, count)
    if kind not in FORMATS:  # arrays of arrays have no use in a model
        raise BadHeaderError(f"an array has the type {kind}")
    layout = f"<{count}{FORMATS[kind]}"
    size = struct.calcsize(layout)
    values = list(struct.unpack_from(layout, cursor.ensure(size), cursor.place))
    cursor.place += size
    return values


def _strings(cursor: Cursor, count: int) -> list[str]:
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
