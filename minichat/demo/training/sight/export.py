"""A training checkpoint to a Hugging Face folder of Mistral 3, checked against transformers.

    python -m minichat.demo.training.sight.export RUN_FOLDER FOLDER

RUN_FOLDER holds `checkpoint.pt` and `tekken.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..export import hf_name, text_config, write
from ..model import Shape
from ..tokens import BOS, N_SPECIAL
from .batches import picture_ids
from .model import IMG, LONGEST, MEAN, MERGE, PATCH, STD, UNIT, Sight

TOWER_PARTS = {
    "q": "attention.q_proj", "k": "attention.k_proj", "v": "attention.v_proj", "o": "attention.o_proj",
    "gate": "feed_forward.gate_proj", "up": "feed_forward.up_proj", "down": "feed_forward.down_proj",
    "attention_norm.weight": "attention_norm", "ffn_norm.weight": "ffn_norm",
}  # fmt: skip
OUTSIDE = {
    "patch": "vision_tower.patch_conv", "ln_pre.weight": "vision_tower.ln_pre",
    "norm.weight": "multi_modal_projector.norm",
    "merger": "multi_modal_projector.patch_merger.merging_layer", "linear_1": "multi_modal_projector.linear_1",
    "linear_2": "multi_modal_projector.linear_2",
}  # fmt: skip


def name_of(name: str) -> str:
    """
    >>> name_of("text.blocks.3.down"), name_of("tower.blocks.0.q")
    ('language_model.model.layers.3.mlp.down_proj.weight', 'vision_tower.transformer.layers.0.attention.q_proj.weight')
    """
    side, rest = name.split(".", 1)
    if side == "text":
        return "language_model." + hf_name(rest)
    if not rest.startswith("blocks."):
        return OUTSIDE[rest] + ".weight"
    _, layer, part = rest.split(".", 2)
    return f"vision_tower.transformer.layers.{layer}.{TOWER_PARTS[part]}.weight"


def config(text: Shape, tower: Shape) -> dict[str, object]:
    """What config.json says."""
    return {
        "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "image_token_index": IMG,
        "multimodal_projector_bias": False, "projector_hidden_act": "gelu", "spatial_merge_size": MERGE,
        "vision_feature_layer": -1, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "text_config": text_config(text),
        "vision_config": {
            "model_type": "pixtral", "hidden_size": tower.dim, "head_dim": tower.head_dim, "image_size": LONGEST,
            "intermediate_size": tower.hidden, "num_hidden_layers": tower.layers, "num_attention_heads": tower.heads,
            "num_channels": 3, "patch_size": PATCH, "hidden_act": "silu", "rope_theta": tower.rope_theta,
        },
    }  # fmt: skip


def outside(name: str, weight: Tensor) -> Tensor:
    """A weight as it stands in the file: bfloat16, that of the patches as a convolution."""
    weight = weight.bfloat16().contiguous()
    return weight.view(-1, 3, PATCH, PATCH) if name == "tower.patch" else weight


def export(run: Path, folder: Path) -> None:
    """Writes the weights (bfloat16), the configurations and the vocabulary."""
    net = Sight()
    state = torch.load(run / "checkpoint.pt", weights_only=True)["net"]
    net.load_state_dict(state)
    weights = {name_of(name): outside(name, w) for name, w in net.state_dict().items()}
    processor = {
        "image_processor_type": "PixtralImageProcessor", "image_mean": MEAN, "image_std": STD,
        "patch_size": {"height": PATCH, "width": PATCH}, "size": {"longest_edge": LONGEST},
    }  # fmt: skip
    files = {"config": config(net.text.s, net.tower.s), "preprocessor_config": processor}
    write(folder, weights, files, run / "tekken.json", "language_model.")


def load_export(folder: Path) -> Sight:
    """The exported weights as a float32 model."""
    net = Sight()
    weights = load_file(folder / "model.safetensors")
    shapes = {name: w.shape for name, w in net.state_dict().items()}
    net.load_state_dict({name: weights[name_of(name)].float().view(shape) for name, shape in shapes.items()})
    return net


def difference(net: Sight, folder: Path) -> float:
    """The largest difference between our logits and those of transformers, for noise and random tokens."""
    from transformers import Mistral3ForConditionalGeneration

    oracle = Mistral3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([[BOS, *picture_ids(3, 4), *torch.randint(N_SPECIAL, net.text.s.vocab, (60,)).tolist()]])
    pixels = torch.randn(1, 3, 3 * UNIT, 4 * UNIT)
    with torch.inference_mode():
        ours = net(ids, pixels)
        theirs = oracle(input_ids=ids, pixel_values=pixels, image_sizes=torch.tensor([[3 * UNIT, 4 * UNIT]])).logits
    return float((ours - theirs).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    export(a.run, a.folder)
    off = difference(load_export(a.folder), a.folder)
    if off > 1e-3:
        raise SystemExit(f"the logits are {off} off those of transformers")
    print(f"exported to {a.folder}; largest difference from transformers' logits {off:.1e}")


if __name__ == "__main__":
    main()
