"""A checkpoint to one GGUF file, or, if the model sees, to two, in one pass.

Everything is planned before the first byte is written (`convert.plan`). Then the weights stream through
(`convert.stream`), in the order in which they lie on the disk.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from convert import REVISION
from convert.callbacks import calling, passed_through
from convert.checkpoint import Checkpoint, open_checkpoint
from convert.config import read_config
from convert.destinations import check_outputs
from convert.files import WeightFiles
from convert.gguf_writer import Layout, Writer, strings
from convert.journal import Mark
from convert.metadata import HASHES_KEY
from convert.outputs import Output, Outputs
from convert.plan import Plan, make_plan
from convert.provenance import Provenance, find_provenance, folder_name
from convert.publish import published_together
from convert.recorder import Recorder
from convert.report import CHECKING, Progress, Report, TensorReport
from convert.resume import Begun, resumed
from convert.safetensors_file import SourceTensor
from convert.sizes import sizes_of, vision_size
from convert.sources import SourceHashes
from convert.stream import Stream, Sums
from convert.tensors import PlannedTensor
from convert.vision import read_vision, sees
from quant.types import parse_projector_target, parse_target

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
    projector: Path | None = None,
    projector_type: str = "fp16",
) -> Report:
    """Convert the checkpoint in the folder `source` to the GGUF file `destination`.

    `name` is what the GGUF calls the model (default: the repo's name, if known, else the folder's). `template`: a
    version, "none" for a base model, or "auto": the tokenizer's own version, unless the name or the folder says "base".
    `threads` quantize (default: one per core). `search`: how scales are found (`quant.kernels`). `measure`: compare
    every tensor with its source. `on_progress` is called on the caller's thread. `files`: where the weights are, if not
    in the folder; they are left open. `provenance`: what is known of the origin, if it is not the folder that tells.

    `projector`: where the part of a model that sees goes, an mmproj of `projector_type` (one of
    `quant.types.PROJECTOR_NAMES`); nothing is written there if the model has none, and without a place it is left out.
    Both files are there at the end, or none.

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
    seeing = parse_projector_target(projector_type) if projector is not None else None
    plan = make_plan(checkpoint, wanted, called, template, provenance, hashes.expected, search, seeing)
    outputs = [(destination, plan.text.layout)]
    if projector is not None and plan.projector is not None:
        outputs.append((projector, plan.projector.layout))
    check_outputs(source, outputs, checkpoint.weights, resumable)
    from convert.blocks import Maker

    maker = Maker(plan.tensors, plan.kinds, search, measure)
    threads = min(max(1, threads or _usable_cpus()), _MAX_THREADS)
    maker.settle()  # no thread that imports before: an interrupt between two that do can leave a lock taken
    work = _work_of(plan, checkpoint, provenance, measure) if resumable else None
    on_progress = calling(on_progress) if on_progress is not None else None
    try:
        with passed_through():
            sums, sha256 = _carry_out(plan, outputs, work, checkpoint, maker, hashes, threads, on_progress)
    finally:
        if files is None:
            checkpoint.files.close()
    return Report(
        path=destination,
        size_bytes=plan.text.layout.file_bytes,
        sha256=sha256[0],
        target=wanted.name,
        architecture=plan.config.architecture,
        template=plan.template,
        parameters=plan.parameters,
        context_length=plan.config.context_length,
        licence=provenance.licence,
        notice=provenance.notice,
        remarks=_remarks(plan, checkpoint, maker.hint),
        tensors=_tensor_reports(plan.text, sums),
        **_projector_report(plan.projector, projector, sha256[-1], sums),
    )


def projector_bytes(checkpoint: Checkpoint, projector_type: str) -> int:
    """The size in bytes of a projector of this type, but for a header of some kilobytes; 0 if the model does not see.

    UsageError for another type; CheckpointError for a model that cannot be converted.
    """
    target = parse_projector_target(projector_type)
    if not sees(checkpoint.config, checkpoint.params, checkpoint.native):
        return 0
    text = read_config(checkpoint.config, checkpoint.params, checkpoint.native)
    vision = read_vision(checkpoint.config, checkpoint.params, checkpoint.native, text, checkpoint.folder)
    return vision_size(vision, target)


def sizes(checkpoint: Checkpoint, targets: Iterable[str]) -> dict[str, int]:
    """The size in bytes of the GGUF for each target, within some parts in a thousand (`convert.sizes`)."""
    return sizes_of(read_config(checkpoint.config, checkpoint.params, checkpoint.native), targets)


def _carry_out(
    plan: Plan,
    outputs: Sequence[tuple[Path, Layout]],
    work: str | None,
    checkpoint: Checkpoint,
    maker: "Maker",
    hashes: SourceHashes,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Sums, Sequence[str]]:
    """The files, in their places: what was measured of each tensor, and their sha256. `work`: what to go on with."""
    stream = partial(_stream, plan, checkpoint, maker, hashes, threads, on_progress)
    if work is None:
        with published_together([(path, layout.file_bytes) for path, layout in outputs]) as files:
            return stream(files)
    checked = _checked(plan, checkpoint, on_progress)
    with resumed(outputs, work, list(checkpoint.weights), checked) as unfinished:
        if unfinished.made is None:
            unfinished.sums, unfinished.made = stream(unfinished.files, unfinished.recorder, unfinished.begun)
    return dict(unfinished.sums), unfinished.made


def _stream(
    plan: Plan,
    checkpoint: Checkpoint,
    maker: "Maker",
    hashes: SourceHashes,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
    files: Sequence[BinaryIO],
    recorder: Recorder | None = None,
    begun: Begun | None = None,
) -> tuple[Sums, Sequence[str]]:
    """All weights, into the files: what was measured of each tensor, and the files' sha256."""
    if begun is not None:
        hashes.go_on(begun.digests, begun.mark.at[1], begun.mark.state)
    is_hashed = hashes.are_known or recorder is not None
    layouts = [output.layout for output in plan.outputs]
    before = list(zip(begun.mark.written, begun.prefixes, strict=True)) if begun else [None] * len(layouts)
    writers = [Writer(*parts) for parts in zip(files, layouts, [is_hashed] * len(layouts), before, strict=True)]
    outputs = Outputs(writers)
    sums = Stream(checkpoint, plan.tensors, maker, outputs, hashes, on_progress, recorder, begun).run(threads)
    found = strings(list(hashes.finish().values()))
    headers = [None if hashes.are_known else layout.with_value(HASHES_KEY, found).header for layout in layouts]
    return sums, [writer.finish(header) for writer, header in zip(writers, headers, strict=True)]


def _checked(
    plan: Plan, checkpoint: Checkpoint, on_progress: Callable[[Progress], None] | None
) -> Callable[[Mark], None]:
    """What tells of how much of unfinished files has been found to be sound: many gigabytes take their time."""
    sizes = list(checkpoint.weights.values())

    def checked(mark: Mark) -> None:
        if on_progress is not None:
            read_bytes = sum(sizes[: mark.at[0]]) + mark.at[1]
            told = CHECKING
            on_progress(Progress(sum(mark.written), plan.file_bytes, told, "", read_bytes, sum(sizes)))

    return checked


def _work_of(plan: Plan, checkpoint: Checkpoint, provenance: Provenance, measure: bool) -> str:
    """A hash of all that decides on the outputs' bytes, and of how they are recorded."""
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
    headers = [hashlib.sha256(output.layout.header).hexdigest() for output in plan.outputs]
    return hashlib.sha256(json.dumps([REVISION, headers, measure, files, sources]).encode()).hexdigest()


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


def _projector_report(
    made: Output | None, path: Path | None, sha256: str, sums: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """What the report tells of the file of what sees, if one was made."""
    if made is None:
        return {}
    return {
        "projector": path,
        "projector_bytes": made.layout.file_bytes,
        "projector_sha256": sha256,
        "projector_target": made.target.name,
        "projector_tensors": _tensor_reports(made, sums),
    }


def _tensor_reports(output: Output, sums: Mapping[str, tuple[float, float]]) -> tuple[TensorReport, ...]:
    reports = []
    for tensor, kind in zip(output.tensors, output.kinds, strict=True):
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
