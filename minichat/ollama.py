"""Models in Ollama's store; their weights are GGUF files.

    ROOT/manifests/registry.ollama.ai/library/mistral-small/24b    JSON: layers, each with a type, a digest, a size
    ROOT/blobs/sha256-<hex>                                        the layers

The store is where OLLAMA_MODELS says, else in the user's folder, or the system's own user's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minichat.folders import read_plain
from minichat.foreign import Foreign, ForeignFile, files_in, folders_in, is_model_file, real_file, real_folder

PROGRAM = "Ollama"
SYSTEM_ROOT = Path("/usr/share/ollama/.ollama/models")  # of the service on Linux
_MODEL_LAYER = "application/vnd.ollama.image.model"
_PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_MAX_MANIFEST_BYTES = 1 << 20
_DEFAULT_HOST, _DEFAULT_NAMESPACE = "registry.ollama.ai", "library"


def roots() -> list[Path]:
    """The stores that there are."""
    chosen = os.environ.get("OLLAMA_MODELS")
    candidates = [Path(chosen)] if chosen else [Path("~/.ollama/models"), SYSTEM_ROOT]
    return [real for path in candidates if (real := real_folder(path)) is not None]


def models() -> Iterator[Foreign]:
    """Every name there whose file is there too."""
    for root in roots():
        for host in folders_in(root / "manifests"):
            for namespace in folders_in(host):
                for model in folders_in(namespace):
                    for manifest in files_in(model):
                        if (found := _model(root, manifest)) is not None:
                            yield found


def blobs(sha256: str) -> Iterator[Path]:
    """Where a file of this content would be."""
    for root in roots():
        yield _blob(root, sha256)


def _model(root: Path, manifest: Path) -> Foreign | None:
    parts = manifest.relative_to(root / "manifests").parts
    if not all(map(_PART.fullmatch, parts)):
        return None
    layers = _layers(manifest)
    model = _layer(root, layers, _MODEL_LAYER)
    if model is None or model.sha256 is None:
        return None
    blob = _blob(root, model.sha256)
    if not is_model_file(blob, model.file):
        return None
    projector = _layer(root, layers, _PROJECTOR_LAYER)
    name = _shown_name(parts)
    return Foreign(PROGRAM, "gguf", name, blob, model.file, model.size_bytes, model.sha256, projector=projector)


def _blob(root: Path, sha256: str) -> Path:
    return root / "blobs" / f"sha256-{sha256}"


def _layers(manifest: Path) -> list[dict[str, Any]]:
    """The layers that a manifest tells of; none, if it is nonsense."""
    try:
        values = json.loads(read_plain(manifest, _MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    layers = values.get("layers") if isinstance(values, dict) else None
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _layer(root: Path, layers: list[dict[str, Any]], kind: str) -> ForeignFile | None:
    """The one layer of a kind, if its file is there as told; None if there is none, or several."""
    found = [layer for layer in layers if layer.get("mediaType") == kind]
    told = _told(found[0]) if len(found) == 1 else None
    if told is None:
        return None
    real = real_file(_blob(root, told[0]), root)
    return ForeignFile(*real, told[0]) if real is not None and real[1] == told[1] else None


def _told(layer: dict[str, Any]) -> tuple[str, int] | None:
    digest, size = layer.get("digest"), layer.get("size")
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return (match[1], size) if match is not None and type(size) is int else None


def _shown_name(parts: tuple[str, ...]) -> str:
    """As `ollama list` shows it.

    >>> _shown_name(("registry.ollama.ai", "library", "mistral-small", "24b"))
    'mistral-small:24b'
    >>> _shown_name(("hf.co", "mistralai", "Ministral", "Q4_K_M"))
    'hf.co/mistralai/Ministral:Q4_K_M'
    """
    host, namespace, model, tag = parts
    if host == _DEFAULT_HOST:
        return f"{model}:{tag}" if namespace == _DEFAULT_NAMESPACE else f"{namespace}/{model}:{tag}"
    return f"{host}/{namespace}/{model}:{tag}"
