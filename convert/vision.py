"""What a checkpoint says about the part of its model that sees, checked, in one frozen record.

    config.json    vision_config, and beside it what joins it to the text model
    params.json    vision_encoder

It is a Pixtral tower (a transformer over patches with a rotary position for row and column), in newer models a merger
of neighbouring patches with a norm before it, and two matrices that lead to the text model's width. llama.cpp's graph
for it (libmtmd's `pixtral`) has fixed what a checkpoint could say otherwise: the rotary base, the epsilon of all norms,
GELU between the two matrices, a tower that is read after its last layer. A checkpoint that wants something else is
refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.config import MAX_LAYERS, ModelConfig
from convert.fields import Fields, read_json, shown
from quant.errors import CheckpointError

NORM_EPS = 1e-5  # of the tower and of the merger's norm, in transformers, in Mistral's own program and in libmtmd
ROPE_THETA = 10_000.0  # libmtmd's
CHANNELS = 3
PREPROCESSOR = "preprocessor_config.json"
ACTIVATION = "silu"  # of a layer: that of every Pixtral tower
# What Pixtral's pictures are normalized with, where no file says so: CLIP's numbers, which mistral-common has, too.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_MAX_WIDTH, _MAX_SIDE, _MAX_PATCH, _MAX_MERGE = 1 << 16, 1 << 14, 1 << 8, 1 << 4
_MERGERS = ("patch_merge", None, "")


@dataclass(frozen=True)
class VisionConfig:
    """The shape of what sees. Pictures are scaled to `longest_side` pixels, and cut into patches of `patch` x `patch`.

    `merge` x `merge` patches become one embedding, if there is a merger (`merges`); else `merge` is 1. `text_width`: of
    the text model's embedding. `bias`: the matrices between have one. `break_id`: of [IMG_BREAK], if a file says it.
    """

    n_layers: int
    hidden: int
    feed_forward: int
    n_heads: int
    longest_side: int
    patch: int
    merge: int
    merges: bool
    bias: bool
    text_width: int
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION
    break_id: int | None = None

    @property
    def head_dim(self) -> int:
        """The width of one attention head."""
        return self.hidden // self.n_heads


def sees(config: Mapping[str, Any] | None, params: Mapping[str, Any] | None, native: bool) -> bool:
    """Whether a checkpoint's description is of a model that sees. `native`: its weights are in Mistral's own format."""
    described, key = (params, "vision_encoder") if native else (config, "vision_config")
    return bool((described or {}).get(key))


def folder_sees(folder: Path) -> bool:
    """Whether one of the descriptions in a folder tells of a model that sees; False if they cannot be read."""
    try:
        config, params = (_read(folder / name) for name in ("config.json", "params.json"))
    except CheckpointError:
        return False
    return sees(config, params, False) or sees(config, params, True)


def read_vision(
    config: Mapping[str, Any] | None, params: Mapping[str, Any] | None, native: bool, text: ModelConfig, folder: Path
) -> VisionConfig:
    """The record of a checkpoint that `sees`. CheckpointError for what libmtmd would compute otherwise.

    `folder`: where a preprocessor_config.json may be.
    """
    if native:
        return _of_params(Fields("params.json", params or {}), text)
    path = folder / PREPROCESSOR
    return _of_config(Fields("config.json", config or {}), text, Fields(PREPROCESSOR, _read(path)))


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _of_params(fields: Fields, text: ModelConfig) -> VisionConfig:
    vision = fields.inside("vision_encoder")
    merger = vision.get("mm_projector_id")
    if merger not in _MERGERS:
        raise CheckpointError(f"params.json: mm_projector_id is {shown(merger)}, and minichat knows patch_merge")
    _require(vision, "rope_theta", vision.positive("rope_theta", ROPE_THETA), ROPE_THETA)
    merges = bool(merger)
    if bool(vision.get("add_pre_mm_projector_layer_norm")) != merges:
        raise CheckpointError("params.json: a merger of patches and a norm before it come together, and here is one")
    token = vision.get("image_break_token_id")
    side = "image_size" if vision.get("max_image_size") is None else "max_image_size"
    return _checked(
        VisionConfig(
            n_layers=vision.size("num_hidden_layers", MAX_LAYERS),
            hidden=vision.size("hidden_size", _MAX_WIDTH),
            feed_forward=vision.size("intermediate_size", _MAX_WIDTH),
            n_heads=vision.size("num_attention_heads", _MAX_WIDTH),
            longest_side=vision.size(side, _MAX_SIDE),
            patch=vision.size("patch_size", _MAX_PATCH),
            merge=vision.size("spatial_merge_size", _MAX_MERGE, 2) if merges else 1,
            merges=merges,
            bias=vision.get("adapter_bias") is not False,
            text_width=text.hidden,
            break_id=token if type(token) is int else None,
        ),
        vision,
    )


def _of_config(fields: Fields, text: ModelConfig, preprocessor: Fields) -> VisionConfig:
    """transformers' defaults stand for what its files leave out."""
    from convert.config import MERGING

    vision = fields.inside("vision_config")
    merges = fields.get("architectures") in ([name] for name in MERGING) or fields.get("model_type") == "mistral3"
    if vision.get("model_type") != "pixtral":
        raise CheckpointError(
            f"config.json: the vision model {shown(vision.get('model_type'))} is unknown: pixtral is known"
        )
    if (activation := vision.values.get("hidden_act", "gelu")) != ACTIVATION:
        raise CheckpointError(
            f"config.json: the activation {shown(activation)} of the vision model is unknown, only {ACTIVATION} is"
        )
    rope = vision.inside("rope_parameters")
    _require(vision, "rope_theta", (rope if rope.values else vision).positive("rope_theta", ROPE_THETA), ROPE_THETA)
    _require(fields, "projector_hidden_act", fields.values.get("projector_hidden_act", "gelu"), "gelu")
    _require(fields, "vision_feature_layer", fields.values.get("vision_feature_layer", -1 if merges else -2), -1)
    if merges:
        _require(fields, "the text model's rms_norm_eps", text.norm_eps, NORM_EPS)
    else:
        _require(fields, "vision_feature_select_strategy", fields.get("vision_feature_select_strategy"), "full")
    mean, deviation = (
        _triple(preprocessor, key, default) for key, default in (("image_mean", MEAN), ("image_std", DEVIATION))
    )
    largest = vision.size("image_size", _MAX_SIDE, 1024)
    return _checked(
        VisionConfig(
            n_layers=vision.size("num_hidden_layers", MAX_LAYERS, 24),
            hidden=vision.size("hidden_size", _MAX_WIDTH, 1024),
            feed_forward=vision.size("intermediate_size", _MAX_WIDTH, 4096),
            n_heads=vision.size("num_attention_heads", _MAX_WIDTH, 16),
            longest_side=min(largest, preprocessor.inside("size").size("longest_edge", _MAX_SIDE, largest)),
            patch=vision.size("patch_size", _MAX_PATCH, 16),
            merge=fields.size("spatial_merge_size", _MAX_MERGE, 2) if merges else 1,
            merges=merges,
            bias=fields.values.get("multimodal_projector_bias", not merges) is True,
            text_width=text.hidden,
            mean=mean,
            deviation=deviation,
        ),
        vision,
    )


def _require(fields: Fields, key: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise CheckpointError(f"{fields.file}: {key} is {shown(value)}, and llama.cpp computes {shown(wanted)} only")


def _checked(vision: VisionConfig, fields: Fields) -> VisionConfig:
    """CheckpointError for a tower that libmtmd has no graph for."""
    _require(fields, "num_channels", fields.values.get("num_channels", CHANNELS), CHANNELS)
    if (
        vision.hidden % vision.n_heads or vision.head_dim % 4
    ):  # a head has pairs for the row, and as many for the column
        raise CheckpointError(f"{fields.file}: {vision.n_heads} heads do not fit a vision model of {vision.hidden}")
    if fields.size("head_dim", _MAX_WIDTH, vision.head_dim) != vision.head_dim:
        raise CheckpointError(f"{fields.file}: the vision model's head_dim is no share of its {vision.hidden}")
    if vision.longest_side < vision.patch * vision.merge:
        raise CheckpointError(f"{fields.file}: pictures of {vision.longest_side} pixels have room for no patch")
    return vision


def _triple(fields: Fields, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    """Three numbers, of red, green and blue."""
    value = fields.get(key)
    if value is None:
        return default
    is_triple = isinstance(value, list) and len(value) == 3
    if not is_triple or not all(type(part) in (int, float) and 0 < part < 10 for part in value):
        raise CheckpointError(f"{fields.file}: {key} is {shown(value)}, no three sensible numbers")
    return float(value[0]), float(value[1]), float(value[2])
