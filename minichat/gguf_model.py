"""A GGUF file from elsewhere, on its way into the store: whether it is a model, and what is written down of it.

Metadata may hold anything: what is not of its kind counts as missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.provenance import MRL, MRL_NAME, MRL_NOTICE
from minichat.folders import read_plain
from minichat.gguf_names import quant_of, told_target
from minichat.licences import Licensed, terms_of
from minichat.manifest import Manifest, ModelName
from quant.errors import GgufError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader

TOKENS_KEY = "tokenizer.ggml.tokens"
_MODEL_KINDS = ("model", None)
_IMAGES = "clip"
_MAX_TEXT = 4096  # characters of what goes into a manifest
_MAX_CONTEXT = 1 << 40
_HEAD_BYTES = 64 << 10  # more than the keys before the vocabulary take
_LICENCE_KEYS = ("general.license", "general.license.name", "general.license.link", "minichat.notice")


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


def refuse_parts(metadata: Mapping[str, Any], what: str) -> None:
    """GgufError, which begins with `what`, for a file that is only a part of a model, or belongs to one."""
    if metadata.get("general.architecture") == _IMAGES or metadata.get("general.type") not in _MODEL_KINDS:
        raise GgufError(f"{what} holds no language model, but a part that belongs to one")
    parts = metadata.get("split.count")
    if type(parts) is int and parts > 1:
        raise GgufError(f"{what} is one of {parts} parts, which minichat cannot join: take another quantization")


def check_model(header: GgufHeader, what: str) -> None:
    """GgufError, which begins with `what`, for a file that is no language model that is whole in itself."""
    refuse_parts(header.metadata, what)
    if not header.tensors or TOKENS_KEY not in header.metadata:
        raise GgufError(f"{what} holds no language model: it has {'no vocabulary' if header.tensors else 'no weights'}")


def licensed_file(name: str, path: Path) -> Licensed:
    """What the first bytes of a GGUF file say of its licence: nothing, if they cannot be read."""
    from convert.gguf_file import read_leading_keys

    try:
        head, size_bytes = read_plain(path, _HEAD_BYTES), path.stat().st_size
        metadata = read_leading_keys(head, size_bytes, name).metadata
    except (OSError, GgufError):  # whoever loads it says why
        return Licensed(name, None, None, None)
    told = [value for key in _LICENCE_KEYS if isinstance(value := metadata.get(key), str)]
    return Licensed(name, " ".join(told)[:_MAX_TEXT], None, None, f"head-{hashlib.sha256(head).hexdigest()}")


def target_of(header: GgufHeader, file_name: str) -> str:
    """How a file is quantized: by its header, else by its name, else by the type of most of its weights."""
    kinds = Counter[str]()
    for tensor in header.weights:
        kinds[tensor.kind.name] += tensor.nbytes
    return told_target(header.metadata) or quant_of(file_name) or kinds.most_common(1)[0][0]


def manifest_of_header(
    header: GgufHeader, name: ModelName, target: str, sha256: str, source: str, known: Known
) -> Manifest:
    """What the store is to write down of a GGUF file. sha256: of the file; source: where it came from."""

    def text(key: str) -> str | None:
        value = header.metadata.get(key)
        return value if isinstance(value, str) and 0 < len(value) < _MAX_TEXT else None

    architecture = text("general.architecture") or "unknown"
    context = header.metadata.get(f"{architecture}.context_length")
    licence, licence_name = text("general.license"), text("general.license.name")
    binds = terms_of(known.licence, known.licence_name) or terms_of(licence, licence_name)
    return Manifest(
        name=name.name,
        tag=name.tag or target,
        blob=f"sha256-{sha256}",
        size_bytes=header.file_bytes,
        target=target,
        architecture=architecture,
        template=known.template or text("minichat.template"),
        parameters=header.parameters,
        context_length=context if type(context) is int and 0 <= context < _MAX_CONTEXT else 0,
        source=source,
        source_stamp=sha256,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        repo=known.repo,
        revision=known.revision,
        licence=MRL if binds else known.licence or licence,
        licence_name=MRL_NAME if binds else known.licence_name or licence_name,
        notice=known.notice or text("minichat.notice") or (MRL_NOTICE if binds else None),
        temperature=known.temperature,
    )
