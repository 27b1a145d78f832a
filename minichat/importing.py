"""Take a GGUF file of another program into the store: used in place, linked or copied, but looked at first.

The bytes are hashed as they will be used, and held against what the other program says of them; the header must be one
that could be loaded. The other program's file is not changed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from convert.digest import sha256_of
from minichat.gguf_names import quant_of
from minichat.manifest import Manifest, ModelName
from minichat.place import ALL_WAYS, OWN_BYTES, Way, place
from quant.errors import DataError, GgufError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from convert.gguf_file import GgufHeader
    from minichat.foreign import Foreign
    from minichat.store import Store
    from minichat.work import Progress, ShowWork

_MODEL_KINDS = ("model", None)
_IMAGES = "clip"
_DEMO = "demo"


@dataclass(frozen=True)
class Known:
    """What the caller knows of the model, over what the file says: from the catalog, or from the hub."""

    repo: str | None = None
    revision: str | None = None
    licence: str | None = None
    licence_name: str | None = None
    notice: str | None = None
    template: str | None = None
    temperature: float | None = None


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
    known: Known = Known(),
    *,
    copy: bool = False,
) -> Imported:
    """Names `foreign`, a GGUF file, in the store; without a name, by what the other program calls it.

    copy: the store gets bytes of its own, where else the file may be used in place. Raises DataError if the file is
    not what the other program says, or is no language model, StorageError if the store cannot be written.
    """
    size_bytes, header = _look(foreign)
    target = _target(foreign, header)
    name = name or suggested_name(foreign, target)
    name = ModelName(name.name, name.tag or target)
    with store.incoming(name, lambda: show_work.note(f"another minichat is making {name}: waiting for it")) as folder:
        before = store.find(name)
        with show_work(f"importing {foreign.name}") as work:
            file = folder / "model.gguf"
            way, digest = _take(foreign, file, OWN_BYTES if copy else ALL_WAYS, work)
            if foreign.sha256 not in (None, digest):
                raise DataError(f"{foreign.file} is damaged: its sha256 is {digest}, and should be {foreign.sha256}")
            if file.stat().st_size != size_bytes:
                raise DataError(f"{foreign.file} has changed while it was read; try again")
            store.add(file, _manifest(foreign, header, name, target, digest, known))
        made = store.get(name)
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
    """
    text, _, tag = foreign.name.partition(":")
    parts = text.split("/")
    model = parts[1] if len(parts) > 2 and not tag else parts[-1]
    name = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._").removesuffix("-gguf")[:80].strip("-._") or "model"
    tag = re.sub(r"[^A-Za-z0-9._-]+", "-", tag).strip("-._")[:80]
    return ModelName(f"{name}-imported" if name == _DEMO else name, tag if tag not in ("", "latest") else target)


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
    metadata = header.metadata
    if metadata.get("general.architecture") == _IMAGES or metadata.get("general.type") not in _MODEL_KINDS:
        raise GgufError(f"{path} holds no language model, but a part that belongs to one")
    parts = metadata.get("split.count")
    if type(parts) is int and parts > 1:
        raise GgufError(f"{path} is one of {parts} parts, which minichat cannot join: take another quantization")
    if not header.tensors or "tokenizer.ggml.tokens" not in metadata:
        raise GgufError(f"{path} holds no language model: it has {'no vocabulary' if header.tensors else 'no weights'}")
    return size_bytes, header


def _take(foreign: Foreign, file: Path, ways: tuple[Way, ...], work: Progress) -> tuple[Way, str]:
    """Places the file and hashes it where it now stands. The way, and the sha256."""
    done, total = 0, foreign.size_bytes

    def on_bytes(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        work.update(done, total * copies, foreign.file.name)

    copies = 2
    try:
        way = place(foreign.file, file, ways, on_bytes)
    except BrokenPipeError:  # whoever was told of the progress has left
        raise
    except OSError as error:
        raise StorageError(f"{foreign.file} cannot be copied to {file.parent}: {error.strerror or error}") from error
    copies = 2 if way == "copy" else 1
    return way, _digest(foreign, file, on_bytes)


def _digest(foreign: Foreign, file: Path, on_bytes: Callable[[int], None]) -> str:
    try:
        return sha256_of(file, on_bytes)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{foreign.file} cannot be read: {error.strerror or error}") from error


def _target(foreign: Foreign, header: GgufHeader) -> str:
    """How the file is quantized: by its header, else by its name, else by the type of most of its weights."""
    from quant.types import target_by_file_type

    number = header.metadata.get("general.file_type")
    target = target_by_file_type(number) if type(number) is int else None
    if target is not None:
        return target.name
    kinds = Counter[str]()
    for tensor in header.weights:
        kinds[tensor.kind.name] += tensor.nbytes
    return quant_of(foreign.path.name) or kinds.most_common(1)[0][0]


def _manifest(
    foreign: Foreign, header: GgufHeader, name: ModelName, target: str, digest: str, known: Known
) -> Manifest:
    def text(key: str) -> str | None:
        value = header.metadata.get(key)
        return value if isinstance(value, str) and value and len(value) < 4096 else None

    architecture = text("general.architecture") or "unknown"
    context = header.metadata.get(f"{architecture}.context_length")
    return Manifest(
        name=name.name,
        tag=name.tag or target,
        blob=f"sha256-{digest}",
        size_bytes=header.file_bytes,
        target=target,
        architecture=architecture,
        template=known.template or text("minichat.template"),
        parameters=header.parameters,
        context_length=context if type(context) is int and 0 <= context < 1 << 40 else 0,
        source=f"{foreign.program}: {foreign.name}",
        source_stamp=digest,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        repo=known.repo or foreign.repo,
        revision=known.revision or foreign.revision,
        licence=known.licence or text("general.license"),
        licence_name=known.licence_name or text("general.license.name"),
        notice=known.notice or text("minichat.notice"),
        temperature=known.temperature,
    )
