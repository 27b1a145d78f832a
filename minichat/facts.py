"""What the header of a GGUF file tells of a model, as data. Metadata may hold anything: what is not of its kind counts
as missing. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from minichat.attention import read_attention
from minichat.gguf_names import told_target
from minichat.memory import needed, shape_of_header
from minichat.template.telling import tell

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader

_CONTEXTS = (4096, 8192, 32768, 131072)  # tokens, as far as the model was trained for them


def header_facts(header: GgufHeader) -> dict[str, Any]:
    """Everything that `show --json` tells of a file, but for its name and place; None for what is not told.

    `attention` is an `Attention`, `memory` a list with one entry for each of some contexts.
    """

    metadata = header.metadata

    def text(key: str) -> str | None:
        return value if isinstance(value := metadata.get(key), str) else None

    def count(key: str) -> int | None:
        return value if type(value := metadata.get(key)) is int else None

    def texts(key: str) -> list[str]:
        value = metadata.get(key)
        return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else []

    architecture, told = text("general.architecture") or "unknown", tell(metadata)
    tokens = metadata.get("tokenizer.ggml.tokens")
    parameters = header.parameters
    return {
        "architecture": architecture,
        "parameters": parameters,
        "quantization": told_target(metadata),
        "bits_per_weight": 8 * sum(tensor.nbytes for tensor in header.weights) / parameters if parameters else None,
        "template": told.template,
        "template_how": told.how,
        "template_why": told.why,
        "context_length": count(f"{architecture}.context_length"),
        "attention": read_attention(metadata, architecture),
        "layers": count(f"{architecture}.block_count"),
        "width": count(f"{architecture}.embedding_length"),
        "heads": count(f"{architecture}.attention.head_count"),
        "kv_heads": count(f"{architecture}.attention.head_count_kv"),
        "vocabulary": len(tokens) if isinstance(tokens, list) else None,
        "licence": text("general.license"),
        "licence_name": text("general.license.name"),
        "licence_link": text("general.license.link"),
        "notice": text("minichat.notice"),
        "source": {
            "repo": text("minichat.source.repo"),
            "revision": text("minichat.source.revision"),
            "sha256": dict(zip(texts("minichat.source.files"), texts("minichat.source.sha256"), strict=False)),
        },
        "minichat_version": text("minichat.version"),
        "recipe": text("minichat.recipe"),
        "tensors": dict(Counter(tensor.kind.name for tensor in header.tensors).most_common()),
        "memory": _memory(header),
    }


def _memory(header: GgufHeader) -> list[dict[str, int]]:
    """What a loaded model takes at the usual contexts and at its longest; empty if the header does not tell enough."""
    if (shape := shape_of_header(header)) is None:
        return []
    contexts = sorted({ctx for ctx in _CONTEXTS if ctx < shape.context_length} | {shape.context_length})
    weights_bytes = sum(tensor.nbytes for tensor in header.tensors)
    at = {ctx: needed(shape, weights_bytes, ctx) for ctx in contexts}
    return [{"ctx": ctx, "kv_cache_bytes": need.kv_cache, "total_bytes": need.total} for ctx, need in at.items()]
