"""The plan: which tensors the GGUF holds, in which order and shape, and which source tensor each is made from.

    model.embed_tokens.weight                      token_embd.weight
    model.layers.N.self_attn.q_proj.weight         blk.N.attn_q.weight      rows reordered
    model.layers.N.mlp.down_proj.weight            blk.N.ffn_down.weight    ... and so on
    model.norm.weight                              output_norm.weight
    lm_head.weight                                 output.weight            absent if tied to the embedding

Hugging Face stores the rows of Q and K with each head's rotary pairs split in halves: all first elements, then all
second ones. llama.cpp's graph wants each pair side by side. Reordering is within a head, so it can be done as rows
stream by, whole heads at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convert.config import ModelConfig
from convert.safetensors_file import SourceTensor
from quant.errors import CheckpointError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

DTYPES = ("BF16", "F16", "F32")


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor to make. `head_rows`: rows of one attention head whose pairs are to be interleaved, 0 if none are."""

    name: str
    shape: tuple[int, ...]  # (rows, columns) or (size,)
    source: SourceTensor
    head_rows: int = 0


def plan_tensors(config: ModelConfig, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    """All tensors of the GGUF, layer after layer.

    CheckpointError if a source tensor is missing, has another shape than the config says, a type that is no plain
    float, or belongs nowhere.
    """
    planned = []
    for name, source_name, shape, head_rows in _expected(config):
        source = tensors.get(source_name)
        if source is None:
            raise CheckpointError(f"the checkpoint lacks the tensor {source_name}: fetch it again")
        if source.shape != shape:
            raise CheckpointError(f"{source_name} has the shape {source.shape}, and config.json says {shape}")
        if source.dtype not in DTYPES:
            raise CheckpointError(f"{source_name} has the type {source.dtype}, and minichat reads {', '.join(DTYPES)}")
        planned.append(PlannedTensor(name, shape, source, head_rows))
    used = {tensor.source.name for tensor in planned}
    for name in tensors:
        if name not in used and not _is_needless(name, config):
            raise CheckpointError(f"the tensor {name} has no place in the model that config.json describes")
    return planned


def interleave_pairs(rows: "NDArray[Any]", head_rows: int) -> "NDArray[Any]":
    """Rows of whole heads, halves to pairs: rows 0 1 2 3 of a head of four become 0 2 1 3. (n, columns) -> same.

    >>> import numpy as np
    >>> interleave_pairs(np.array([[0], [1], [2], [3]]), 4).ravel().tolist()
    [0, 2, 1, 3]
    """
    heads, half = rows.shape[0] // head_rows, head_rows // 2
    paired = rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2)  # (heads, half, 2, columns)
    return paired.reshape(rows.shape)


def _expected(config: ModelConfig) -> list[tuple[str, str, tuple[int, ...], int]]:
    """(GGUF name, source name, shape, head_rows) of every tensor."""
    hidden, inner = config.hidden, config.feed_forward
    q_rows, kv_rows = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    layer: list[tuple[str, str, tuple[int, ...], int]] = [
        ("attn_norm", "input_layernorm", (hidden,), 0),
        ("attn_q", "self_attn.q_proj", (q_rows, hidden), config.head_dim),
        ("attn_k", "self_attn.k_proj", (kv_rows, hidden), config.head_dim),
        ("attn_v", "self_attn.v_proj", (kv_rows, hidden), 0),
        ("attn_output", "self_attn.o_proj", (hidden, q_rows), 0),
        ("ffn_norm", "post_attention_layernorm", (hidden,), 0),
        ("ffn_gate", "mlp.gate_proj", (inner, hidden), 0),
        ("ffn_up", "mlp.up_proj", (inner, hidden), 0),
        ("ffn_down", "mlp.down_proj", (hidden, inner), 0),
    ]
    expected: list[tuple[str, str, tuple[int, ...], int]] = [
        ("token_embd.weight", "model.embed_tokens.weight", (config.vocab_size, hidden), 0)
    ]
    for n in range(config.n_layers):
        for name, source, shape, head_rows in layer:
            expected.append((f"blk.{n}.{name}.weight", f"model.layers.{n}.{source}.weight", shape, head_rows))
    expected.append(("output_norm.weight", "model.norm.weight", (hidden,), 0))
    if not config.tied_embeddings:
        expected.append(("output.weight", "lm_head.weight", (config.vocab_size, hidden), 0))
    return expected


def _is_needless(name: str, config: ModelConfig) -> bool:
    """Tables that old versions stored and every program computes, and a head that the embedding replaces."""
    return name.endswith("rotary_emb.inv_freq") or (config.tied_embeddings and name == "lm_head.weight")
