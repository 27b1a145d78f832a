"""params.json, Mistral's own description of a model, as a `ModelConfig`.

    dim, n_layers, head_dim, hidden_dim, n_heads, n_kv_heads, norm_eps, vocab_size, rope_theta     the shape
    sliding_window or _sliding_window    a window for all layers, or a list that repeats over them; null: everything
    max_position_embeddings or max_seq_len    the context, which many files leave out

Mistral's reference program (mistral-inference) is the source of the defaults.
"""

from collections.abc import Mapping
from typing import Any

from convert.config import MAX_LAYERS, ModelConfig, check_heads
from convert.fields import MAX_CONTEXT, Fields, shown
from convert.windows import attention
from quant.errors import CheckpointError

# A file that names no context: 32k is what Mistral's models of this kind have at least; a pattern with layers in full
# is there for the longer one, 128k.
_CONTEXT, _RAGGED_CONTEXT = 32768, 131072
_UNKNOWN = ("moe", "yarn", "llama_4_scaling", "q_lora_rank", "kv_lora_rank", "ssm_config", "lora", "multimodal")
_MODEL_TYPES = ("transformer", None)


def parse_params(params: Mapping[str, Any]) -> ModelConfig:
    """The record of a params.json. CheckpointError for what minichat cannot convert."""
    fields = Fields("params.json", params)
    for key in _UNKNOWN:
        if fields.get(key):
            raise CheckpointError(f"params.json: {key} is set, which minichat cannot convert")
    if fields.get("model_type") not in _MODEL_TYPES or fields.get("causal") is False:
        raise CheckpointError("params.json: this is no causal transformer, and minichat converts no other models")
    hidden, heads = fields.size("dim"), fields.size("n_heads")
    layers = fields.size("n_layers", MAX_LAYERS)
    windows = _windows(fields)
    context = _context(fields, windows)
    model = ModelConfig(
        n_layers=layers,
        hidden=hidden,
        feed_forward=fields.size("hidden_dim"),
        n_heads=heads,
        n_kv_heads=fields.size("n_kv_heads", default=heads),
        head_dim=fields.size("head_dim", default=hidden // heads or 1),
        vocab_size=fields.size("vocab_size"),
        context_length=context,
        rope_theta=fields.positive("rope_theta", default=1e4 if any(windows) else 1e6),
        norm_eps=fields.positive("norm_eps"),
        tied_embeddings=fields.get("tied_embeddings") is True,
        attention=attention(windows, layers, context, fields.file),
    )
    check_heads(model, fields.file)
    return model


def _windows(fields: Fields) -> list[int | None]:
    key = "sliding_window" if fields.get("sliding_window") is not None else "_sliding_window"
    value = fields.get(key)
    windows = value if isinstance(value, list) else [value]
    for window in windows:
        if window is not None and (type(window) is not int or not 0 < window <= MAX_CONTEXT):
            raise CheckpointError(f"params.json: {key} is {shown(value)}, neither a window nor a list of them")
    return list(windows)


def _context(fields: Fields, windows: list[int | None]) -> int:
    """The context in tokens, at least as long as the longest window."""
    keys = [key for key in ("max_position_embeddings", "max_seq_len") if fields.get(key) is not None]
    told = [fields.size(key, MAX_CONTEXT) for key in keys] or [_CONTEXT]
    sizes = [window for window in windows if window is not None]
    longest = max(told + sizes)
    is_ragged = None in windows and bool(sizes)
    return _RAGGED_CONTEXT if is_ragged and longest == max(sizes) < _RAGGED_CONTEXT else longest
