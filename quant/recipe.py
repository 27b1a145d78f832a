"""Which tensor gets which type: llama.cpp's rules for the targets of `quant.types`, without its importance matrices.

The rules are those of llama.cpp's `src/llama-quant.cpp` (`llama_tensor_get_type_impl`, `tensor_type_fallback`), and
tests hold them equal to what `llama_model_quantize` does. Pure data and pure functions; names are GGUF's.

Two rules go by a layer's place in the model. `more_bits` marks the first eighth, the last eighth and every third
layer between: there, errors in V and in the feed-forward's way down cost most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from quant.types import QuantType, Target, by_name

_UNQUANTIZED_PARTS = ("_norm.weight", "ffn_gate_inp.weight")
_FALLBACK = {"q4_K": "q5_0", "q5_K": "q5_1", "q6_K": "q8_0"}  # blocks of 256 -> blocks of 32
_LAYERS_OF_70B = 80


@dataclass(frozen=True)
class Model:
    """What the rules ask about a model besides its tensors' names. `n_experts` is 0 for a dense model."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_experts: int = 0


def more_bits(layer: int, n_layers: int) -> bool:
    """Whether a layer is among the sensitive ones.

    >>> [layer for layer in range(16) if more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def is_quantized(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor follows the target at all: matrices do; norms, routers and vectors stay as they are.

    `shape` is outermost first, as numpy's: (rows, columns).
    """
    is_vector = all(size == 1 for size in shape[:-1])  # GGUF does not count outer dimensions of one
    if is_vector or not name.endswith("weight"):
        return False
    return not any(part in name for part in _UNQUANTIZED_PARTS)


def choose(target: Target, tensors: Sequence[tuple[str, Sequence[int]]], model: Model) -> dict[str, QuantType]:
    """The type of every tensor, by name. `tensors`: (name, shape), layer after layer; shapes outermost first.

    >>> from quant.types import parse_target
    >>> tensors = [("token_embd.weight", (32, 256)), ("output_norm.weight", (256,)), ("output.weight", (32, 256))]
    >>> [t.name for t in choose(parse_target("q4_K_M"), tensors, Model(1, 4, 4)).values()]
    ['q4_K', 'f32', 'q6_K']
    """
    tied = all(name != "output.weight" for name, _ in tensors)
    values = [name for name, _ in tensors if name.endswith("attn_v.weight")]
    chosen = {}
    for name, shape in tensors:
        if not is_quantized(name, shape):
            chosen[name] = by_name("f32")
            continue
        if target.base.block_weights == 1:  # f32, f16, bf16: no mix, and any row fits
            chosen[name] = target.base
            continue
        is_output = name == "output.weight" or (tied and name == "token_embd.weight")
        wanted = _output(target, shape[-1]) if is_output else _inner(target, name, values, model)
        chosen[name] = _fitting(by_name(wanted), shape[-1])
    return chosen


def choose_vision(target: Target, tensors: Sequence[tuple[str, Sequence[int]]]) -> dict[str, QuantType]:
    """The type of every tensor of a projector, a model's part that sees. The weights that make patches are a
    convolution, which has no blocks in llama.cpp: they are float16 at the least.

    >>> from quant.types import parse_target
    >>> tensors = [("v.patch_embd.weight", (64, 3, 14, 14)), ("mm.1.weight", (256, 64)), ("mm.1.bias", (256,))]
    >>> [t.name for t in choose_vision(parse_target("q8_0"), tensors).values()]
    ['f16', 'q8_0', 'f32']
    """
    chosen = {}
    for name, shape in tensors:
        if not is_quantized(name, shape):
            chosen[name] = by_name("f32")
        elif len(shape) > 2 and target.base.block_weights > 1:
            chosen[name] = by_name("f16")
        else:
            chosen[name] = _fitting(target.base, shape[-1])
    return chosen


def _output(target: Target, columns: int) -> str:
    """The matrix that makes the logits, which may be the token embedding."""
    if columns % target.base.block_weights or target.base.name == "q8_0":
        return "q8_0"
    return "q6_K"


def _inner(target: Target, name: str, values: Sequence[str], model: Model) -> str:
    """A matrix inside the model. `values`: the names of all attn_v matrices, in order."""
    base, mix = target.base.name, target.name
    if name.endswith("attn_v.weight"):
        return _attention_values(base, mix, values.index(name), len(values), model)
    if "ffn_down" in name:
        layer = int(name.split(".")[1])
        if mix in ("q4_K_M", "q5_K_M") and more_bits(layer, model.n_layers):
            return "q6_K"
        if mix == "q4_K_S" and layer < model.n_layers // 8:
            return "q5_K"
    if model.n_experts == 8:
        if name.endswith("attn_k.weight"):
            return "q8_0"
        if name.endswith("attn_output.weight") and mix in ("q4_K_S", "q4_K_M"):
            return "q5_K"
    return base


def _attention_values(base: str, mix: str, place: int, n_values: int, model: Model) -> str:
    if model.n_experts == 8:
        return "q8_0"
    kind = base
    if mix in ("q4_K_M", "q5_K_M") and more_bits(place, n_values):
        kind = "q6_K"
    elif mix == "q4_K_S" and place < 4:
        kind = "q5_K"
    # Eight heads share one small V matrix in a 70B model: more bits there are cheap.
    shared = model.n_layers == _LAYERS_OF_70B and model.n_heads != model.n_kv_heads
    return "q5_K" if shared and kind == "q4_K" else kind


def _fitting(wanted: QuantType, columns: int) -> QuantType:
    """`wanted`, or the nearest type whose blocks divide a row. A row that no block divides stays float16.

    llama.cpp refuses rows that are no multiple of 32 for a type of 32-weight blocks; float16 keeps such a model usable.
    """
    if columns % wanted.block_weights and wanted.name in _FALLBACK:
        wanted = by_name(_FALLBACK[wanted.name])
    return by_name("f16") if columns % wanted.block_weights else wanted
