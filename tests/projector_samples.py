"""What a model reads pictures with, as a small file whose header is sound, and whose weights are any: for tests of
keeping it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from convert import gguf_writer as w
from minichat.engine.eyesight import shapes
from minichat.projectors import Projector
from quant.types import by_name

HIDDEN, FEED_FORWARD, PATCH, MERGE = 32, 64, 14, 2
KEYS: dict[str, w.Value] = {
    "general.architecture": w.string("clip"),
    "general.type": w.string("mmproj"),
    "general.file_type": w.u32(1),
    "clip.projector_type": w.string("pixtral"),
    "clip.has_vision_encoder": w.boolean(True),
    "clip.use_silu": w.boolean(True),
    "clip.vision.image_size": w.u32(1540),
    "clip.vision.patch_size": w.u32(PATCH),
    "clip.vision.spatial_merge_size": w.u32(MERGE),
    "clip.vision.embedding_length": w.u32(HIDDEN),
    "clip.vision.feed_forward_length": w.u32(FEED_FORWARD),
    "clip.vision.block_count": w.u32(1),
    "clip.vision.attention.head_count": w.u32(2),
    "clip.vision.attention.layer_norm_epsilon": w.f32(1e-5),
    "clip.vision.image_mean": w.f32s([0.5, 0.5, 0.5]),
    "clip.vision.image_std": w.f32s([0.25, 0.25, 0.25]),
}


def projector(
    changes: Mapping[str, w.Value | None] = MappingProxyType({}), width: int = 256, seed: int = 0, leave_out: str = ""
) -> bytes:
    """A whole file for models of this width. changes: of keys; None leaves one out. leave_out: a tensor."""
    keys: dict[str, w.Value | None] = {**KEYS, "clip.vision.projection_dim": w.u32(width), **changes}
    told = Projector("pixtral", width, 1540, PATCH, MERGE)
    needed, _ = shapes(told, HIDDEN, FEED_FORWARD, 1)
    layout = w.lay_out(
        {key: value for key, value in keys.items() if value is not None},
        [
            (name, shape, by_name("f32" if len(shape) == 1 else "f16"))
            for name, shape in needed.items()
            if name != leave_out
        ],
    )
    return layout.header + random.Random(seed).randbytes(layout.file_bytes - len(layout.header))
