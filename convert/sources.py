"""The files that a conversion reads, in the order of their bytes, and their hashes.

Weights are read from front to back, each file once: a disk, or a server, gives them quickest so, and their sha256 falls
off on the way. Where the hub has told a file's sha256 (`convert.provenance`), a file that is another one is refused.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from convert.checkpoint import Checkpoint
from convert.digest import sha256_of
from convert.tensors import PlannedTensor
from quant.errors import CheckpointError

_SKIP_BYTES = 4 << 20
_DESCRIPTIONS = (
    "config.json",
    "params.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "consolidated.safetensors.index.json",
)
_UNKNOWN = "0" * 64


@dataclass(frozen=True)
class Piece:
    """Bytes to read. `tensor`: what they are rows of, from `first_row` on; None for what is read for its hash alone."""

    path: Path
    offset: int
    nbytes: int
    tensor: PlannedTensor | None = None
    first_row: int = 0


def in_file_order(tensors: Iterable[PlannedTensor], weights: tuple[Path, ...]) -> list[PlannedTensor]:
    """Tensors as their bytes follow each other."""
    place = {path: n for n, path in enumerate(weights)}
    return sorted(tensors, key=lambda tensor: (place[tensor.source.path], tensor.source.offset))


def pieces(tensors: Iterable[PlannedTensor], weights: tuple[Path, ...], chunk_weights: int) -> Iterator[Piece]:
    """All bytes of the files of weights, once and in order. `tensors` are in the order of the files.

    A tensor comes in pieces of about `chunk_weights` weights: whole rows, and whole heads of Q and K.
    """
    of_file: dict[Path, list[PlannedTensor]] = {path: [] for path in weights}
    for tensor in tensors:
        of_file[tensor.source.path].append(tensor)
    for path, here in of_file.items():
        place = 0
        for tensor in here:
            yield from _skipped(path, place, tensor.source.offset)
            yield from _rows(tensor, chunk_weights)
            place = tensor.source.offset + tensor.source.nbytes
        yield from _skipped(path, place, path.stat().st_size)


def _skipped(path: Path, begin: int, end: int) -> Iterator[Piece]:
    for offset in range(begin, end, _SKIP_BYTES):
        yield Piece(path, offset, min(_SKIP_BYTES, end - offset))


def _rows(tensor: PlannedTensor, chunk_weights: int) -> Iterator[Piece]:
    n_rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    row_bytes, unit = tensor.source.nbytes // n_rows, tensor.head_rows or 1
    step = max(1, chunk_weights // (tensor.shape[-1] * unit)) * unit
    for first in range(0, n_rows, step):
        count = min(step, n_rows - first)
        yield Piece(tensor.source.path, tensor.source.offset + first * row_bytes, count * row_bytes, tensor, first)


class SourceHashes:
    """The sha256 of every file of a checkpoint that says anything: small ones at once, weights as they pass."""

    def __init__(self, checkpoint: Checkpoint, told: Mapping[str, str]) -> None:
        self._told = told
        self._weights = {path: hashlib.sha256() for path in checkpoint.weights}
        names = [name for name in _DESCRIPTIONS if (checkpoint.folder / name).is_file()]
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
        return self._small | {path.name: self._told.get(path.name, _UNKNOWN) for path in self._weights}

    @property
    def are_known(self) -> bool:
        """Whether the hub has told the hashes of all weights."""
        return all(path.name in self._told for path in self._weights)

    def update(self, piece: tuple[Path, bytes]) -> None:
        """The next bytes of a file of weights."""
        path, data = piece
        self._weights[path].update(data)

    def finish(self) -> dict[str, str]:
        """All hashes, once all weights have passed. CheckpointError for a file that is not what the hub told."""
        found = {path.name: digest.hexdigest() for path, digest in self._weights.items()}
        for path in self._weights:
            self._compare(path, found[path.name])
        return self._small | found

    def _compare(self, path: Path, found: str) -> None:
        if self._told.get(path.name, found) != found:
            raise CheckpointError(f"{path} is not the file that the hub has (its sha256 differs): fetch it again")
