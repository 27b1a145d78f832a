"""The plan of what sees: which tensors its file (an mmproj) holds, and which source tensor each is made from.

    in the GGUF               Hugging Face's format                              Mistral's own
    v.patch_embd.weight       vision_tower.patch_conv.weight                     vision_encoder.patch_conv.weight
    v.pre_ln.weight           vision_tower.ln_pre.weight                         vision_encoder.ln_pre.weight
    v.blk.N.attn_q.weight     ....transformer.layers.N.attention.q_proj.weight   ....layers.N.attention.wq.weight
    ... and so on
    mm.input_norm.weight      multi_modal_projector.norm.weight                  pre_mm_projector_norm.weight
    mm.patch_merger.weight    ....patch_merger.merging_layer.weight              patch_merger.merging_layer.weight
    mm.1.weight, mm.1.bias    multi_modal_projector.linear_1                     vision_language_adapter.w_in
    mm.2.weight, mm.2.bias    multi_modal_projector.linear_2                     vision_language_adapter.w_out
    v.token_embd.img_break    one row of the text model's embedding: libmtmd puts it behind each row of a picture

Q and K are split as the text model's are (`convert.tensors`). Pixtral 12B has neither merger nor norm; its two matrices
have biases.
"""

from collections.abc import Mapping
from dataclasses import replace

from convert.quantization import NEEDLESS
from convert.safetensors_file import SourceTensor
from convert.tensors import DTYPES, PlannedTensor, planned_tensor
from convert.vision import CHANNELS, VisionConfig
from quant.errors import CheckpointError

BREAK = "v.token_embd.img_break"
BREAK_MARK = "[IMG_BREAK]"
_LAYER = {
    "ln1": ("attention_norm", "attention_norm"),
    "attn_q": ("attention.q_proj", "attention.wq"),
    "attn_k": ("attention.k_proj", "attention.wk"),
    "attn_v": ("attention.v_proj", "attention.wv"),
    "attn_out": ("attention.o_proj", "attention.wo"),
    "ln2": ("ffn_norm", "ffn_norm"),
    "ffn_gate": ("feed_forward.gate_proj", "feed_forward.w1"),
    "ffn_up": ("feed_forward.up_proj", "feed_forward.w3"),
    "ffn_down": ("feed_forward.down_proj", "feed_forward.w2"),
}
_TOWER = ("vision_tower", "vision_encoder")
_JOINT = {
    "mm.input_norm": ("multi_modal_projector.norm", "pre_mm_projector_norm"),
    "mm.patch_merger": ("multi_modal_projector.patch_merger.merging_layer", "patch_merger.merging_layer"),
    "mm.1": ("multi_modal_projector.linear_1", "vision_language_adapter.w_in"),
    "mm.2": ("multi_modal_projector.linear_2", "vision_language_adapter.w_out"),
}


def plan_vision(
    vision: VisionConfig,
    found: Mapping[str, SourceTensor],
    embedding: PlannedTensor,
    break_id: int,
    native: bool = False,
    block: tuple[int, int] | None = None,
) -> list[PlannedTensor]:
    """All tensors of the mmproj, in the model's order. `found`: those that see, by the names in the table above.

    `embedding`: of the text model, whose row `break_id` is [IMG_BREAK]'s; `block`: see `convert.tensors`.
    CheckpointError as there.
    """
    file = "params.json" if native else "config.json"
    planned = [
        planned_tensor(found, name, source, shape, vision.head_dim if is_split else 0, file, block)
        for name, source, shape, is_split in expected(vision, native)
    ]
    used = {tensor.source.name for tensor in planned} | {tensor.scale.source.name for tensor in planned if tensor.scale}
    for name, tensor in found.items():
        if tensor.name not in used and not name.endswith(NEEDLESS):
            raise CheckpointError(
                f"the tensor {tensor.name} has no place in the vision model that {file} describes: fetch both again"
            )
    return [*planned, _row(embedding, break_id)]


def expected(vision: VisionConfig, native: bool) -> list[tuple[str, str, tuple[int, ...], bool]]:
    """(GGUF name, source name, shape, whether its rotary pairs are split) of every tensor but the embedding's row."""
    hidden, inner, width = vision.hidden, vision.feed_forward, vision.text_width
    matrix, wide, narrow = (hidden, hidden), (inner, hidden), (hidden, inner)
    shapes: dict[str, tuple[int, ...]] = {
        "ln1": (hidden,), "attn_q": matrix, "attn_k": matrix, "attn_v": matrix, "attn_out": matrix, "ln2": (hidden,),
        "ffn_gate": wide, "ffn_up": wide, "ffn_down": narrow, "mm.input_norm": (hidden,),
        "mm.patch_merger": (hidden, hidden * vision.merge**2), "mm.1": (width, hidden), "mm.2": (width, width),
    }  # fmt: skip
    tower = _TOWER[native]
    patches = (hidden, CHANNELS, vision.patch, vision.patch)
    tensors: list[tuple[str, str, tuple[int, ...], bool]] = [
        ("v.patch_embd.weight", f"{tower}.patch_conv.weight", patches, False),
        ("v.pre_ln.weight", f"{tower}.ln_pre.weight", (hidden,), False),
    ]
    for n in range(vision.n_layers):
        for part, names in _LAYER.items():
            source = f"{tower}.transformer.layers.{n}.{names[native]}.weight"
            is_split = part in ("attn_q", "attn_k") and not native
            tensors.append((f"v.blk.{n}.{part}.weight", source, shapes[part], is_split))
    for part, names in _JOINT.items():
        is_matrix = part in ("mm.1", "mm.2")
        if is_matrix or vision.merges:
            tensors.append((f"{part}.weight", f"{names[native]}.weight", shapes[part], False))
        if is_matrix and vision.bias:
            tensors.append((f"{part}.bias", f"{names[native]}.bias", (width,), False))
    return tensors


def _row(embedding: PlannedTensor, row: int) -> PlannedTensor:
    """One row of the embedding, as a tensor of its own."""
    source, (rows, columns) = embedding.source, embedding.shape
    if source.dtype not in DTYPES:
        raise CheckpointError(f"{source.name} has the type {source.dtype}, and an embedding is not of 8 bits here")
    size = source.nbytes // rows
    part = replace(source, shape=(columns,), offset=source.offset + row * size, nbytes=size)
    return PlannedTensor(BREAK, (columns,), part)
