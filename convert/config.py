"""What a checkpoint's config.json says about its model, checked, in one frozen record.

Only what llama.cpp's `llama` graph computes is accepted; anything that would silently compute something else is
refused by name. Both spellings of the rotary base are read: `rope_parameters` (transformers 5) and `rope_theta`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quant.errors import CheckpointError

_ARCHITECTURES = ("MistralForCausalLM", "MinistralForCausalLM")
_MAX_SIZE = 1 << 24  # of any dimension; far above any model, and products of three stay small
_MAX_LAYERS = 512  # llama.cpp's bound


@dataclass(frozen=True)
class ModelConfig:
    """A model's shape. `architecture` is the GGUF's name for its graph."""

    architecture: str
    n_layers: int
    hidden: int
    feed_forward: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    rope_theta: float
    norm_eps: float
    tied_embeddings: bool


def parse_config(config: Mapping[str, Any]) -> ModelConfig:
    """The record of a config.json in Hugging Face's format.

    CheckpointError for an architecture, a number format or an attention pattern that minichat cannot convert.
    """
    _refuse_unknown(config)
    heads, hidden = _size(config, "num_attention_heads"), _size(config, "hidden_size")
    head_dim = _size(config, "head_dim") if config.get("head_dim") is not None else hidden // heads
    kv_heads = _size(config, "num_key_value_heads")
    if heads % kv_heads or head_dim % 2 or not head_dim:
        raise CheckpointError(f"config.json: {heads} heads, {kv_heads} KV heads of {head_dim} do not fit together")
    context = _size(config, "max_position_embeddings", 1 << 30)
    _refuse_windows(config, context)
    return ModelConfig(
        architecture="llama",
        n_layers=_size(config, "num_hidden_layers", _MAX_LAYERS),
        hidden=hidden,
        feed_forward=_size(config, "intermediate_size"),
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=_size(config, "vocab_size"),
        context_length=context,
        rope_theta=_rope_theta(config),
        norm_eps=_positive(config, "rms_norm_eps"),
        tied_embeddings=config.get("tie_word_embeddings") is True,
    )


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else config.get("model_type")
    if name not in _ARCHITECTURES:
        known = " and ".join(_ARCHITECTURES)
        raise CheckpointError(f"the architecture {_shown(name)} is unknown: minichat converts {known}")
    method = config.get("quantization_config")
    if method:
        kind = method.get("quant_method") if isinstance(method, dict) else method
        raise CheckpointError(
            f"the weights are quantized already ({_shown(kind)}): convert the bf16 checkpoint instead"
        )
    if config.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"config.json: the activation {_shown(config['hidden_act'])} is unknown, only silu is")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            raise CheckpointError(f"config.json: {key} is set, and Mistral's models have none")


def _refuse_windows(config: Mapping[str, Any], context: int) -> None:
    """A sliding window matters only if a context can outgrow it."""
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    if isinstance(kinds, list) and "sliding_attention" not in kinds:
        return
    if window is not None and _size(config, "sliding_window", 1 << 30) < context:
        raise CheckpointError(
            f"config.json: layers attend to a sliding window of {window} tokens in a context of {context}, "
            "which minichat cannot convert yet"
        )


def _rope_theta(config: Mapping[str, Any]) -> float:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise CheckpointError("config.json: its rope parameters are no object")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise CheckpointError(f"config.json: rotary scaling {_shown(kind)} is unknown, only the default is")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        raise CheckpointError("config.json: a partial rotary factor is unknown to minichat")
    return _positive(rope if "rope_theta" in rope else config, "rope_theta")


def _size(config: Mapping[str, Any], key: str, largest: int = _MAX_SIZE) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
        raise CheckpointError(f"config.json: {key} is {_shown(value)}, no sensible size")
    return value


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e12:
        raise CheckpointError(f"config.json: {key} is {_shown(value)}, no sensible number")
    return float(value)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:40]
