"""Models in Hugging Face's cache, where its own tools put what they fetch.

    HUB/models--mistralai--Ministral-8B-Instruct-2410/
        refs/main                                the commit that was fetched last
        snapshots/<commit>/model.safetensors ->  ../../blobs/<sha256>

The cache is where HF_HUB_CACHE says, else in HF_HOME, else in the user's folder for caches. Only what is there is told:
no network, and huggingface_hub is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from minichat.folders import read_plain
from minichat.foreign import Foreign, files_in, folders_in, is_model_file, projector_beside, real_file, real_folder
from minichat.hub.address import is_repo
from quant.errors import MinichatError

PROGRAM = "Hugging Face"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEPTH = 3  # of folders in a repo
_CONFIGS = {"config.json", "params.json"}


def root() -> Path | None:
    """The cache's folder, if there is one."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := os.environ.get(name):
            return real_folder(Path(chosen))
    if home := os.environ.get("HF_HOME"):
        return real_folder(Path(home) / "hub")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return real_folder(Path(caches) / "huggingface" / "hub")


def models() -> Iterator[Foreign]:
    """GGUF files, and checkpoints that are complete; of several revisions of a repo the one that was fetched last."""
    if (hub := root()) is None:
        return
    for folder in folders_in(hub):
        repo = folder.name.removeprefix("models--").replace("--", "/")
        if folder.name.startswith("models--") and is_repo(repo):
            yield from _in_repo(repo, folder)


def blobs(sha256: str) -> Iterator[Path]:
    """Where a file of this content would be."""
    if (hub := root()) is not None:
        for folder in folders_in(hub):
            yield folder / "blobs" / sha256


def _in_repo(repo: str, folder: Path) -> Iterator[Foreign]:
    seen: set[Path] = set()
    has_checkpoint = False
    for snapshot in _snapshots(folder):
        files = [path for path in files_in(snapshot, _DEPTH) if path.suffix.lower() == ".gguf"]
        for path in files:
            if (real := real_file(path, folder)) is None or real[0] in seen:
                continue
            seen.add(real[0])
            if is_model_file(path, real[0]):
                name = f"{repo}/{path.relative_to(snapshot).as_posix()}"
                projector = projector_beside(path, files, folder)
                if projector is not None:
                    projector = replace(projector, sha256=_told_sha256(projector.file))
                yield Foreign(PROGRAM, "gguf", name, path, *real, _told_sha256(real[0]), repo, snapshot.name, projector)
        if not has_checkpoint and (size_bytes := _checkpoint_bytes(snapshot, folder)) is not None:
            has_checkpoint = True
            yield Foreign(PROGRAM, "checkpoint", repo, snapshot, snapshot, size_bytes, None, repo, snapshot.name)


def _snapshots(folder: Path) -> list[Path]:
    """The revisions of a repo; first the one that was fetched last, the others by their time."""
    try:
        last = read_plain(folder / "refs" / "main", 64).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        last = ""
    found = [path for path in folders_in(folder / "snapshots") if _COMMIT.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.name == last, _changed_s(path)), reverse=True)


def _checkpoint_bytes(snapshot: Path, folder: Path) -> int | None:
    """How large the weights of a checkpoint are; None if there is none here that could be converted."""
    from convert.checkpoint import open_checkpoint

    sizes: dict[Path, int] = {}
    for path in files_in(snapshot):
        if path.suffix in (".json", ".safetensors", ".model"):
            if (real := real_file(path, folder)) is None:  # a link that leads nowhere, or out of the cache
                return None
            sizes[path] = real[1]
    if not _CONFIGS & {path.name for path in sizes} or not any(path.suffix == ".safetensors" for path in sizes):
        return None
    try:
        checkpoint = open_checkpoint(snapshot)
    except MinichatError:
        return None
    return sum(sizes.get(path, 0) for path in {tensor.path for tensor in checkpoint.tensors.values()})


def _told_sha256(real: Path) -> str | None:
    """A blob of a large file is named by its content."""
    return real.name if real.parent.name == "blobs" and _SHA256.fullmatch(real.name) else None


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
