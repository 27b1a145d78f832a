"""The plan: which tensors the GGUF holds, in which shape, and which source tensor each is made from.

    in the GGUF              Hugging Face's format                          Mistral's own
    token_embd.weight        model.embed_tokens.weight                      tok_embeddings.weight
    blk.N.attn_q.weight      model.layers.N.self_attn.q_proj.weight         layers.N.attention.wq.weight
    blk.N.ffn_down.weight    model.layers.N.mlp.down_proj.weight            layers.N.feed_forward.w2.weight
    ... and so on
    output_norm.weight       model.norm.weight                              norm.weight
    output.weight            lm_head.weight                                 output.weight
    blk.N.attn_sinks.weight  made here: llama.cpp's graph for windows asks for it

A model whose head is tied to its embedding has no output.weight.

Hugging Face stores the rows of Q and K with each head's rotary pairs split in halves: all first elements, then all
second ones. llama.cpp's graph wants each pair side by side, as Mistral's own files have them. Reordering is within a
head, so it can be done as rows stream by, whole heads at a time.

A multimodal checkpoint has its text model's tensors under a prefix, and beside them those of the part that sees, which
become a file of their own: they are set aside here (`convert.vision_tensors` plans them).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convert.checkpoint import same_bytes
from convert.config import ModelConfig
from convert.files import WeightFiles
from convert.quantization import DTYPES as SCALED_DTYPES
from convert.quantization import NEEDLESS, Scale, scale_of
from convert.safetensors_file import SourceTensor
from quant.errors import CheckpointError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

DTYPES = ("BF16", "F16", "F32")
NO_SINK = -1e30  # its exponential is 0: attention that leaves nothing aside, as Mistral's does
_TEXT_PREFIXES = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",
}
_SEEING = (
    "vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.",
    "vision_encoder.", "vision_language_adapter.", "patch_merger.", "pre_mm_projector_norm.",
)  # fmt: skip
_ENDS = {
    "token_embd": ("model.embed_tokens", "tok_embeddings"),
    "output_norm": ("model.norm", "norm"),
    "output": ("lm_head", "output"),
}
_LAYER = {
    "attn_norm": ("input_layernorm", "attention_norm"),
    "attn_q": ("self_attn.q_proj", "attention.wq"),
    "attn_k": ("self_attn.k_proj", "attention.wk"),
    "attn_v": ("self_attn.v_proj", "attention.wv"),
    "attn_output": ("self_attn.o_proj", "attention.wo"),
    "ffn_norm": ("post_attention_layernorm", "ffn_norm"),
    "ffn_gate": ("mlp.gate_proj", "feed_forward.w1"),
    "ffn_up": ("mlp.up_proj", "feed_forward.w3"),
    "ffn_down": ("mlp.down_proj", "feed_forward.w2"),
}


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor to make, and what it is made from.

    `head_rows`: rows of one attention head whose pairs are to be interleaved, 0 if none are. `scale`: of 8-bit weights.
    """

    name: str
    shape: tuple[int, ...]  # (rows, columns) or (size,)
    source: SourceTensor
    head_rows: int = 0
    scale: Scale | None = None


@dataclass(frozen=True)
class ConstantTensor:
    """One tensor to make, of one value throughout."""

    name: str
    shape: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class TensorPlan:
    """What becomes of a checkpoint's tensors.

    `tensors` of the text model are in the model's order; `seeing`: those of the part that sees, under the names that
    they have without a prefix (`convert.vision_tensors`).
    """

    tensors: list[PlannedTensor]
    constants: list[ConstantTensor]
    seeing: dict[str, SourceTensor]


def plan_tensors(
    config: ModelConfig,
    found: Mapping[str, SourceTensor],
    native: bool = False,
    block: tuple[int, int] | None = None,
    files: WeightFiles | None = None,
) -> TensorPlan:
    """All tensors of the GGUF. `block`: the rows and columns that share a scale, if 8-bit weights come in blocks.

    `files`: who reads the weights, for a head that is said to be the embedding; without, it is taken to be that.

    CheckpointError if a source tensor is missing, has another shape than the configuration says, a type that cannot be
    read, or belongs nowhere.
    """
    file = "params.json" if native else "config.json"
    tensors, seeing = _parted(found)
    config = _with_own_head(config, tensors, native, files)
    planned = [
        planned_tensor(tensors, name, source_name, shape, head_rows, file, block)
        for name, source_name, shape, head_rows in expected_tensors(config, native)
    ]
    _refuse_strangers(config, tensors, planned, file)
    windowed = range(config.n_layers if config.attention.window else 0)
    sinks = [ConstantTensor(f"blk.{n}.attn_sinks.weight", (config.n_heads,), NO_SINK) for n in windowed]
    return TensorPlan(planned, sinks, seeing)


def planned_tensor(
    found: Mapping[str, SourceTensor],
    name: str,
    source_name: str,
    shape: tuple[int, ...],
    head_rows: int,
    file: str,
    block: tuple[int, int] | None,
) -> PlannedTensor:
    """The tensor `name` of the GGUF, made from `source_name`, which is to have this shape, as `file` says.

    CheckpointError if it is missing, has another shape, or is of a type that cannot be read.
    """
    source = found.get(source_name)
    if source is None:
        raise CheckpointError(f"the checkpoint lacks the tensor {source_name}: fetch it again, with its {file}")
    if source.shape != shape:
        raise CheckpointError(
            f"{source_name} has the shape {source.shape}, and {file} says {shape}: one of them is wrong"
        )
    scale = None
    if source.dtype in SCALED_DTYPES and len(shape) == 2:
        scale = scale_of(source_name, shape, found, block)
    elif source.dtype not in DTYPES:
        raise CheckpointError(f"{source_name} has the type {source.dtype}, and minichat reads {', '.join(DTYPES)}")
    return PlannedTensor(name, shape, source, head_rows, scale)


def interleave_pairs(rows: "NDArray[Any]", head_rows: int) -> "NDArray[Any]":
    """Rows of whole heads, halves to pairs: rows 0 1 2 3 of a head of four become 0 2 1 3. (n, columns) -> same.

    >>> import numpy as np
    >>> interleave_pairs(np.array([[0], [1], [2], [3]]), 4).ravel().tolist()
    [0, 2, 1, 3]
    """
    heads, half = rows.shape[0] // head_rows, head_rows // 2
    paired = rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2)  # (heads, half, 2, columns)
    return paired.reshape(rows.shape)


def _parted(found: Mapping[str, SourceTensor]) -> tuple[dict[str, SourceTensor], dict[str, SourceTensor]]:
    """The text model's tensors under the names that they have when alone, and those of the part that sees."""
    text: dict[str, SourceTensor] = {}
    seeing: dict[str, SourceTensor] = {}
    for name, tensor in found.items():
        if name.startswith(_SEEING):
            part, plain = seeing, name.removeprefix("model.")
        else:
            prefix = next((prefix for prefix in _TEXT_PREFIXES if name.startswith(prefix)), "")
            part, plain = text, _TEXT_PREFIXES.get(prefix, "") + name.removeprefix(prefix)
        if plain in part:
            raise CheckpointError(f"{name} and {part[plain].name} are the same tensor of the model")
        part[plain] = tensor
    return text, seeing


def expected_tensors(config: ModelConfig, native: bool) -> list[tuple[str, str, tuple[int, ...], int]]:
    """(GGUF name, source name, shape, head_rows) of every tensor that has a source."""
    hidden, inner = config.hidden, config.feed_forward
    q_rows, kv_rows = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (config.vocab_size, hidden), "output": (config.vocab_size, hidden), "output_norm": (hidden,),
        "attn_norm": (hidden,), "attn_q": (q_rows, hidden), "attn_k": (kv_rows, hidden), "attn_v": (kv_rows, hidden),
        "attn_output": (hidden, q_rows), "ffn_norm": (hidden,), "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }  # fmt: skip
    stem = "layers" if native else "model.layers"
    expected = [("token_embd", "", _ENDS["token_embd"][native])]
    for n in range(config.n_layers):
        expected += [(part, f"blk.{n}.", f"{stem}.{n}.{names[native]}") for part, names in _LAYER.items()]
    expected += [
        (part, "", _ENDS[part][native]) for part in ("output_norm", "output")[: 1 if config.tied_embeddings else 2]
    ]
    return [
        (f"{layer}{part}.weight", f"{source}.weight", shapes[part], config.head_dim if _is_split(part, native) else 0)
        for part, layer, source in expected
    ]


def _with_own_head(
    config: ModelConfig, tensors: Mapping[str, SourceTensor], native: bool, files: WeightFiles | None
) -> ModelConfig:
    """Untied, if the checkpoint holds a head that is another matrix than the embedding: so do transformers, too."""
    head, embedding = (tensors.get(f"{_ENDS[part][native]}.weight") for part in ("output", "token_embd"))
    if not config.tied_embeddings or head is None or embedding is None:
        return config
    if files is None or same_bytes(head, embedding, files):
        return config
    return replace(config, tied_embeddings=False)


def _is_split(part: str, native: bool) -> bool:
    return part in ("attn_q", "attn_k") and not native


def _refuse_strangers(
    config: ModelConfig, tensors: Mapping[str, SourceTensor], planned: list[PlannedTensor], file: str
) -> None:
    """CheckpointError for a tensor that the model has no place for: something is not as the configuration says."""
    used = {tensor.source.name for tensor in planned} | {tensor.scale.source.name for tensor in planned if tensor.scale}
    for name, tensor in tensors.items():
        if tensor.name in used or name.endswith((".rotary_emb.inv_freq", *NEEDLESS)):
            continue
        if config.tied_embeddings and name in ("lm_head.weight", "output.weight"):
            continue  # the embedding stands for it
        raise CheckpointError(
            f"the tensor {tensor.name} has no place in the model that {file} describes: fetch both again"
        )
