"""The files that a conversion reads, in the order of their bytes, and their hashes.

Weights are read from front to back, each file once: a disk, or a server, gives them quickest so, and their sha256 falls
off on the way. Where the hub has told a file's sha256 (`convert.provenance`), a file that is another one is refused.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert.checkpoint import DESCRIPTIONS, Checkpoint
from convert.digest import sha256_of
from convert.sha256 import PlainSha256, resumable_sha256
from convert.tensors import PlannedTensor
from quant.errors import CheckpointError

_SKIP_BYTES = 4 << 20
_UNKNOWN = "0" * 64


@dataclass(frozen=True)
class Piece:
    """Bytes to read. `tensor`: what they are rows of, from `first_row` on; None for what is read for its hash alone.

    `inner`: a tensor that is made from a part of these bytes, besides.
    """

    path: Path
    offset: int
    nbytes: int
    tensor: PlannedTensor | None = None
    first_row: int = 0
    inner: PlannedTensor | None = None

    def of_inner(self, data: bytes) -> bytes:
        """The inner tensor's part of the piece's bytes."""
        if self.inner is None:
            return b""
        begin = self.inner.source.offset - self.offset
        return data[begin : begin + self.inner.source.nbytes]


def in_file_order(tensors: Iterable[PlannedTensor], weights: Iterable[Path]) -> list[PlannedTensor]:
    """Tensors as their bytes follow each other, one that is a part of another behind it."""
    place = {path: n for n, path in enumerate(weights)}
    return sorted(tensors, key=lambda t: (place[t.source.path], t.source.offset, -t.source.nbytes))


def pieces(
    tensors: Iterable[PlannedTensor], weights: Mapping[Path, int], chunk_weights: int, begin: tuple[int, int] = (0, 0)
) -> Iterator[Piece]:
    """All bytes of the files of weights (file -> size), once and in order. `tensors` are in the order of the files.

    A tensor comes in pieces of about `chunk_weights` weights: whole rows, and whole heads of Q and K; one that is a row
    of another comes with this row's piece. `begin`: (number of the file, offset in it) where a piece ended, to begin
    with the one that follows.
    """
    of_file: dict[Path, list[PlannedTensor]] = {path: [] for path in weights}
    for tensor in tensors:
        of_file[tensor.source.path].append(tensor)
    for number, (path, here) in enumerate(of_file.items()):
        if number < begin[0]:
            continue
        first = begin[1] if number == begin[0] else 0
        place = first
        for tensor, inner in _nested(here):
            yield from _skipped(path, place, tensor.source.offset)
            for piece in _rows(tensor, chunk_weights, first):
                yield replace(piece, inner=inner) if inner is not None and _holds(piece, inner) else piece
            place = max(place, tensor.source.offset + tensor.source.nbytes)
        yield from _skipped(path, place, weights[path])


def _nested(tensors: Sequence[PlannedTensor]) -> list[tuple[PlannedTensor, PlannedTensor | None]]:
    """Tensors of one file in order, each with the one that is a part of it, if there is one."""
    found: list[tuple[PlannedTensor, PlannedTensor | None]] = []
    for tensor in tensors:
        if found and tensor.source.offset < found[-1][0].source.offset + found[-1][0].source.nbytes:
            found[-1] = (found[-1][0], tensor)
        else:
            found.append((tensor, None))
    return found


def _holds(piece: Piece, inner: PlannedTensor) -> bool:
    return piece.offset <= inner.source.offset < piece.offset + piece.nbytes


def _skipped(path: Path, begin: int, end: int) -> Iterator[Piece]:
    for offset in range(begin, end, _SKIP_BYTES):
        yield Piece(path, offset, min(_SKIP_BYTES, end - offset))


def _rows(tensor: PlannedTensor, chunk_weights: int, begin: int) -> Iterator[Piece]:
    """The rows that do not stand before the offset `begin`, where a row begins if it is in this tensor."""
    n_rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    row_bytes, unit = tensor.source.nbytes // n_rows, tensor.head_rows or 1
    row_weights = math.prod(tensor.shape) // n_rows
    step = max(1, chunk_weights // (row_weights * unit)) * unit
    done = max(0, begin - tensor.source.offset) // row_bytes
    for first in range(done, n_rows, step):
        count = min(step, n_rows - first)
        yield Piece(tensor.source.path, tensor.source.offset + first * row_bytes, count * row_bytes, tensor, first)


class SourceMismatch(CheckpointError):  # noqa: N818  (what is the matter, not that something is)
    """A file that is not what the hub told; `path` names it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not the file that the hub has (its sha256 differs): fetch it again")
        self.path = path


class SourceHashes:
    """The sha256 of every file of a checkpoint that says anything: small ones at once, weights as they pass.

    Files of weights pass in their order, each from front to back. With `resumable` a hash can be taken up again
    half-way (`convert.sha256`). SourceMismatch as soon as a file is known not to be what the hub `told`.
    """

    def __init__(self, checkpoint: Checkpoint, told: Mapping[str, str], resumable: bool = False) -> None:
        self._told, self._sizes = told, checkpoint.weights
        self._paths = list(checkpoint.weights)
        self._new_hash = resumable_sha256 if resumable else PlainSha256
        self._found: list[str] = []  # of the files of weights that have passed
        self._hash, self._offset = self._new_hash(), 0  # of the one that is passing
        names = [name for name in DESCRIPTIONS if (checkpoint.folder / name).is_file()]
        self._small: dict[str, str] = {}
        for path in [*(checkpoint.folder / name for name in names), checkpoint.tokenizer]:
            try:
                self._small[path.name] = sha256_of(path)
            except OSError as error:
                raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
            self._compare(path, self._small[path.name])

    @property
    def expected(self) -> dict[str, str]:
        """What is known before the weights are read, by file name; zeros where it is not."""
        return self._small | {path.name: self._told.get(path.name, _UNKNOWN) for path in self._paths}

    @property
    def are_known(self) -> bool:
        """Whether the hub has told the hashes of all weights."""
        return all(path.name in self._told for path in self._paths)

    @property
    def place(self) -> tuple[int, int]:
        """How far the weights have passed: (number of the file, offset in it)."""
        return len(self._found), self._offset

    @property
    def found(self) -> Sequence[str]:
        """The sha256 of the files of weights that have passed whole."""
        return self._found

    def state(self) -> bytes | None:
        """Of the hash of the file that is passing; None if it cannot be taken up there."""
        return self._hash.state() if self._offset else b""

    def go_on(self, found: Sequence[str], offset: int, state: bytes) -> None:
        """Take up where the weights had passed that far."""
        self._found, self._offset = list(found), offset
        self._hash = self._new_hash()
        if offset:
            self._hash.set_state(state, offset)

    def update(self, piece: tuple[Path, bytes]) -> None:
        """The next bytes of a file of weights."""
        path, data = piece
        self._hash.update(data)
        self._offset += len(data)
        if self._offset == self._sizes[path]:
            digest = self._hash.hexdigest()
            self._compare(path, digest)
            self._found.append(digest)
            self._hash, self._offset = self._new_hash(), 0

    def finish(self) -> dict[str, str]:
        """All hashes, once all weights have passed."""
        return self._small | {path.name: digest for path, digest in zip(self._paths, self._found, strict=True)}

    def _compare(self, path: Path, found: str) -> None:
        if self._told.get(path.name, found) != found:
            raise SourceMismatch(path)
