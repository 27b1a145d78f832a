"""A training checkpoint to a Hugging Face folder, checked against transformers.

python -m minichat.demo.training.export CHECKPOINT.pt TEKKEN.json FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .model import Demo, Shape
from .tokens import BOS, EOS, N_SPECIAL

CONTEXT = 1024
"""What evaluation has shown to work; the training met distances up to `rows.FURTHEST`."""
PARTS = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
    "attention_norm.weight": "input_layernorm", "ffn_norm.weight": "post_attention_layernorm",
}  # fmt: skip


def hf_name(name: str) -> str:
    """
    >>> hf_name("blocks.3.down")
    'model.layers.3.mlp.down_proj.weight'
    """
    if not name.startswith("blocks."):
        return {"embedding": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}[name]
    _, layer, part = name.split(".", 2)
    return f"model.layers.{layer}.{PARTS[part]}.weight"


def text_config(s: Shape) -> dict[str, object]:
    """What config.json says of a text model of this shape, alone or as a part of one that sees."""
    return {
        "model_type": "mistral", "vocab_size": s.vocab, "hidden_size": s.dim, "intermediate_size": s.hidden,
        "num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads,
        "head_dim": s.head_dim, "hidden_act": "silu", "rms_norm_eps": s.norm_eps, "rope_theta": s.rope_theta,
        "max_position_embeddings": CONTEXT, "sliding_window": None, "bos_token_id": BOS, "eos_token_id": EOS,
        "tie_word_embeddings": False,
    }  # fmt: skip


def config(s: Shape) -> dict[str, object]:
    return {
        "architectures": ["MistralForCausalLM"], **text_config(s), "attention_dropout": 0.0, "initializer_range": 0.02,
        "use_cache": True, "torch_dtype": "bfloat16",
    }  # fmt: skip


def write(folder: Path, weights: dict[str, Tensor], files: dict[str, object], tekken: Path, text: str = "") -> None:
    """Writes the weights, the vocabulary, generation_config.json and more files of JSON, by their names.

    text: what the names of the text model's tensors begin with.
    """
    # Mistral's own models have a head of their own, so the shared matrix is written twice.
    weights[f"{text}lm_head.weight"] = weights[f"{text}model.embed_tokens.weight"].clone()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": False}
    for name, content in {"generation_config": generation, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copy(tekken, folder / "tekken.json")


def export(checkpoint: Path, tekken: Path, folder: Path) -> Demo:
    """Writes config.json, generation_config.json, model.safetensors (bfloat16) and tekken.json; -> what was written."""
    state = torch.load(checkpoint, weights_only=True)
    weights = {hf_name(name): w.bfloat16().contiguous() for name, w in state["net"].items()}
    write(folder, weights, {"config": config(Shape(**state["shape"]))}, tekken)
    return load_export(folder)


def load_export(folder: Path) -> Demo:
    """The exported weights as a float32 model."""
    c = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = Shape(
        c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"],
        c["head_dim"], c["intermediate_size"], c["rope_theta"], c["rms_norm_eps"],
    )  # fmt: skip
    net = Demo(shape)
    weights = load_file(folder / "model.safetensors")
    net.load_state_dict({name: weights[hf_name(name)].float() for name in net.state_dict()})
    return net


def difference(net: Demo, folder: Path) -> float:
    """The largest difference between our logits and those of transformers' MistralForCausalLM, on random tokens."""
    from transformers import MistralForCausalLM

    oracle = MistralForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.cat([torch.tensor([BOS]), torch.randint(N_SPECIAL, net.s.vocab, (299,))])[None]
    with torch.inference_mode():
        ours = net(ids, torch.arange(300)[None])
        theirs = oracle(ids).logits
    return float((ours - theirs).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tekken", type=Path)
    parser.add_argument("folder", type=Path)
    a = parser.parse_args()
    off = difference(export(a.checkpoint, a.tekken, a.folder), a.folder)
    if off > 1e-3:
        raise SystemExit(f"the logits are {off} off those of transformers")
    print(f"exported to {a.folder}; largest difference from transformers' logits {off:.1e}")


if __name__ == "__main__":
    main()
