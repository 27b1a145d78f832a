"""A checkpoint to one GGUF file, in one pass.

Everything is planned before the first byte is written (`convert.plan`). Then the weights stream through
(`convert.stream`), in the order in which they lie on the disk.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from convert import REVISION
from convert.callbacks import calling, passed_through
from convert.checkpoint import Checkpoint, open_checkpoint
from convert.config import read_config
from convert.files import WeightFiles
from convert.gguf_writer import Writer, strings
from convert.journal import Mark
from convert.metadata import HASHES_KEY
from convert.plan import Plan, make_plan
from convert.provenance import Provenance, find_provenance, folder_name
from convert.publish import check_destination, published
from convert.recorder import Recorder
from convert.report import CHECKING, Progress, Report, TensorReport
from convert.resume import Begun, resumed
from convert.safetensors_file import SourceTensor
from convert.sizes import sizes_of
from convert.sources import SourceHashes
from convert.stream import Stream, Sums
from convert.tensors import PlannedTensor
from quant.errors import UsageError
from quant.types import parse_target

if TYPE_CHECKING:
    from convert.blocks import Maker

_MAX_THREADS = 64


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
    files: WeightFiles | None = None,
    provenance: Provenance | None = None,
    resumable: bool = False,
) -> Report:
    """Convert the checkpoint in the folder `source` to the GGUF file `destination`.

    `name` is what the GGUF calls the model (default: the repo's name, if known, else the folder's). `template`: a
    version, "none" for a base model, or "auto": the tokenizer's own version, unless the name or the folder says "base".
    `threads` quantize (default: one per core). `search`: how scales are found (`quant.kernels`). `measure`: compare
    every tensor with its source. `on_progress` is called on the caller's thread. `files`: where the weights are, if not
    in the folder; they are left open. `provenance`: what is known of the origin, if it is not the folder that tells.

    UsageError, CheckpointError, QuantError or StorageError, and what `files` and `on_progress` raise; after any of
    them, and after KeyboardInterrupt, nothing new is left behind and an older `destination` is untouched.

    With `resumable`, an interruption of any kind leaves what is made, and the next call with the same checkpoint and
    options goes on, to the same bytes (`convert.resume`; `resume.discard` when the file is where it belongs). After a
    SourceMismatch it begins with the file that was another one. Nothing is left after a DiskFullError or a QuantError.
    """
    wanted = parse_target(target)
    checkpoint = open_checkpoint(source, files)
    provenance = provenance or find_provenance(source)
    hashes = SourceHashes(checkpoint, provenance.hub_sha256, resumable)
    called = name or (provenance.repo or "").rsplit("/", 1)[-1] or folder_name(source)
    plan = make_plan(checkpoint, wanted, called, template, provenance, hashes.expected, search)
    _refuse_inside(source, destination, checkpoint.weights)
    if not resumable:
        check_destination(destination, plan.layout.file_bytes)
    from convert.blocks import Maker

    maker = Maker(plan.tensors, plan.kinds, search, measure)
    threads = min(max(1, threads or _usable_cpus()), _MAX_THREADS)
    maker.settle()  # no thread that imports before: an interrupt between two that do can leave a lock taken
    work = _work_of(plan, checkpoint, provenance, measure) if resumable else None
    on_progress = calling(on_progress) if on_progress is not None else None
    try:
        with passed_through():
            sums, sha256 = _carry_out(plan, destination, work, checkpoint, maker, hashes, threads, on_progress)
    finally:
        if files is None:
            checkpoint.files.close()
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
        tensors=_tensor_reports(plan, sums),
    )


def sizes(checkpoint: Checkpoint, targets: Iterable[str]) -> dict[str, int]:
    """The size in bytes of the GGUF for each target, within some parts in a thousand (`convert.sizes`)."""
    return sizes_of(read_config(checkpoint.config, checkpoint.params, checkpoint.native), targets)


def _carry_out(
    plan: Plan,
    destination: Path,
    work: str | None,
    checkpoint: Checkpoint,
    maker: "Maker",
    hashes: SourceHashes,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Sums, str]:
    """The file, in its place: what was measured of each tensor, and its sha256. `work`: what to go on with by name."""
    stream = partial(_stream, plan, checkpoint, maker, hashes, threads, on_progress)
    if work is None:
        with published(destination, plan.layout.file_bytes) as file:
            return stream(file)
    checked = _checked(plan, checkpoint, on_progress)
    with resumed(destination, plan.layout, work, list(checkpoint.weights), checked) as unfinished:
        if unfinished.made is None:
            unfinished.sums, unfinished.made = stream(unfinished.file, unfinished.recorder, unfinished.begun)
    return dict(unfinished.sums), unfinished.made


def _stream(
    plan: Plan,
    checkpoint: Checkpoint,
    maker: "Maker",
    hashes: SourceHashes,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
    file: BinaryIO,
    recorder: Recorder | None = None,
    begun: Begun | None = None,
) -> tuple[Sums, str]:
    """All weights, into the file: what was measured of each tensor, and the file's sha256."""
    if begun is not None:
        hashes.go_on(begun.digests, begun.mark.at[1], begun.mark.state)
    is_hashed = hashes.are_known or recorder is not None
    writer = Writer(file, plan.layout, is_hashed, (begun.mark.written, begun.prefix) if begun else None)
    sums = Stream(checkpoint, plan.tensors, maker, writer, hashes, on_progress, recorder, begun).run(threads)
    found = strings(list(hashes.finish().values()))
    return sums, writer.finish(None if hashes.are_known else plan.layout.with_value(HASHES_KEY, found).header)


def _checked(
    plan: Plan, checkpoint: Checkpoint, on_progress: Callable[[Progress], None] | None
) -> Callable[[Mark], None]:
    """What tells of how much of an unfinished file has been found to be sound: many gigabytes take their time."""
    sizes = list(checkpoint.weights.values())

    def checked(mark: Mark) -> None:
        if on_progress is not None:
            read_bytes = sum(sizes[: mark.at[0]]) + mark.at[1]
            told = CHECKING
            on_progress(Progress(mark.written, plan.layout.file_bytes, told, "", read_bytes, sum(sizes)))

    return checked


def _work_of(plan: Plan, checkpoint: Checkpoint, provenance: Provenance, measure: bool) -> str:
    """A hash of all that decides on the output's bytes, and of how they are recorded."""
    files = []
    for path, size in checkpoint.weights.items():
        told = provenance.hub_sha256.get(path.name)
        changed = path.stat().st_mtime_ns if told is None and path.is_file() else None
        files.append((path.name, size, told, changed))
    sources = [
        (t.name, t.head_rows, _place(t.source), t.scale and (_place(t.scale.source), t.scale.block))
        for t in plan.tensors
        if isinstance(t, PlannedTensor)
    ]
    header = hashlib.sha256(plan.layout.header).hexdigest()
    return hashlib.sha256(json.dumps([REVISION, header, measure, files, sources]).encode()).hexdigest()


def _place(source: SourceTensor) -> tuple[str, str, int, int]:
    return source.path.name, source.dtype, source.offset, source.nbytes


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


def _tensor_reports(plan: Plan, sums: Mapping[str, tuple[float, float]]) -> tuple[TensorReport, ...]:
    reports = []
    for tensor, kind in zip(plan.tensors, plan.kinds, strict=True):
        error, size = sums.get(tensor.name, (0.0, 0.0))
        relative = math.sqrt(error / size) if size > 0 else 0.0
        reports.append(
            TensorReport(tensor.name, kind.name, tensor.shape, kind.nbytes(math.prod(tensor.shape)), relative)
        )
    return tuple(reports)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refuse_inside(source: Path, destination: Path, weights: Iterable[Path]) -> None:
    inside, outside = destination.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UsageError(f"{destination} is inside the checkpoint {source}: write the file elsewhere")
    if any(destination.exists() and path.exists() and destination.samefile(path) for path in weights):
        raise UsageError(f"{destination} is one of the checkpoint's own files: write the file elsewhere")
