"""A checkpoint to one GGUF file, in one pass.

Everything is planned from headers before the first byte is written: names, shapes, types, places, the whole size.
Then the weights stream through, in the order in which they lie on the disk:

    this thread reads --> a pool makes numbers of the bytes, and blocks of the numbers --> a thread writes
           \\--> a thread hashes what was read

Memory is bounded by the chunks in flight, whatever the size of the largest tensor.
"""

import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convert.background import Background
from convert.checkpoint import ByteReader, Checkpoint, open_checkpoint
from convert.config import ModelConfig, read_config
from convert.gguf_writer import Layout, Writer, lay_out, strings
from convert.metadata import HASHES_KEY, build_metadata, build_origin
from convert.provenance import Provenance, find_provenance, folder_name
from convert.publish import check_destination, published
from convert.quantization import block_size
from convert.report import Progress, Report, TensorReport
from convert.sampling import recommended
from convert.sources import Piece, SourceHashes, in_file_order, pieces
from convert.tensors import ConstantTensor, PlannedTensor, plan_tensors
from convert.vocab import load_vocabulary
from quant.errors import UsageError
from quant.recipe import Model, choose
from quant.types import QuantType, Target, parse_target

if TYPE_CHECKING:
    from convert.blocks import Made, Maker

_IN_FLIGHT_BYTES = 64 << 20
_CHUNK_WEIGHTS = 1 << 20
_BYTES_PER_WEIGHT = 12  # at worst: float32 as read, made and written
_MAX_THREADS = 64
_QUEUED = 4  # chunks that wait for the writer, and for the hasher


@dataclass(frozen=True)
class Plan:
    """A conversion, decided to the last byte. `tensors` and `kinds` are in the order in which they are written."""

    config: ModelConfig
    tensors: Sequence[PlannedTensor | ConstantTensor]
    kinds: Sequence[QuantType]
    layout: Layout
    target: Target
    template: str | None
    provenance: Provenance
    set_aside: int  # tensors of the part that sees

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors if isinstance(tensor, PlannedTensor))


def convert(
    source: Path,
    destination: Path,
    target: str = "q4_K_M",
    *,
    name: str | None = None,
    template: str = "auto",
    threads: int | None = None,
    search: str = "standard",
    measure: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Convert the checkpoint in the folder `source` to the GGUF file `destination`.

    `name` is what the GGUF calls the model (default: the repo's name, if known, else the folder's). `template`: a
    version, "none" for a base model, or "auto": the tokenizer's own version, unless the name or the folder says "base".
    `threads` quantize (default: one per core). `search`: how scales are found (`quant.kernels`). `measure`: compare
    every tensor with its source. `on_progress` is called on the caller's thread.

    UsageError, CheckpointError, QuantError or StorageError; after any of them, and after KeyboardInterrupt, nothing new
    is left behind and an older `destination` is untouched.
    """
    wanted = parse_target(target)
    checkpoint = open_checkpoint(source)
    provenance = find_provenance(source)
    hashes = SourceHashes(checkpoint, provenance.hub_sha256)
    plan = make_plan(checkpoint, wanted, name or folder_name(source), template, provenance, hashes.expected, search)
    _refuse_inside(source, destination, checkpoint.weights)
    check_destination(destination, plan.layout.file_bytes)
    from convert.blocks import Maker

    maker = Maker(plan.tensors, plan.kinds, search, measure)
    threads = min(max(1, threads or _usable_cpus()), _MAX_THREADS)
    maker.settle()  # no thread that imports before: an interrupt between two that do can leave a lock taken
    with published(destination, plan.layout.file_bytes) as file:
        writer = Writer(file, plan.layout, hashing=hashes.are_known)
        errors = _stream(plan, checkpoint, maker, writer, hashes, threads, on_progress)
        found = strings(list(hashes.finish().values()))
        sha256 = writer.finish(None if hashes.are_known else plan.layout.with_value(HASHES_KEY, found).header)
    return Report(
        path=destination,
        size_bytes=plan.layout.file_bytes,
        sha256=sha256,
        target=wanted.name,
        architecture=plan.config.architecture,
        template=plan.template,
        parameters=plan.parameters,
        context_length=plan.config.context_length,
        licence=provenance.licence,
        notice=provenance.notice,
        remarks=_remarks(plan, checkpoint, maker.hint),
        tensors=_tensor_reports(plan, errors),
    )


def make_plan(
    checkpoint: Checkpoint,
    target: Target,
    name: str,
    template: str,
    provenance: Provenance,
    hashes: dict[str, str],
    search: str,
) -> Plan:
    """Decide all that can be decided from headers, and refuse what cannot be converted."""
    config = read_config(checkpoint.config, checkpoint.params, checkpoint.native)
    block = block_size(checkpoint.config, checkpoint.params)
    planned = plan_tensors(config, checkpoint.tensors, checkpoint.native, block)
    vocabulary = load_vocabulary(checkpoint.tokenizer, config.vocab_size)
    if template == "auto":
        chosen = None if _is_base(name, checkpoint.folder) else vocabulary.template
    else:
        chosen = None if template == "none" else template
    model = Model(config.n_layers, config.n_heads, config.n_kv_heads)
    tensors: list[PlannedTensor | ConstantTensor] = [*planned.tensors, *planned.constants]
    types = choose(target, [(tensor.name, tensor.shape) for tensor in tensors], model)
    tensors = [*planned.constants, *in_file_order(planned.tensors, checkpoint.weights)]
    kinds = [types[tensor.name] for tensor in tensors]
    recipe = target.name if search == "standard" else f"{target.name}, {search} search"
    origin = build_origin(provenance, _version(), recipe, hashes)
    metadata = build_metadata(config, vocabulary, target, name, chosen, origin) | recommended(checkpoint.folder)
    layout = lay_out(metadata, [(t.name, t.shape, kind) for t, kind in zip(tensors, kinds, strict=True)])
    return Plan(config, tensors, kinds, layout, target, chosen, provenance, len(planned.seeing))


def _stream(
    plan: Plan,
    checkpoint: Checkpoint,
    maker: "Maker",
    writer: Writer,
    hashes: SourceHashes,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
) -> dict[str, tuple[float, float]]:
    """All weights, through. The squared error and the squared size of each tensor, if they are measured."""
    ahead = 2 * threads + 2
    chunk_weights = min(_CHUNK_WEIGHTS, _IN_FLIGHT_BYTES // (ahead * _BYTES_PER_WEIGHT))
    begun: deque[tuple[str, Future[Made]]] = deque()
    sums: dict[str, tuple[float, float]] = {}
    done = len(plan.layout.header)
    total = done + sum(tensor.nbytes for tensor in plan.layout.tensors)

    def drain(until: int) -> None:
        nonlocal done
        while len(begun) > until:
            name, job = begun.popleft()
            made = job.result()
            writing.put(made.blocks.data)
            before = sums.get(name, (0.0, 0.0))
            sums[name] = (before[0] + made.squared_error, before[1] + made.squared_weights)
            done += made.blocks.nbytes
            if on_progress is not None:
                on_progress(Progress(done, total, name, maker.hint))

    pool = ThreadPoolExecutor(threads, thread_name_prefix="quantize")
    try:
        with (
            ByteReader() as reader,
            Background(writer.append, _QUEUED, "write") as writing,
            Background(hashes.update, _QUEUED, "hash") as hashing,
        ):
            for name, job in _jobs(plan, checkpoint, maker, reader, chunk_weights, hashing):
                begun.append((name, pool.submit(job)))
                drain(ahead - 1)
            drain(0)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return sums


def _jobs(
    plan: Plan,
    checkpoint: Checkpoint,
    maker: "Maker",
    reader: ByteReader,
    chunk_weights: int,
    hashing: "Background[tuple[Path, bytes]]",
) -> Iterator[tuple[str, "Callable[[], Made]"]]:
    """(tensor's name, what makes a chunk of it) in the order of the file. What is read is hashed, too."""
    for tensor in plan.tensors:
        if isinstance(tensor, ConstantTensor):
            yield tensor.name, partial(maker.constant, tensor)
    planned = (tensor for tensor in plan.tensors if isinstance(tensor, PlannedTensor))
    for piece in pieces(planned, checkpoint.weights, chunk_weights):
        data = reader.read(piece.path, piece.offset, piece.nbytes)
        hashing.put((piece.path, data))
        if piece.tensor is not None:
            yield piece.tensor.name, partial(maker.make, piece.tensor, piece.first_row, data, _scales(piece, reader))


def _scales(piece: Piece, reader: ByteReader) -> bytes | None:
    """The scales of a piece's rows, if it has any: whole rows of blocks."""
    if piece.tensor is None or piece.tensor.scale is None:
        return None
    scales, rows = piece.tensor.scale.source, piece.tensor.scale.block[0]
    n_rows = piece.nbytes * piece.tensor.shape[0] // piece.tensor.source.nbytes
    first, last = piece.first_row // rows, (piece.first_row + n_rows - 1) // rows
    row_bytes = scales.nbytes // -(-piece.tensor.shape[0] // rows)
    return reader.read(scales.path, scales.offset + first * row_bytes, (last + 1 - first) * row_bytes)


def _remarks(plan: Plan, checkpoint: Checkpoint, hint: str) -> tuple[str, ...]:
    """What a person is to be told once."""
    told = [hint] if hint else []
    if plan.provenance.notice:
        told.append(f"{plan.provenance.notice}: for research only, and the line goes with every copy")
    if plan.set_aside:
        told.append(f"text only: the vision encoder ({plan.set_aside} tensors) is left out")
    config = checkpoint.config or {}
    window = config.get("sliding_window")
    if window and window == config.get("max_position_embeddings") and checkpoint.params is None:
        told.append(
            f"the context is {window:,} tokens, as config.json says; the repo's params.json, put beside it, may tell "
            "of a longer one"
        )
    return tuple(told)


def _tensor_reports(plan: Plan, sums: dict[str, tuple[float, float]]) -> tuple[TensorReport, ...]:
    reports = []
    for tensor, kind in zip(plan.tensors, plan.kinds, strict=True):
        error, size = sums[tensor.name]
        relative = math.sqrt(error / size) if size > 0 else 0.0
        reports.append(
            TensorReport(tensor.name, kind.name, tensor.shape, kind.nbytes(math.prod(tensor.shape)), relative)
        )
    return tuple(reports)


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("minichat")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_base(name: str, folder: Path) -> bool:
    """Whether a model's name, or its folder's (a hub's cache hides it two levels up), calls it a base model.

    No file of a checkpoint tells: base models come with the tokenizer of the instruct ones. The base models of
    Mistral 7B are those whose names do not say "instruct".
    """
    parts = folder.resolve().parts
    names = (name, parts[-1], *(part for part in parts[-3:-2] if part.startswith("models--")))
    words = [re.split(r"[^a-z0-9.]+", text.lower()) for text in names]
    if any("base" in of_name for of_name in words):
        return True
    is_7b = any("7b" in of_name and any(re.fullmatch(r"v0\.\d", word) for word in of_name) for of_name in words)
    return is_7b and not any("instruct" in text.lower() for text in names)


def _refuse_inside(source: Path, destination: Path, weights: Sequence[Path]) -> None:
    inside, outside = destination.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UsageError(f"{destination} is inside the checkpoint {source}: write the file elsewhere")
    if any(destination.exists() and destination.samefile(path) for path in weights):
        raise UsageError(f"{destination} is one of the checkpoint's own files: write the file elsewhere")
