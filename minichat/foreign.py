"""Model files of other programs, and how to look for them safely.

Everything in another program's folders may have been made by anybody: only plain files that really lie inside the
folder are taken, links to folders are not followed, what is read is bounded, and what cannot be read or makes no sense
is passed over. Nothing is opened but plain files, and nothing is ever changed. Standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minichat.folders import read_plain
from minichat.gguf_names import choose_projector, is_part, is_projector

A_FILE = "a file"  # what stands for a program, where a person has named the file
_MAX_ENTRIES = 20_000  # of one folder
_GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True)
class ForeignFile:
    """Another file of a model: what it really is, its bytes, and its sha256 if the program tells it."""

    file: Path
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Foreign:
    """A model that another program keeps on this disk.

    program: "Ollama". kind: one GGUF file, or the folder of a checkpoint to convert. name: what that program calls
    it. path: as the program knows it, which may be a link; `file` is what it leads to. sha256: as the program has it,
    for nobody has looked; None if it tells none. repo and revision (a commit): of the hub, where that is known.
    projector: what the model reads pictures with, if the program has that; nobody has looked whether it does.
    """

    program: str
    kind: Literal["gguf", "checkpoint"]
    name: str
    path: Path
    file: Path
    size_bytes: int
    sha256: str | None = None
    repo: str | None = None
    revision: str | None = None
    projector: ForeignFile | None = None

    @property
    def origin(self) -> str:
        """What the store writes down of where a model came from: of two models, two."""
        return f"{self.program}: {self.file if self.program == A_FILE else self.name}"


def real_folder(path: Path) -> Path | None:
    """A folder that another program keeps its files in, without links; None if there is none."""
    try:
        real = path.expanduser().resolve(strict=True)
        return real if real.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # a loop of links is a RuntimeError before Python 3.13
        return None


def real_file(path: Path, root: Path) -> tuple[Path, int] | None:
    """The plain file inside `root`, a real folder, that a path there leads to, and its bytes; None for all else."""
    try:
        real = path.resolve(strict=True)
        found = real.lstat()
    except (OSError, RuntimeError, ValueError):
        return None
    return (real, found.st_size) if stat.S_ISREG(found.st_mode) and real.is_relative_to(root) else None


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, links not among them, by name."""
    return [Path(entry.path) for entry in _entries(folder) if _is_folder(entry)]


def files_in(folder: Path, depth: int = 1) -> Iterator[Path]:
    """Whatever is no folder in a folder and, down to `depth`, in those inside it; links to files among them."""
    inside = []
    for entry in _entries(folder):
        if _is_folder(entry):
            inside.append(Path(entry.path))
        else:
            yield Path(entry.path)
    for below in inside if depth > 1 else ():
        yield from files_in(below, depth - 1)


def is_model_file(path: Path, real: Path) -> bool:
    """Whether a file, known as `path`, is a GGUF file that is whole in itself and no projector for images."""
    if is_projector(path.name) or is_part(path.name):
        return False
    try:
        return read_plain(real, len(_GGUF_MAGIC)) == _GGUF_MAGIC
    except OSError:
        return False


def projector_beside(path: Path, others: Sequence[Path], root: Path) -> ForeignFile | None:
    """Which of the files in `root`, a real folder, the model in one of them reads pictures with, by their names."""
    by_name = {other.relative_to(root).as_posix(): other for other in others}
    chosen = choose_projector(path.relative_to(root).as_posix(), by_name)
    real = real_file(by_name[chosen], root) if chosen is not None else None
    return ForeignFile(*real) if real is not None else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) == _MAX_ENTRIES:
                    break
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
