"""The weights of a checkpoint on their way to the files: who reads, who works, who writes.

    this thread reads --> a pool makes numbers of the bytes, and blocks of the numbers --> a thread writes
           \\--> a thread hashes what was read

Pieces are read, made and written in the order in which they lie in the source. Memory is bounded by those in flight,
whatever the size of the largest tensor.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convert.background import Background
from convert.checkpoint import Checkpoint
from convert.files import WeightFiles
from convert.outputs import Outputs
from convert.recorder import IN_FLIGHT_BYTES, Recorder
from convert.report import Progress
from convert.resume import Begun
from convert.sources import Piece, SourceHashes, SourceMismatch, pieces
from convert.tensors import ConstantTensor, PlannedTensor
from quant.errors import QuantError

if TYPE_CHECKING:
    from convert.blocks import Made, Maker

_MEMORY_BYTES = 64 << 20
_CHUNK_WEIGHTS = 1 << 20
_BYTES_PER_WEIGHT = 12  # at worst: float32 as read, made and written
_USUAL_BYTES = 2  # of a weight in a checkpoint
_QUEUED = 4  # chunks that wait for the writer, and for the hasher

Sums = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class _Step:
    """What follows in the output: what a job makes of a piece, or of a constant; nothing of a piece without a job."""

    tensor: PlannedTensor | ConstantTensor | None
    job: "Future[Made] | None"
    piece: Piece | None
    data: bytes = b""  # of the piece


class Stream:
    """One conversion's way of the weights. `recorder`, `begun`: of one that can be interrupted (`convert.resume`)."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tensors: Sequence[PlannedTensor | ConstantTensor],
        maker: "Maker",
        outputs: Outputs,
        hashes: SourceHashes,
        on_progress: Callable[[Progress], None] | None = None,
        recorder: Recorder | None = None,
        begun: Begun | None = None,
    ) -> None:
        self._files, self._sizes = checkpoint.files, checkpoint.weights
        self._tensors, self._maker, self._outputs, self._hashes = tensors, maker, outputs, hashes
        self._on_progress, self._recorder = on_progress, recorder
        self._begin = begun.mark.at if begun else None
        self._sums: Sums = dict(begun.sums) if begun else {}
        self._steps: deque[_Step] = deque()
        self._done_bytes = outputs.written_unpadded
        self._read_bytes = sum(list(self._sizes.values())[: self._begin[0]]) + self._begin[1] if self._begin else 0
        self._writing = Background(self._write, _QUEUED, "write")
        self._hashing = Background(self._hash, _QUEUED, "hash")

    def run(self, threads: int) -> Sums:
        """All weights, through. The squared error and the squared size of each tensor, if they are measured."""
        ahead = 2 * threads + 2
        chunk_weights = min(_CHUNK_WEIGHTS, _MEMORY_BYTES // (ahead * _BYTES_PER_WEIGHT))
        if self._recorder is not None:
            chunk_weights = min(chunk_weights, IN_FLIGHT_BYTES // (ahead * _USUAL_BYTES))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="quantize")
        try:
            with self._writing, self._hashing:
                for step in self._begun(pool, chunk_weights):
                    self._steps.append(step)
                    self._drain(ahead - 1)
                self._drain(0)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return self._sums

    def _begun(self, pool: ThreadPoolExecutor, chunk_weights: int) -> Iterator[_Step]:
        """All steps in the order of the file, each as soon as its job is given to the pool. What is read is hashed."""
        for tensor in self._tensors:
            if isinstance(tensor, ConstantTensor) and self._begin is None:
                yield _Step(tensor, pool.submit(self._maker.constant, tensor), None)
        planned = (tensor for tensor in self._tensors if isinstance(tensor, PlannedTensor))
        at = self._begin or (0, 0)
        sizes = list(self._sizes.items())[at[0] :]
        self._files.announce([(path, 0 if n else at[1], size) for n, (path, size) in enumerate(sizes)])
        for piece in pieces(planned, self._sizes, chunk_weights, at):
            data, job = self._read(piece), None
            self._hashing.put((piece.path, data))
            if piece.tensor is not None:
                if piece.inner is not None:  # before its piece, whose mark then stands for both
                    yield _Step(
                        piece.inner, pool.submit(self._maker.make, piece.inner, 0, piece.of_inner(data), None), None
                    )
                scales = _scales(piece, self._files)
                job = pool.submit(self._maker.make, piece.tensor, piece.first_row, data, scales)
            yield _Step(piece.tensor, job, piece, data)

    def _read(self, piece: Piece) -> bytes:
        """The piece, as soon as no more is on its way than may be read again after an interruption."""
        recorder = self._recorder
        if recorder is None:
            data = self._files.read(piece.path, piece.offset, piece.nbytes)
        else:
            while recorder.in_flight and recorder.in_flight + piece.nbytes > IN_FLIGHT_BYTES:
                if self._steps:
                    self._drain(len(self._steps) - 1)
                else:
                    self._writing.settle()
                    self._hashing.settle()
            data = self._files.read(piece.path, piece.offset, piece.nbytes)
            recorder.read(piece.nbytes)
        self._read_bytes += piece.nbytes
        return data

    def _drain(self, until: int) -> None:
        """Hand over to the writer what is made, until so many steps are left."""
        while len(self._steps) > until:
            step = self._steps.popleft()
            name, made, sums = step.tensor.name if step.tensor else "", self._made(step), Sums()
            if made is not None:
                error, size = self._sums.get(name, (0.0, 0.0))
                sums = {name: (error + made.squared_error, size + made.squared_weights)}
                self._sums |= sums
                self._done_bytes += made.blocks.nbytes
            self._writing.put((name, made, step.piece is not None, sums if self._maker.measures else {}))
            if self._on_progress is not None:
                self._on_progress(self._progress(name))

    def _made(self, step: _Step) -> "Made | None":
        """QuantError for weights that cannot be quantized, SourceMismatch if that is because they came damaged."""
        try:
            return step.job.result() if step.job is not None else None
        except QuantError as error:
            piece = step.piece
            if piece is None or self._files.read(piece.path, piece.offset, piece.nbytes) == step.data:
                raise
            raise SourceMismatch(piece.path) from error

    def _progress(self, tensor: str) -> Progress:
        total, source_total = self._outputs.total_unpadded, sum(self._sizes.values())
        return Progress(self._done_bytes, total, tensor, self._maker.hint, self._read_bytes, source_total)

    def _write(self, item: "tuple[str, Made | None, bool, Sums]") -> None:
        tensor, made, is_piece, sums = item
        if made is not None:
            self._outputs.append(tensor, made.blocks.data)
        if self._recorder is not None and is_piece:
            self._recorder.written(self._outputs.written, self._outputs.flush(), sums)

    def _hash(self, item: tuple[Path, bytes]) -> None:
        self._hashes.update(item)
        if self._recorder is not None:
            self._recorder.hashed(len(item[1]), self._hashes)


def _scales(piece: Piece, files: WeightFiles) -> bytes | None:
    """The scales of a piece's rows, if it has any: whole rows of blocks."""
    if piece.tensor is None or piece.tensor.scale is None:
        return None
    scales, rows = piece.tensor.scale.source, piece.tensor.scale.block[0]
    n_rows = piece.nbytes * piece.tensor.shape[0] // piece.tensor.source.nbytes
    first, last = piece.first_row // rows, (piece.first_row + n_rows - 1) // rows
    row_bytes = scales.nbytes // -(-piece.tensor.shape[0] // rows)
    return files.read(scales.path, scales.offset + first * row_bytes, (last + 1 - first) * row_bytes)
