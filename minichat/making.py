"""Checkpoint folders to models in the store.

A converted model has a stamp of the files that it was made from: if those change, it is made again.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from convert import REVISION
from convert.provenance import folder_name
from convert.vision import folder_sees
from minichat.demos import is_demo
from minichat.manifest import Manifest, ModelName, name_like
from minichat.store import Store
from minichat.work import Progress, ShowWork
from quant.errors import CheckpointError, UsageError
from quant.types import PROJECTOR_NAMES, parse_projector_target, parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convert.report import Report

NO_PROJECTOR = "none"


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert: see `convert.pipeline.convert`. projector: how what reads pictures is kept, None: at
    float16; "none": it is left out.
    """

    threads: int | None = None
    search: str = "standard"
    measure: bool = False
    template: str = "auto"
    projector: str | None = None


@dataclass(frozen=True)
class Converted:
    """A model in the store, and the report of the conversion; None if another process has made it meanwhile."""

    manifest: Manifest
    report: Report | None = None


def convert_into(
    store: Store,
    source: Path,
    target: str,
    name: ModelName,
    show_work: ShowWork,
    options: ConvertOptions = ConvertOptions(),
) -> Converted:
    """Converts the checkpoint in `source` into the store under `name`, whose tag is `target` if it has none.

    If another process is making a model of that name, waits for it, and takes its result if that is the same and no
    measures are wanted.
    """
    stamp, key = _stamp(source, _projector(options)), ModelName(name.name, name.tag or target)
    waited = False

    def on_wait() -> None:
        nonlocal waited
        waited = True
        _note_waiting(key, show_work)

    with store.incoming(key, on_wait) as folder:
        taken = store.find(key)
        is_plain = options == ConvertOptions(options.threads, projector=options.projector)
        if waited and is_plain and taken is not None and taken in _made_before(store, source, [stamp], target):
            return Converted(taken)
        return _make(store, folder, source, stamp, target, name, show_work, options)


def convert_file(
    source: Path,
    destination: Path,
    projector: Path,
    target: str,
    name: str | None,
    work: Progress,
    options: ConvertOptions,
) -> Report:
    """Converts the checkpoint in `source` to the file `destination`, in sight of a person.

    projector: where what reads pictures goes, if the model has such a part and it is wanted.
    """
    from convert.pipeline import convert

    sight = _projector(options)
    return convert(
        source,
        destination,
        target,
        name=name,
        template=options.template,
        threads=options.threads,
        search=options.search,
        measure=options.measure,
        on_progress=lambda at: work.update(at.done_bytes, at.total_bytes, at.hint or at.tensor),
        projector=projector if sight != NO_PROJECTOR else None,
        projector_type=sight if sight != NO_PROJECTOR else PROJECTOR_NAMES[0],
    )


def projector_beside(file: Path) -> Path:
    """Where what reads pictures goes beside a model's file.

    >>> projector_beside(Path("models/small.gguf")).as_posix()
    'models/mmproj-small.gguf'
    """
    return file.with_name(f"mmproj-{file.name}")


def manifest_of(report: Report, name: ModelName, source: str, stamp: str) -> Manifest:
    """What the store is to write down of a conversion. source, stamp: what it was made from, and in which state."""
    return Manifest(
        name=name.name,
        tag=name.tag or report.target,
        blob=f"sha256-{report.sha256}",
        size_bytes=report.size_bytes,
        target=report.target,
        architecture=report.architecture,
        template=report.template,
        parameters=report.parameters,
        context_length=report.context_length,
        source=source,
        source_stamp=stamp,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        licence=report.licence,
        notice=report.notice,
        projector=f"sha256-{report.projector_sha256}" if report.projector is not None else None,
        projector_bytes=report.projector_bytes,
    )


def name_of_folder(folder: Path) -> str:
    """A store name for a checkpoint folder.

    >>> name_of_folder(Path("/x/Mistral Small (3)"))
    'mistral-small-3'
    """
    return name_like(folder_name(folder), "checkpoint")


def remarks(report: Report) -> list[str]:
    """What a person is to be told of a conversion, once."""
    from minichat.template import VERSIONS

    told = list(report.remarks)
    if report.template is not None and report.template not in VERSIONS:
        known = ", ".join(VERSIONS)
        told.append(f"its template, {report.template}, is unknown to `minichat run` (--template names one of {known})")
    return told


def checkpoint_folder(path: Path) -> Path:
    """`path`, or if that is a repo's folder in the hub's cache, the folder of the revision that was fetched last."""
    try:
        revision = (path / "refs" / "main").read_bytes()[:64].decode("ascii").strip()
        snapshot = path / "snapshots" / revision
        return snapshot if re.fullmatch("[0-9a-f]{40}", revision) and snapshot.is_dir() else path
    except (OSError, UnicodeDecodeError):
        return path


def default_name(store: Store, source: Path, target: str) -> ModelName:
    """What a checkpoint is called where nobody says: by its folder, and so that no model from elsewhere is replaced."""
    return _free_name(store, source.absolute(), target, ModelName(name_of_folder(source)))


def check_free(name: ModelName) -> ModelName:
    """`name`, unless it belongs to a model that ships with minichat. Raises UsageError."""
    if is_demo(name.name):
        raise UsageError(f"{name.name} is the name of the model that comes with minichat: choose another one")
    return name


def converted(folder: Path, name: ModelName, target: str, store: Store, show_work: ShowWork) -> Manifest:
    """The model that was made from these very files before, else one made now."""
    source, stamp = folder.absolute(), _stamp(folder, PROJECTOR_NAMES[0])
    stamps = [stamp, *(_stamp(folder, other) for other in (*PROJECTOR_NAMES[1:], NO_PROJECTOR))]
    if made := _made_before(store, source, stamps, target):
        return made[0]
    free = _free_name(store, source, target, name)
    key = ModelName(free.name, target)
    with store.incoming(key, lambda: _note_waiting(key, show_work)) as place:
        # Others may have made it, or one of the same name, since we looked.
        made = _made_before(store, source, stamps, target)
        if not made and _free_name(store, source, target, name) == free:
            made = [_make(store, place, folder, stamp, target, free, show_work, ConvertOptions()).manifest]
    if not made:
        return converted(folder, name, target, store, show_work)
    return made[0]


def _make(
    store: Store,
    place: Path,
    source: Path,
    stamp: str,
    target: str,
    name: ModelName,
    show_work: ShowWork,
    options: ConvertOptions,
) -> Converted:
    """Converts `source` in the folder `place` of the store, and names the result."""
    before = store.find(ModelName(name.name, name.tag or target))
    with show_work(f"converting {folder_name(source) or source} to {target}") as work:
        places = place / "model.gguf", place / "projector.gguf"
        report = convert_file(source, *places, target, str(name), work, options)
        manifest = manifest_of(report, name, str(source.absolute()), stamp)
        store.add(report.path, manifest, report.projector)
    for remark in remarks(report):
        show_work.note(remark)
    if before is not None and (before.source, before.target) != (manifest.source, manifest.target):
        show_work.note(f"{before.full_name} is replaced: it was {before.target}, made from {before.source}")
    return Converted(manifest, report)


def _projector(options: ConvertOptions) -> str:
    """The type of what reads pictures, as `quant.types` spells it, or `NO_PROJECTOR`."""
    told = options.projector or PROJECTOR_NAMES[0]
    return told if told == NO_PROJECTOR else parse_projector_target(told).name


def _made_before(store: Store, source: Path, stamps: Sequence[str], target: str) -> list[Manifest]:
    """The models in the store that were made from these very files, and whose own are there; by the first stamp first.

    What reads their pictures may be of another type than would be made now, or have been left out on purpose.
    """
    wanted = (str(source.absolute()), parse_target(target).name)
    same = [m for m in store.models() if (m.source, m.target) == wanted and m.source_stamp in stamps]
    return sorted(filter(store.has_file, same), key=lambda m: stamps.index(m.source_stamp or ""))


def _free_name(store: Store, source: Path, target: str, name: ModelName) -> ModelName:
    """`name`, or if it stands for a model made from another folder, one like it."""
    taken = store.find(ModelName(name.name, target))
    if taken is None or taken.source == str(source) or is_demo(name.name):
        return name
    return ModelName(f"{name.name}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:8]}")


def _note_waiting(name: ModelName, show_work: ShowWork) -> None:
    show_work.note(f"another minichat is making {name}: waiting for it (Ctrl-C leaves)")


def _matters(file: str) -> bool:
    """Whether a file of this name can be a part of a checkpoint; .DS_Store and README.md cannot."""
    return file.endswith((".json", ".safetensors")) or ".model" in file


def _stamp(folder: Path, projector: str) -> str:
    """A fingerprint of a folder's files (names, sizes and times, not contents), of the converter's revision, and of a
    model that sees also of what is made of that part."""
    digest = hashlib.sha256(str(REVISION).encode())
    if folder_sees(folder):
        digest.update(f"\0mmproj {projector}\n".encode())
    try:
        for path in sorted(folder.iterdir()):
            if path.is_file() and _matters(path.name):
                stat = path.stat()
                digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot read this folder: {error.strerror}") from error
    return digest.hexdigest()
