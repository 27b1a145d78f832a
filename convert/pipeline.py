"""A checkpoint to one GGUF file, in one pass.

Everything is planned from headers before the first byte is written: names, shapes, types, places, the whole size.
Then rows stream through: this thread reads them, a pool makes them float32 and quantizes them, this thread appends the
results in order. Memory is bounded by the rows in flight, whatever the size of the largest tensor.
"""

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convert.checkpoint import Checkpoint, RowReader, open_checkpoint
from convert.config import ModelConfig, parse_config
from convert.gguf_writer import Layout, Writer, lay_out
from convert.metadata import build_metadata
from convert.publish import check_destination, published
from convert.sampling import recommended
from convert.tensors import PlannedTensor, interleave_pairs, plan_tensors
from convert.vocab import load_vocabulary
from quant.errors import UsageError
from quant.recipe import Model, choose
from quant.types import QuantType, Target, parse_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IN_FLIGHT_BYTES = 48 << 20
_CHUNK_WEIGHTS = 1 << 20
_BYTES_PER_WEIGHT = 12  # at worst: float32 as read, made and written
_MAX_THREADS = 64


@dataclass(frozen=True)
class Progress:
    """How far the output file is: bytes written, bytes in all, and the tensor under way."""

    done_bytes: int
    total_bytes: int
    tensor: str


@dataclass(frozen=True)
class Report:
    """What was made. `template` is the version of the instruct template, None for a base model."""

    path: Path
    size_bytes: int
    sha256: str
    target: str
    architecture: str
    template: str | None
    parameters: int
    context_length: int


@dataclass(frozen=True)
class Plan:
    """A conversion, decided to the last byte."""

    config: ModelConfig
    tensors: Sequence[PlannedTensor]
    kinds: Sequence[QuantType]
    layout: Layout
    target: Target
    template: str | None

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def convert(
    source: Path,
    destination: Path,
    target: str = "q4_K_M",
    *,
    name: str | None = None,
    template: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Convert the checkpoint in the folder `source` to the GGUF file `destination`.

    `name` is what the GGUF calls the model (default: the folder's name). `template`: a version, "none" for a base
    model, or "auto": the tokenizer's own version, unless the name or the folder says "base". `threads` quantize
    (default: one per core). `on_progress` is called on the caller's thread.

    UsageError, CheckpointError, QuantError or StorageError; after any of them, and after KeyboardInterrupt, nothing new
    is left behind and an older `destination` is untouched.
    """
    wanted = parse_target(target)
    checkpoint = open_checkpoint(source)
    plan = make_plan(checkpoint, wanted, name or source.resolve().name, template)
    _refuse_inside(source, destination)
    check_destination(destination, plan.layout.file_bytes)
    threads = min(max(1, threads or _usable_cpus()), _MAX_THREADS)
    with published(destination) as file:
        writer = Writer(file, plan.layout)
        _stream(plan, writer, threads, on_progress)
        sha256 = writer.finish()
    return Report(
        path=destination,
        size_bytes=plan.layout.file_bytes,
        sha256=sha256,
        target=wanted.name,
        architecture=plan.config.architecture,
        template=plan.template,
        parameters=plan.parameters,
        context_length=plan.config.context_length,
    )


def make_plan(checkpoint: Checkpoint, target: Target, name: str, template: str) -> Plan:
    """Decide all that can be decided from headers, and refuse what cannot be converted."""
    config = parse_config(checkpoint.config)
    tensors = plan_tensors(config, checkpoint.tensors)
    vocabulary = load_vocabulary(checkpoint.tokenizer, config.vocab_size)
    if template == "auto":
        chosen = None if _is_base(name, checkpoint.folder) else vocabulary.template
    else:
        chosen = None if template == "none" else template
    model = Model(config.n_layers, config.n_heads, config.n_kv_heads)
    types = choose(target, [(tensor.name, tensor.shape) for tensor in tensors], model)
    kinds = [types[tensor.name] for tensor in tensors]
    metadata = build_metadata(config, vocabulary, target, name, chosen) | recommended(checkpoint.folder)
    layout = lay_out(metadata, [(t.name, t.shape, kind) for t, kind in zip(tensors, kinds, strict=True)])
    return Plan(config, tensors, kinds, layout, target, chosen)


def _stream(plan: Plan, writer: Writer, threads: int, on_progress: Callable[[Progress], None] | None) -> None:
    from quant.kernels import stream

    ahead = 2 * threads + 2
    chunk_weights = min(_CHUNK_WEIGHTS, _IN_FLIGHT_BYTES // (ahead * _BYTES_PER_WEIGHT))
    chunks = list(_chunks(plan, chunk_weights))
    with RowReader() as reader:
        jobs = (
            partial(_blocks, reader.read(tensor.source, first, count), tensor, kind)
            for tensor, kind, first, count in chunks
        )
        with contextlib.closing(stream(jobs, threads, ahead)) as results:  # an error here must end the pool, too
            for (tensor, _, _, _), blocks in zip(chunks, results, strict=True):
                writer.append(blocks.data)
                if on_progress is not None:
                    on_progress(Progress(writer.written, plan.layout.file_bytes, tensor.name))


def _chunks(plan: Plan, chunk_weights: int) -> Iterator[tuple[PlannedTensor, QuantType, int, int]]:
    """(tensor, type, first row, rows) of pieces of about `chunk_weights` weights: whole rows, and heads of Q and K."""
    for tensor, kind in zip(plan.tensors, plan.kinds, strict=True):
        n_rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
        unit = tensor.head_rows or 1
        step = max(1, chunk_weights // (tensor.shape[-1] * unit)) * unit
        for first in range(0, n_rows, step):
            yield tensor, kind, first, min(step, n_rows - first)


def _blocks(data: bytes, tensor: PlannedTensor, kind: QuantType) -> "NDArray[np.uint8]":
    from convert.dequantize import to_float32
    from quant.kernels import quantize

    rows = to_float32(data, tensor.source.dtype).reshape(-1, tensor.shape[-1])  # (rows, columns)
    if tensor.head_rows:
        rows = interleave_pairs(rows, tensor.head_rows)
    return quantize(rows, kind, tensor.source.name)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_base(name: str, folder: Path) -> bool:
    """Whether a model's name, or its folder's (a hub's cache hides it two levels up), calls it a base model.

    No file of a checkpoint tells: base models come with the tokenizer of the instruct ones.
    """
    parts = folder.resolve().parts
    names = (name, parts[-1], *(part for part in parts[-3:-2] if part.startswith("models--")))
    return any("base" in re.split(r"[^a-z0-9]+", text.lower()) for text in names)


def _refuse_inside(source: Path, destination: Path) -> None:
    inside, outside = destination.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UsageError(f"{destination} is inside the checkpoint {source}: write the file elsewhere")
