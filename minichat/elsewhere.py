"""What is on this disk already: models in Hugging Face's cache, in Ollama's store, in LM Studio's folders.

What they say of themselves, names and hashes alike, is theirs; `minichat.importing` looks at the bytes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minichat import hub_cache, lm_studio, ollama
from minichat.foreign import A_FILE, Foreign, ForeignFile, real_file
from minichat.projectors import beside, read_projector
from quant.errors import DataError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def found() -> list[Foreign]:
    """All that can be used from here, by program and name; a file that has several names there has several here."""
    everything = [*hub_cache.models(), *ollama.models(), *lm_studio.models()]
    return sorted(everything, key=lambda foreign: (foreign.program, foreign.name, foreign.kind))


def find_blob(sha256: str, size_bytes: int) -> Path | None:
    """A file on this disk that has these bytes, if the program that keeps it tells the truth. Whoever takes it checks.

    Only programs that name their files by content are asked: it takes no reading of files.
    """
    if not _SHA256.fullmatch(sha256):
        return None
    for module in (hub_cache, ollama):
        for path in module.blobs(sha256):
            real = real_file(path, path.parent.parent.resolve())
            if real is not None and real[1] == size_bytes:
                return real[0]
    return None


def of_size(size_bytes: int) -> list[Foreign]:
    """GGUF files of this size that nobody tells the content of: hashing them may be faster than a transfer."""
    return [foreign for foreign in lm_studio.models() if foreign.size_bytes == size_bytes]


def at(path: Path) -> Foreign:
    """A GGUF file that a person names, as if a program of its own kept it. Raises DataError where there is none."""
    try:
        real = path.expanduser().resolve(strict=True)
        size_bytes = real.stat().st_size
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return Foreign(A_FILE, "gguf", path.name, path, real, size_bytes, projector=_projector(path.expanduser()))


def projector_at(path: Path) -> ForeignFile:
    """A projector that a person names. DataError if it is none."""
    read_projector(path)
    try:
        real = path.resolve(strict=True)
        return ForeignFile(real, real.stat().st_size)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _projector(model: Path) -> ForeignFile | None:
    return projector_at(path) if (path := beside(model)) is not None else None


def named(text: str, models: Sequence[Foreign]) -> list[Foreign]:
    """Those that are called so, whatever the case; a program may stand before: `ollama:mistral-small:24b`.

    Of a file in several programs' folders, or under one name in two, all are told.
    """
    wanted = text.casefold()
    both = [(foreign, foreign.name.casefold()) for foreign in models]
    return [f for f, name in both if wanted in (name, f"{f.program.casefold().replace(' ', '-')}:{name}")]


def show_found(models: Sequence[Foreign], as_json: bool) -> None:
    """A table for people: what `minichat import` takes."""
    from minichat.terminal import tables
    from minichat.terminal.output import print_json, say
    from minichat.terminal.units import format_bytes

    if as_json:
        print_json([_facts(model) for model in models])
    elif not models:
        say("no models of Hugging Face's tools, Ollama or LM Studio are on this disk", stream=sys.stderr)
    else:
        rows = [(m.name, format_bytes(m.size_bytes), m.program, _kind(m)) for m in models]
        tables.print_table(("NAME", "SIZE", "PROGRAM", "KIND"), rows, sys.stdout, drop=(3,))


def _kind(model: Foreign) -> str:
    if model.kind != "gguf":
        return model.kind
    return "GGUF, pictures" if model.projector is not None else "GGUF"


def _facts(model: Foreign) -> dict[str, Any]:
    other = model.projector
    projector = asdict(other) | {"file": str(other.file)} if other is not None else None
    return asdict(model) | {"path": str(model.path), "file": str(model.file), "projector": projector}
