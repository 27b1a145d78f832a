"""A random checkpoint of about 300 million parameters, in Hugging Face's format: shapes are real, weights are noise."""

import json
import struct
import sys
from pathlib import Path

import mistral_common
import numpy as np

DIM, FF, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 1024, 3584, 17, 16, 4, 64, 32768


def make(folder: Path) -> int:
    """Writes the checkpoint and returns how many parameters it has."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": DIM,
        "intermediate_size": FF,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e8,
        "sliding_window": None,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tekken.json").write_text(json.dumps(tekken()))
    return write_safetensors(folder / "model.safetensors", shapes())


def tekken() -> dict[str, object]:
    """A real Tekken vocabulary, cut to its first ranks."""
    data = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    vocabulary = json.loads(data.read_text("utf-8"))
    vocabulary["config"].update(version="v7", default_vocab_size=VOCAB, num_vocab_tokens=VOCAB - 1000)
    vocabulary["vocab"] = vocabulary["vocab"][: VOCAB - 1000]
    vocabulary.pop("image", None)
    return vocabulary


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, DIM)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        found |= {
            f"{block}.input_layernorm.weight": (DIM,),
            f"{block}.self_attn.q_proj.weight": (HEADS * HEAD_DIM, DIM),
            f"{block}.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, DIM),
            f"{block}.self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, DIM),
            f"{block}.self_attn.o_proj.weight": (DIM, HEADS * HEAD_DIM),
            f"{block}.post_attention_layernorm.weight": (DIM,),
            f"{block}.mlp.gate_proj.weight": (FF, DIM),
            f"{block}.mlp.up_proj.weight": (FF, DIM),
            f"{block}.mlp.down_proj.weight": (DIM, FF),
        }
    return found | {"model.norm.weight": (DIM,), "lm_head.weight": (VOCAB, DIM)}


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> int:
    """bf16 noise of a usual size (0.02; norms are 1), a tensor at a time."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    random = np.random.default_rng(0)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw)
        for shape in tensors.values():
            values = np.ones(shape, np.float32)  # shape
            if len(shape) > 1:
                values = random.standard_normal(shape, np.float32) * np.float32(0.02)
            out.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())  # bf16: the upper half of a float32
    return end // 2


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
