"""Take a GGUF file of another program into the store: used in place, linked or copied, but looked at first. So, too,
what its model reads pictures with, if the program keeps that beside it.

The bytes are hashed as they will be used, and held against what the other program says of them; the header must be one
that could be loaded. The other program's file is not changed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convert.digest import sha256_of
from minichat.foreign import ForeignFile
from minichat.gguf_model import Known, check_model, manifest_of_header, target_of
from minichat.manifest import Manifest, ModelName, name_like, tag_like
from minichat.place import ALL_WAYS, OWN_BYTES, Way, place
from quant.errors import DataError, GgufError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from convert.gguf_file import GgufHeader
    from minichat.foreign import Foreign
    from minichat.store import Store
    from minichat.work import Progress, ShowWork


@dataclass(frozen=True)
class Imported:
    """A model in the store, and by which way its file came there."""

    manifest: Manifest
    way: Way


def import_model(
    foreign: Foreign,
    store: Store,
    show_work: ShowWork,
    name: ModelName | None = None,
    known: Known | None = None,
    *,
    copy: bool = False,
) -> Imported:
    """Names `foreign`, a GGUF file, in the store; without a name, by what the other program calls it, or if a model
    from elsewhere is called so here, by a name like that.

    copy: the store gets bytes of its own, where else the file may be used in place. Raises DataError if the file is
    not what the other program says, or is no language model, StorageError if the store cannot be written.
    """
    size_bytes, header = _look(foreign)
    projector = _seen(foreign, header, show_work)
    target = target_of(header, foreign.path.name)
    known = known or Known()
    known = replace(known, repo=known.repo or foreign.repo, revision=known.revision or foreign.revision)
    first = name or suggested_name(foreign, target)
    first = ModelName(first.name, first.tag or target)
    with store.incoming(first, lambda: show_work.note(f"another minichat is making {first}: waiting for it")) as folder:
        with show_work(f"importing {foreign.name}") as work:
            file = folder / "model.gguf"
            own, ways = ForeignFile(foreign.file, size_bytes, foreign.sha256), OWN_BYTES if copy else ALL_WAYS
            bar = _Bar(work, (own, projector))
            way, digest = _take(own, file, ways, bar)
            made = manifest_of_header(header, first, target, digest, foreign.origin, known)
            other = None
            if projector is not None:
                other = folder / "projector.gguf"
                made = _with_projector(made, projector, other, ways, bar)
            key = _free_name(store, made) if name is None else first
            before = store.find(key)
            store.add(file, replace(made, name=key.name), other)
        made = store.get(key)
    if before is not None and before.blob != made.blob:
        show_work.note(f"{before.full_name} is replaced: it was {before.target}, made from {before.source}")
    return Imported(made, way)


def suggested_name(foreign: Foreign, target: str) -> ModelName:
    """What a model of another program is called here where nobody says.

    >>> from minichat.foreign import Foreign
    >>> x = Path("/x.gguf")
    >>> str(suggested_name(Foreign("Ollama", "gguf", "mistral-small:24b", x, x, 1), "q4_K_M"))
    'mistral-small:24b'
    >>> str(suggested_name(Foreign("LM Studio", "gguf", "a/Ministral 8B-GGUF/x-Q8_0.gguf", x, x, 1), "q8_0"))
    'ministral-8b:q8_0'
    >>> str(suggested_name(Foreign("a file", "gguf", "Small.gguf", x, x, 1), "q6_K"))
    'small:q6_K'
    """
    text, _, tag = foreign.name.partition(":")
    parts = text.split("/")
    model = parts[1] if len(parts) > 2 and not tag else parts[-1]
    own = tag_like(tag)
    return ModelName(name_like(model, "imported"), target if own in (None, "latest") else own)


def _free_name(store: Store, made: Manifest) -> ModelName:
    """Its name, or if that stands for another model from elsewhere, one like it."""
    name = ModelName(made.name, made.tag)
    taken = store.find(name)
    if taken is None or taken.blob == made.blob or taken.source == made.source:
        return name
    return ModelName(f"{name.name}-{hashlib.sha256(os.fsencode(made.source)).hexdigest()[:8]}", name.tag)


def _look(foreign: Foreign) -> tuple[int, GgufHeader]:
    """The size and the header of a file. GgufError if it is no language model that is whole in itself."""
    from convert.gguf_file import read_header

    path = foreign.file
    try:
        if not path.is_file() or path.is_symlink():
            raise GgufError(f"{path}: no such file")
        size_bytes = path.stat().st_size
    except OSError as error:
        raise GgufError(f"{path} cannot be read: {error.strerror or error}") from error
    header = read_header(path)
    check_model(header, str(path))
    return size_bytes, header


def _seen(foreign: Foreign, header: GgufHeader, show_work: ShowWork) -> ForeignFile | None:
    """What the model reads pictures with; None, with a remark, for what it cannot read them with."""
    from minichat.projectors import check_sound

    other = foreign.projector
    if other is None:
        return None
    try:
        check_sound(other.file, header.metadata, foreign.name)
    except DataError as error:
        show_work.note(f"text only: {error}")
        return None
    return other


class _Bar:
    """How far all files are, each of which is copied and read, or only read where it need not be copied."""

    def __init__(self, work: Progress, files: Iterable[ForeignFile | None]) -> None:
        self._work, self._total = work, sum(file.size_bytes for file in files if file is not None)
        self._done = 0
        self.reads = 2

    def add(self, n_bytes: int, detail: str) -> None:
        total = self._total * self.reads
        self._done = min(self._done + n_bytes, total)
        self._work.update(self._done, total, detail)


def _with_projector(made: Manifest, projector: ForeignFile, file: Path, ways: tuple[Way, ...], bar: _Bar) -> Manifest:
    """The manifest, with what is now in `file`, too."""
    _, digest = _take(projector, file, ways, bar)
    return replace(made, projector=f"sha256-{digest}", projector_bytes=projector.size_bytes)


def _take(source: ForeignFile, file: Path, ways: tuple[Way, ...], bar: _Bar) -> tuple[Way, str]:
    """Places the file and hashes it where it now stands. The way, and the sha256. DataError if it is not as told."""

    def on_bytes(n_bytes: int) -> None:
        bar.add(n_bytes, source.file.name)

    try:
        way = place(source.file, file, ways, on_bytes)
    except BrokenPipeError:  # whoever was told of the progress has left
        raise
    except OSError as error:
        raise StorageError(f"{source.file} cannot be copied to {file.parent}: {error.strerror or error}") from error
    bar.reads = 2 if way == "copy" else 1
    digest = _digest(source.file, file, on_bytes)
    if source.sha256 not in (None, digest):
        raise DataError(f"{source.file} is damaged: its sha256 is {digest}, and should be {source.sha256}")
    if file.stat().st_size != source.size_bytes:
        raise DataError(f"{source.file} has changed while it was read; try again")
    return way, digest


def _digest(source: Path, file: Path, on_bytes: Callable[[int], None]) -> str:
    try:
        return sha256_of(file, on_bytes)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from error
