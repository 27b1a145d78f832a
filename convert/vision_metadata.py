"""The keys of an mmproj: what libmtmd (llama.cpp's tools/mtmd/clip.cpp) asks for of a Pixtral tower, and where the file
came from. Every key is written with the type that it is read as.
"""

from collections.abc import Mapping

from convert.gguf_writer import Value, boolean, f32, f32s, string, u32
from convert.metadata import QUANTIZATION_VERSION
from convert.vision import ACTIVATION, NORM_EPS, VisionConfig
from quant.types import Target

ARCHITECTURE = "clip"


def build_vision_metadata(
    vision: VisionConfig, target: Target, name: str, origin: Mapping[str, Value]
) -> dict[str, Value]:
    """All keys, in the order in which they are written. `origin`: see `convert.metadata.build_origin`."""
    shape = {
        "image_size": u32(vision.longest_side),
        "patch_size": u32(vision.patch),
        "spatial_merge_size": u32(vision.merge),
        "embedding_length": u32(vision.hidden),
        "feed_forward_length": u32(vision.feed_forward),
        "block_count": u32(vision.n_layers),
        "projection_dim": u32(vision.text_width),
        "attention.head_count": u32(vision.n_heads),
        "attention.layer_norm_epsilon": f32(NORM_EPS),
        "image_mean": f32s(vision.mean),
        "image_std": f32s(vision.deviation),
    }
    return {
        "general.architecture": string(ARCHITECTURE),
        "general.type": string("mmproj"),
        "general.name": string(name),
        "general.file_type": u32(target.file_type),
        "general.quantization_version": u32(QUANTIZATION_VERSION),
        **origin,
        "clip.has_vision_encoder": boolean(True),
        "clip.projector_type": string("pixtral"),
        f"clip.use_{ACTIVATION}": boolean(True),
        **{f"clip.vision.{key}": value for key, value in shape.items()},
    }
