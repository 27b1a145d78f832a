"""Makes ministral-hf/sliding.npz: what transformers computes if every layer of that checkpoint slides.

Mistral 7B v0.1 is such a model.

    python tests/data/checkpoints/make_sliding.py

Needs torch and transformers. The file holds `ids` (96,) int32 and `logits` (16, 1280) float32, those of the last 16
tokens, which are well beyond the window.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import MinistralForCausalLM, MistralConfig, MistralForCausalLM

FOLDER = Path(__file__).parent / "ministral-hf"


def main() -> None:
    weights = MinistralForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    settings = weights.config.to_dict()
    for key in ("layer_types", "architectures", "model_type"):
        settings.pop(key)
    model = MistralForCausalLM(MistralConfig(**settings, attn_implementation="eager")).float().eval()
    model.load_state_dict(weights.state_dict())
    with np.load(FOLDER / "expected.npz") as file:
        ids = file["ids"]
    with torch.no_grad():
        logits = model(torch.from_numpy(ids[None]).long()).logits[0].numpy()
    np.savez_compressed(FOLDER / "sliding.npz", ids=ids, logits=logits[-16:])


if __name__ == "__main__":
    main()
