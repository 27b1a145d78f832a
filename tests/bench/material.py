"""Random checkpoints in Hugging Face's format, for measuring: shapes are real, weights are noise.

    chat     0.3 billion parameters, small enough to talk to
    large    0.8 billion, in three shards: what is converted for time
    wide     one layer and one tensor of 131,072 x 5,120: what is converted for memory

python -m tests.bench.material KIND FOLDER [LAYERS] writes one and prints how many parameters it has.
"""

import json
import math
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mistral_common
import numpy as np
from numpy.typing import NDArray

_N_SPECIAL = 1000
_SHARD_BYTES = 600_000_000
_POOL_WEIGHTS = 1 << 23
_PIECE_WEIGHTS = 1 << 20


@dataclass(frozen=True)
class Shape:
    dim: int
    ff: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False


KINDS = {
    "chat": Shape(1024, 3584, 17, 16, 4, 64, 32768),
    "large": Shape(2048, 7168, 12, 16, 4, 128, 32768),
    "wide": Shape(5120, 2560, 1, 32, 8, 128, 131072, tied=True),
}


def make(shape: Shape, folder: Path) -> int:
    """Writes the checkpoint to disk, synced, and returns how many parameters it has."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(shape)))
    (folder / "tekken.json").write_text(json.dumps(tekken(shape.vocab)))
    tensors = shapes(shape)
    shards = cut(tensors)
    places: dict[str, str] = {}
    random = np.random.default_rng(0)
    pool = to_bf16(random.standard_normal(_POOL_WEIGHTS, np.float32) * np.float32(0.02))  # a usual size of weights
    for n, names in enumerate(shards, 1):
        file = f"model-{n:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in names}, pool, random)
        places |= dict.fromkeys(names, file)
    if len(shards) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return sum(map(math.prod, tensors.values()))


def config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": shape.dim,
        "intermediate_size": shape.ff,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e8,
        "sliding_window": None,
        "tie_word_embeddings": shape.tied,
    }


def tekken(vocab: int) -> dict[str, Any]:
    """A real Tekken vocabulary, cut to its first ranks."""
    data = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    vocabulary: dict[str, Any] = json.loads(data.read_text("utf-8"))
    vocabulary["config"].update(version="v7", default_vocab_size=vocab, num_vocab_tokens=vocab - _N_SPECIAL)
    vocabulary["vocab"] = vocabulary["vocab"][: vocab - _N_SPECIAL]
    vocabulary.pop("image", None)
    return vocabulary


def shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, in the order in which transformers writes them."""
    dim, q_rows, kv_rows = shape.dim, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab, dim)}
    for layer in range(shape.layers):
        block = f"model.layers.{layer}"
        found |= {
            f"{block}.self_attn.q_proj.weight": (q_rows, dim),
            f"{block}.self_attn.k_proj.weight": (kv_rows, dim),
            f"{block}.self_attn.v_proj.weight": (kv_rows, dim),
            f"{block}.self_attn.o_proj.weight": (dim, q_rows),
            f"{block}.mlp.gate_proj.weight": (shape.ff, dim),
            f"{block}.mlp.up_proj.weight": (shape.ff, dim),
            f"{block}.mlp.down_proj.weight": (dim, shape.ff),
            f"{block}.input_layernorm.weight": (dim,),
            f"{block}.post_attention_layernorm.weight": (dim,),
        }
    found["model.norm.weight"] = (dim,)
    return found if shape.tied else found | {"lm_head.weight": (shape.vocab, dim)}


def cut(tensors: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """The tensors' names, shard by shard: a new one begins where the last would grow too large."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in tensors.items():
        n_bytes = 2 * math.prod(shape)
        if shards[-1] and size + n_bytes > _SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += n_bytes
    return shards


def write_safetensors(
    path: Path, tensors: dict[str, tuple[int, ...]], pool: NDArray[np.uint16], random: np.random.Generator
) -> None:
    """bf16: vectors are ones; matrices are pieces of the pool, so that disks and not dice set the pace."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw)
        for shape in tensors.values():
            if len(shape) == 1:
                out.write(to_bf16(np.ones(shape, np.float32)).tobytes())
                continue
            for piece in pieces(math.prod(shape), pool, random):
                out.write(piece.data)
        out.flush()
        os.fsync(out.fileno())  # or it is written while something is measured


def pieces(n_weights: int, pool: NDArray[np.uint16], random: np.random.Generator) -> Iterator[NDArray[np.uint16]]:
    for done in range(0, n_weights, _PIECE_WEIGHTS):
        place = int(random.integers(pool.size - _PIECE_WEIGHTS))
        yield pool[place : place + min(_PIECE_WEIGHTS, n_weights - done)]


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32's bits."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


if __name__ == "__main__":
    kind = KINDS[sys.argv[1]]
    if len(sys.argv) > 3:
        kind = replace(kind, layers=int(sys.argv[3]))
    print(make(kind, Path(sys.argv[2])))
