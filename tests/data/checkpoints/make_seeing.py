"""Makes mistral3-vision and pixtral-vision: small models that see, with random weights, and what transformers computes.

    python tests/data/checkpoints/make_seeing.py

Needs torch and transformers. mistral3-vision is of Mistral Small 3.1's kind: patches of 14 pixels, a merger of 2 x 2
patches with a norm before it, no biases. pixtral-vision is of Pixtral 12B's: patches of 16 pixels, no merger, biases.
Beside the weights (bf16) each has `expected.npz`, of a float32 forward pass: `image` (height, width, 3) uint8, which
needs no scaling; `ids` (n_tokens,) int32, a prompt with the picture in it; `image_features` (n_patches, hidden) float32
and `logits` (n_tokens, vocab) float16 of the whole prompt.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    PreTrainedModel,
)

HERE = Path(__file__).parent
TEKKEN = HERE / "mistral-hf-sharded" / "tekken.json"
VOCABULARY, IMG, IMG_BREAK, IMG_END = 1280, 10, 12, 13
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def text(layers: int) -> MistralConfig:
    return MistralConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, initializer_range=0.15, tie_word_embeddings=False,
        sliding_window=None, max_position_embeddings=131072, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip


def tower(patch: int, side: int, layers: int) -> PixtralVisionConfig:
    return PixtralVisionConfig(
        hidden_size=48, intermediate_size=80, num_hidden_layers=layers, num_attention_heads=3, head_dim=16,
        num_channels=3, image_size=side, patch_size=patch, hidden_act="silu", initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )  # fmt: skip


def mistral3() -> Mistral3ForConditionalGeneration:
    return Mistral3ForConditionalGeneration(
        Mistral3Config(
            vision_config=tower(14, 1540, 2), text_config=text(2), image_token_index=IMG, projector_hidden_act="gelu",
            vision_feature_layer=-1, multimodal_projector_bias=False, spatial_merge_size=2, tie_word_embeddings=False,
        )
    )  # fmt: skip


def pixtral() -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower(16, 1024, 2), text_config=text(1), image_token_index=IMG, projector_hidden_act="gelu",
            vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=False,
        )
    )  # fmt: skip


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Norms about one, biases about zero: as transformers makes them they would hide what is left out."""
    for name, weights in model.named_parameters():
        if weights.dim() == 1:
            weights.data = ("norm" in name or "ln_" in name) + 0.2 * torch.randn_like(weights)
    return model.to(torch.bfloat16)


def write(folder: Path, model: PreTrainedModel, patch: int, merge: int, rows: int, columns: int) -> None:
    model.save_pretrained(folder)
    shutil.copy(TEKKEN, folder)
    settings = {
        "image_processor_type": "PixtralImageProcessor", "image_mean": MEAN, "image_std": DEVIATION,
        "patch_size": {"height": patch, "width": patch},
        "size": {"longest_edge": model.config.vision_config.image_size},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings) + "\n")
    unit = patch * merge
    size = torch.tensor([[rows * unit, columns * unit]])
    image = np.random.default_rng(0).integers(0, 256, (rows * unit, columns * unit, 3), dtype=np.uint8)
    normal = (image.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(DEVIATION)  # (height, width, 3)
    pixels = torch.from_numpy(normal.transpose(2, 0, 1))[None]
    picture = [*([*[IMG] * columns, IMG_BREAK] * rows)[:-1], IMG_END]
    ids = np.array([1, 3, 1001, *picture, 1050, 1100, 4], np.int32)
    fresh = type(model)(model.config).float().eval()  # a model that was cast keeps a rounded rotary table
    fresh.load_state_dict({name: weights.float() for name, weights in model.state_dict().items()})
    with torch.no_grad():
        features = fresh.model.get_image_features(pixels, image_sizes=size).pooler_output[0].numpy()
        given = {"input_ids": torch.from_numpy(ids)[None].long(), "pixel_values": pixels, "image_sizes": size}
        logits = fresh(**given).logits[0].numpy()
    np.savez_compressed(
        folder / "expected.npz", image=image, ids=ids, image_features=features, logits=logits.astype(np.float16)
    )


def main() -> None:
    torch.manual_seed(0)
    write(HERE / "mistral3-vision", randomized(mistral3()), 14, 2, 3, 4)
    write(HERE / "pixtral-vision", randomized(pixtral()), 16, 1, 4, 3)


if __name__ == "__main__":
    main()
