"""A SHA-256 that can be taken up half-way, in another process: hashlib's cannot.

The system's own routines can, for their state is a plain structure of C that the caller owns: OpenSSL's, found where
Python's own hashlib finds them, and CommonCrypto's on macOS. Both hold what FIPS 180-4 describes, in another order:

                      state, 8 u32    length in bits, u64    bytes of the block under way    their number
    SHA256_CTX        at 0            at 32                  at 40 (64 bytes)                at 104 u32
    CC_SHA256_CTX     at 8            at 0                   at 40 (64 bytes)                at 104 u32, or the length's

Releases of CommonCrypto differ in whether the length counts the block under way. Nothing is believed of a library: it
has to hash a test vector as hashlib does, taken up at several places. Where none passes, there is hashlib, and a hash
cannot be taken up.
"""

import contextlib
import ctypes
import ctypes.util
import functools
import hashlib
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

_BLOCK_BYTES = 64
_CONTEXT_BYTES = 256  # more than any library's structure
_WORDS = struct.Struct(">8I")
_NATIVE_WORDS = struct.Struct("=8I")
_TAIL_AT = 40
_VECTOR = bytes(range(251)) * 5


class Hash(Protocol):
    """A SHA-256 on its way."""

    def update(self, data: bytes) -> None: ...

    def hexdigest(self) -> str:
        """64 hex digits. Nothing may be added afterwards."""
        ...

    def state(self) -> bytes | None:
        """What is needed to go on, besides the number of bytes so far: 32 to 95 bytes. None if that is impossible."""
        ...

    def set_state(self, state: bytes, n_bytes: int) -> None:
        """Go on after `n_bytes` bytes. ValueError for what is no state after so many, or if that is impossible."""
        ...


class PlainSha256:
    """hashlib's, which cannot be taken up."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.update, self.hexdigest = self._hash.update, self._hash.hexdigest

    def state(self) -> None:
        return None

    def set_state(self, state: bytes, n_bytes: int) -> None:  # noqa: ARG002
        raise ValueError("hashlib takes up no hash")


def resumable_sha256() -> Hash:
    """A new SHA-256 that can be taken up, if this machine has one."""
    library = _library()
    return PlainSha256() if library is None else _Sha256(library)


@dataclass(frozen=True)
class _Layout:
    """Where in a library's structure the state, the length and the number of bytes in the block under way stand."""

    words_at: int
    length_at: int
    count_at: int | None
    counts_whole_blocks: bool = False  # the length does


_OPENSSL = _Layout(0, 32, 104)
_APPLE = (_Layout(8, 0, None), _Layout(8, 0, 104), _Layout(8, 0, 104, counts_whole_blocks=True))


@dataclass(frozen=True)
class _Library:
    """The three functions of a library, and the structure that they work on."""

    init: Callable[..., Any]
    update: Callable[..., Any]
    final: Callable[..., Any]
    layout: _Layout


class _Sha256:
    def __init__(self, library: _Library) -> None:
        self._library = library
        self._context = ctypes.create_string_buffer(_CONTEXT_BYTES)
        self._n_bytes = 0
        library.init(self._context)

    def update(self, data: bytes) -> None:
        self._library.update(self._context, data, len(data))
        self._n_bytes += len(data)

    def hexdigest(self) -> str:
        digest = ctypes.create_string_buffer(32)
        self._library.final(digest, self._context)
        return digest.raw.hex()

    def state(self) -> bytes:
        raw = self._context.raw
        words = _NATIVE_WORDS.unpack_from(raw, self._library.layout.words_at)
        return _WORDS.pack(*words) + raw[_TAIL_AT : _TAIL_AT + self._n_bytes % _BLOCK_BYTES]

    def set_state(self, state: bytes, n_bytes: int) -> None:
        layout, count = self._library.layout, n_bytes % _BLOCK_BYTES
        if len(state) != _WORDS.size + count:
            raise ValueError("this is no state of a hash of so many bytes")
        self._library.init(self._context)
        _NATIVE_WORDS.pack_into(self._context, layout.words_at, *_WORDS.unpack_from(state))
        length = 8 * (n_bytes - count if layout.counts_whole_blocks else n_bytes)
        # The lower word first: in OpenSSL's on any machine; Apple's are little-endian.
        struct.pack_into("=2I", self._context, layout.length_at, length & 0xFFFFFFFF, length >> 32)
        if layout.count_at is not None:
            struct.pack_into("=I", self._context, layout.count_at, count)
        struct.pack_into(f"{count}s", self._context, _TAIL_AT, state[_WORDS.size :])
        self._n_bytes = n_bytes


@functools.cache
def _library() -> _Library | None:
    """The first library that hashes right."""
    return next((library for library in _libraries() if _is_right(library)), None)


def _libraries() -> Iterator[_Library]:
    if sys.platform == "darwin":  # which kills a process that loads its libcrypto
        for layout in _APPLE:
            yield from _loaded(None, "CC_SHA256_", layout, ctypes.c_uint32)
        return
    with contextlib.suppress(ImportError):
        import _hashlib

        if path := getattr(_hashlib, "__file__", None):
            yield from _loaded(path, "SHA256_", _OPENSSL, ctypes.c_size_t)
    if path := ctypes.util.find_library("crypto"):
        yield from _loaded(path, "SHA256_", _OPENSSL, ctypes.c_size_t)


def _loaded(path: str | None, prefix: str, layout: _Layout, of_length: type[Any]) -> Iterator[_Library]:
    """The library at `path` (None: what the process has loaded already), if it has the functions."""
    try:
        library = ctypes.CDLL(path)
        init, update, final = (getattr(library, prefix + name) for name in ("Init", "Update", "Final"))
    except (OSError, AttributeError):
        return
    init.argtypes = [ctypes.c_char_p]
    update.argtypes = [ctypes.c_char_p, ctypes.c_char_p, of_length]
    final.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    yield _Library(init, update, final, layout)


def _is_right(library: _Library) -> bool:
    """Whether it hashes the test vector as hashlib does, taken up in a new structure at several places."""
    expected = hashlib.sha256(_VECTOR).hexdigest()
    for place in (0, 1, 63, 64, 65, 640, 1000, len(_VECTOR)):
        first, second = _Sha256(library), _Sha256(library)
        first.update(_VECTOR[:place])
        second.set_state(first.state(), place)
        second.update(_VECTOR[place:])
        if second.hexdigest() != expected:
            return False
    return True
