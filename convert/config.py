"""What a checkpoint says about its model, checked, in one frozen record.

config.json is Hugging Face's description, params.json (`convert.params`) Mistral's own. Only what llama.cpp computes is
accepted; anything that would silently compute something else is refused by name. Both spellings of the rotary base are
read: `rope_parameters` (transformers 5) and `rope_theta`. Of a multimodal checkpoint this is the text model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from convert.fields import MAX_CONTEXT, Fields, shown
from convert.windows import EVERYTHING, Attention, attention
from quant.errors import CheckpointError

ARCHITECTURES = ("MistralForCausalLM", "MinistralForCausalLM")
MERGING = ("Mistral3ForConditionalGeneration",)  # models that see, with a merger of patches
MULTIMODAL = (*MERGING, "LlavaForConditionalGeneration")
_BY_TYPE = {
    "mistral": ARCHITECTURES[0],
    "ministral": ARCHITECTURES[1],
    "mistral3": MULTIMODAL[0],
    "llava": MULTIMODAL[1],
}
_TEXT_MODELS = ("mistral", "ministral", None)
# transformers leaves out of a text_config what is MistralConfig's default.
_DEFAULTS = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
}  # fmt: skip
MAX_LAYERS = 512  # llama.cpp's bound
_DEFAULT_WINDOW = 4096  # of transformers' MistralConfig and MinistralConfig


@dataclass(frozen=True)
class ModelConfig:
    """A model's shape. `context_length` is in tokens."""

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
    attention: Attention = EVERYTHING

    @property
    def architecture(self) -> str:
        """GGUF's name for the graph. That of `granite_swa` is `llama`'s with windows."""
        return "granite_swa" if self.attention.window else "llama"


def read_config(config: Mapping[str, Any] | None, params: Mapping[str, Any] | None, native: bool) -> ModelConfig:
    """The record of a checkpoint with a config.json, a params.json, or both; `native` if its weights are Mistral's own.

    Where both are there, the one that belongs to the weights counts, with one exception: the config.json of Ministral
    8B says nothing of its attention pattern and names the window as its context; its params.json tells. Of two
    contexts without a pattern, config.json's is the one that is meant for users.
    """
    from convert.params import parse_params

    own = parse_params(params) if params is not None else None
    hub = parse_config(config) if config is not None and (not native or _is_readable(config)) else None
    if own is None:
        if hub is None:
            raise CheckpointError("a checkpoint needs a config.json or a params.json that describes its model")
        return hub
    if hub is None:
        return own
    base = own if native else hub
    told = own if own.attention.window or not hub.attention.window else hub
    context = max(own.context_length, hub.context_length) if own.attention.window else hub.context_length
    for key in ("n_layers", "hidden", "n_heads", "n_kv_heads", "head_dim", "feed_forward"):
        ours, theirs = getattr(own, key), getattr(hub, key)
        if ours != theirs:
            raise CheckpointError(
                f"params.json and config.json are of two models ({key}: {ours}, {theirs}): fetch both"
            )
    return replace(base, attention=told.attention, context_length=context)


def parse_config(config: Mapping[str, Any]) -> ModelConfig:
    """The record of a config.json in Hugging Face's format.

    CheckpointError for an architecture, a number format or an attention pattern that minichat cannot convert.
    """
    fields = _text(Fields("config.json", config))
    heads, hidden = fields.size("num_attention_heads"), fields.size("hidden_size")
    context = fields.size("max_position_embeddings", MAX_CONTEXT)
    layers = fields.size("num_hidden_layers", MAX_LAYERS)
    model = ModelConfig(
        n_layers=layers,
        hidden=hidden,
        feed_forward=fields.size("intermediate_size"),
        n_heads=heads,
        n_kv_heads=fields.size("num_key_value_heads"),
        head_dim=fields.size("head_dim", default=hidden // heads or 1),
        vocab_size=fields.size("vocab_size"),
        context_length=context,
        rope_theta=_rope_theta(fields),
        norm_eps=fields.positive("rms_norm_eps"),
        tied_embeddings=config.get("tie_word_embeddings", fields.get("tie_word_embeddings")) is True,
        attention=attention(_windows(fields, layers), layers, context, fields.file),
    )
    check_heads(model, fields.file)
    return model


def check_heads(model: ModelConfig, file: str) -> None:
    """CheckpointError for heads that share no KV heads evenly, or whose elements make no pairs."""
    heads, kv_heads, size = model.n_heads, model.n_kv_heads, model.head_dim
    if heads % kv_heads or size % 2:
        raise CheckpointError(f"{file}: {heads} heads, {kv_heads} KV heads of {size} do not fit together")


def _is_readable(config: Mapping[str, Any]) -> bool:
    """Whether a config.json beside native weights says something at all; some repos hold an empty one."""
    return bool(config.get("architectures"))


def _text(fields: Fields) -> Fields:
    """The text model's keys; those of a multimodal model stand under `text_config`."""
    names = fields.get("architectures")
    kind = fields.get("model_type")
    name = names[0] if isinstance(names, list) and names else _BY_TYPE.get(kind if isinstance(kind, str) else "", kind)
    if name is None:
        raise CheckpointError("config.json names no architecture: fetch it again, or add `architectures`")
    if name in MULTIMODAL:
        text = fields.inside("text_config")
        if not text.values:
            raise CheckpointError("config.json: text_config is missing: fetch it again")
        if text.get("model_type") not in (
            _TEXT_MODELS if name in MERGING else _TEXT_MODELS[:1]
        ):  # LLaVA's own is Llama
            raise CheckpointError(f"config.json: the text model {shown(text.get('model_type'))} is unknown")
        fields = Fields(text.file, _DEFAULTS | dict(text.values))
    elif name not in ARCHITECTURES:
        known = ", ".join((*ARCHITECTURES, *MULTIMODAL))
        raise CheckpointError(f"the architecture {shown(name)} is unknown: minichat converts {known}")
    if fields.values.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"config.json: the activation {shown(fields.get('hidden_act'))} is unknown, only silu is")
    for key in ("attention_bias", "mlp_bias"):
        if fields.get(key):
            raise CheckpointError(f"config.json: {key} is set, and Mistral's models have none")
    return fields


def _windows(fields: Fields, layers: int) -> list[int | None]:
    """Each layer's window in tokens, None where it attends to everything. Without `layer_types` all layers slide.

    A file that does not name the window means transformers' default; one without windows says null.
    """
    is_none = "sliding_window" in fields.values and fields.get("sliding_window") is None
    size = None if is_none else fields.size("sliding_window", MAX_CONTEXT, default=_DEFAULT_WINDOW)
    kinds = fields.get("layer_types")
    if kinds is None:
        return [size] * layers
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise CheckpointError(f"config.json: layer_types is no list of {layers} layers")
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise CheckpointError(f"config.json: a layer of the type {shown(kind)} is unknown to minichat")
    if "sliding_attention" in kinds and size is None:
        raise CheckpointError("config.json: layers slide, and there is no sliding_window")
    return [size if kind == "sliding_attention" else None for kind in kinds]


def _rope_theta(fields: Fields) -> float:
    both = [fields.inside(key) for key in ("rope_parameters", "rope_scaling")]  # of two, transformers takes the second
    for rope in both:
        kind = rope.values.get("rope_type", rope.values.get("type", "default"))
        if kind != "default":
            raise CheckpointError(f"config.json: rotary scaling {shown(kind)} is unknown, only the default is")
    rope = both[0] if both[0].values else both[1]
    if rope.values.get("partial_rotary_factor", fields.values.get("partial_rotary_factor", 1.0)) != 1.0:
        raise CheckpointError("config.json: a partial rotary factor is unknown to minichat")
    return (rope if "rope_theta" in rope.values else fields).positive("rope_theta")
