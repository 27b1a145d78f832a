"""Makes small checkpoints for tests: random weights, a tiny but sound Tekken vocabulary, in any number of shards."""

import base64
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FOLDER = Path(__file__).parent / "data" / "checkpoints"
SHARDED = _FOLDER / "mistral-hf-sharded"
RAGGED = _FOLDER / "ministral-hf"
FP8 = _FOLDER / "mistral-fp8-dynamic"
INT8 = _FOLDER / "mistral-w8a8-int8"
MERGING = _FOLDER / "mistral3-vision"
PIXTRAL = _FOLDER / "pixtral-vision"
SEEING = _FOLDER / "mistral3-vision"

Tensors = dict[str, NDArray[Any]]  # bfloat16 is held as uint16, float8 as uint8
_DTYPES = {"uint16": "BF16", "float16": "F16", "float32": "F32", "int8": "I8", "uint8": "F8_E4M3"}
_NATIVE = {
    "model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output",
    "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_NATIVE_JOINT = {
    "norm": "pre_mm_projector_norm", "patch_merger.merging_layer": "patch_merger.merging_layer",
    "linear_1": "vision_language_adapter.w_in", "linear_2": "vision_language_adapter.w_out",
}  # fmt: skip
_NATIVE_TOWER = {
    ".q_proj": ".wq", ".k_proj": ".wk", ".v_proj": ".wv", ".o_proj": ".wo",
    ".gate_proj": ".w1", ".down_proj": ".w2", ".up_proj": ".w3",
}  # fmt: skip


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 to the upper halves of its bits, cut: any bfloat16 will do for a test."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def config(
    *, layers: int = 2, hidden: int = 256, inner: int = 512, heads: int = 4, kv_heads: int = 2,
    head_dim: int | None = None, vocab: int = 300, tied: bool = False, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A config.json as transformers 5 writes it."""
    return {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_act": "silu", "dtype": "bfloat16",
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim or hidden // heads, "vocab_size": vocab,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "sliding_window": None, "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, **more,
    }  # fmt: skip


def shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a model's tensors."""
    hidden, inner, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q_rows, kv_rows = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for n in range(config["num_hidden_layers"]):
        layer = f"model.layers.{n}."
        for part, shape in {
            "self_attn.q_proj": (q_rows, hidden), "self_attn.k_proj": (kv_rows, hidden),
            "self_attn.v_proj": (kv_rows, hidden), "self_attn.o_proj": (hidden, q_rows),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
        }.items():  # fmt: skip
            shapes[f"{layer}{part}.weight"] = shape
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def random_tensors(config: Mapping[str, Any], dtype: str = "BF16", seed: int = 0) -> Tensors:
    """Weights of the right names and shapes, normal with a few outliers, norms about one."""
    rng = np.random.default_rng(seed)
    convert = {"BF16": to_bf16, "F16": lambda x: x.astype(np.float16), "F32": lambda x: x}[dtype]
    return {name: convert(_random(rng, shape)) for name, shape in shapes_of(config).items()}


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = 0.1 * rng.standard_normal(shape, np.float32)
    return 1 + values if len(shape) == 1 else values * np.exp2(rng.integers(0, 3, shape)).astype(np.float32)


def write_safetensors(
    path: Path, tensors: Tensors, change_header: Callable[[dict[str, Any]], None] | None = None
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, values in tensors.items():
        span = [place, place + values.nbytes]
        header[name] = {"dtype": _DTYPES[values.dtype.name], "shape": list(values.shape), "data_offsets": span}
        place += values.nbytes
    if change_header:
        change_header(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for v in tensors.values()))


def tekken(n_ranks: int = 280, n_special: int = 20, version: str = "v7") -> dict[str, Any]:
    """A tekken.json: the single bytes, then pairs and longer tokens of lower-case letters."""
    ranks = [bytes([n]) for n in range(256)]
    letters = [bytes([c]) for c in b"etaoinshrdlu"]
    ranks += [a + b for a in letters for b in letters][: n_ranks - 256]
    ranks += [a + b + c for a in letters for b in letters for c in letters][: n_ranks - len(ranks)]
    vocab = [{"rank": n, "token_bytes": base64.b64encode(r).decode(), "token_str": None} for n, r in enumerate(ranks)]
    settings = {
        "pattern": r"\p{L}+|\p{N}|[^\p{L}\p{N}]+", "num_vocab_tokens": n_ranks, "version": version,
        "default_vocab_size": n_ranks + n_special, "default_num_special_tokens": n_special,
    }  # fmt: skip
    return {"config": settings, "vocab": vocab}


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Tensors | None = None, *, shards: int = 1, dtype: str = "BF16",
    tokenizer: dict[str, Any] | Path | None = None,
) -> Path:  # fmt: skip
    """A whole checkpoint in a new folder. `tokenizer`: a tekken.json's content, or a file to copy."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = random_tensors(config, dtype) if tensors is None else tensors
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
    else:
        _write_shards(folder, tensors, shards)
    if isinstance(tokenizer, Path):
        shutil.copy(tokenizer, folder / ("tekken.json" if tokenizer.suffix == ".json" else "tokenizer.model"))
    else:
        content = tokenizer or tekken(config["vocab_size"] - 20)
        (folder / "tekken.json").write_text(json.dumps(content))
    return folder


def _write_shards(folder: Path, tensors: Tensors, shards: int) -> None:
    names, places = list(tensors), {}
    for n in range(shards):
        shard = f"model-{n + 1:05d}-of-{shards:05d}.safetensors"
        here = names[n * len(names) // shards : (n + 1) * len(names) // shards]
        write_safetensors(folder / shard, {name: tensors[name] for name in here})
        places |= dict.fromkeys(here, shard)
    index = {"metadata": {"total_size": sum(v.nbytes for v in tensors.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def read_tensors(folder: Path) -> Tensors:
    """All tensors of a checkpoint's safetensors files."""
    dtypes = {name: np.dtype(dtype) for dtype, name in _DTYPES.items()}
    found: Tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        for name, entry in json.loads(content[8 : 8 + length]).items():
            if name != "__metadata__":
                begin, end = (8 + length + place for place in entry["data_offsets"])
                found[name] = np.frombuffer(content[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return found


def native_tensors(tensors: Tensors, head_dim: int, tower_head_dim: int = 0) -> Tensors:
    """The same weights under the names of Mistral's own format, where a head's rotary pairs stand side by side."""
    found: Tensors = {}
    for name, values in tensors.items():
        stem, kind = name.removeprefix("language_model.").rsplit(".", 1)
        if stem.startswith(("vision_tower.", "multi_modal_projector.")):
            found |= _native_sight(stem, kind, values, tower_head_dim)
            continue
        layer, part = "", stem
        if stem.startswith("model.layers."):
            _, _, number, part = stem.split(".", 3)
            layer = f"layers.{number}."
        if part in ("self_attn.q_proj", "self_attn.k_proj") and values.ndim == 2:
            values = _side_by_side(values, head_dim)
        found[f"{layer}{_NATIVE[part]}.{kind}"] = values
    return found


def _side_by_side(values: NDArray[Any], head_dim: int) -> NDArray[Any]:
    heads = values.reshape(-1, 2, head_dim // 2, values.shape[1])  # (heads, 2, half, columns)
    return heads.swapaxes(1, 2).reshape(values.shape)


def _native_sight(stem: str, kind: str, values: NDArray[Any], head_dim: int) -> Tensors:
    """`head_dim`: of the tower."""
    if stem.startswith("multi_modal_projector."):
        return {f"{_NATIVE_JOINT[stem.removeprefix('multi_modal_projector.')]}.{kind}": values}
    if stem.endswith(("q_proj", "k_proj")):
        values = _side_by_side(values, head_dim)
    for ours, theirs in _NATIVE_TOWER.items():
        stem = stem.removesuffix(ours) + theirs if stem.endswith(ours) else stem
    return {f"{stem.replace('vision_tower', 'vision_encoder')}.{kind}": values}


def write_native(source: Path, destination: Path, shards: int = 1) -> Path:
    """A checkpoint in Hugging Face's format (bf16), as Mistral itself publishes it: params.json and its own names."""
    whole = json.loads((source / "config.json").read_text())
    config = whole.get("text_config", whole)
    params: dict[str, Any] = {
        "dim": config["hidden_size"], "n_layers": config["num_hidden_layers"], "head_dim": config["head_dim"],
        "hidden_dim": config["intermediate_size"], "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"], "norm_eps": config["rms_norm_eps"],
        "vocab_size": config["vocab_size"], "rope_theta": config["rope_parameters"]["rope_theta"],
        "max_position_embeddings": config["max_position_embeddings"],
    }  # fmt: skip
    if kinds := config.get("layer_types"):
        windows = [config["sliding_window"] if kind == "sliding_attention" else None for kind in kinds]
        params["_sliding_window"] = windows[:4]
    if whole is not config:
        params["vision_encoder"] = native_vision(whole)
    of_tower = whole.get("vision_config", {}).get("head_dim", 0)
    tensors = native_tensors(read_tensors(source), config["head_dim"], of_tower)
    destination.mkdir(parents=True)
    (destination / "params.json").write_text(json.dumps(params))
    names = list(tensors)
    for n in range(shards):
        here = {name: tensors[name] for name in names[n * len(names) // shards : (n + 1) * len(names) // shards]}
        file = "consolidated.safetensors" if shards == 1 else f"consolidated-{n + 1:05d}-of-{shards:05d}.safetensors"
        write_safetensors(destination / file, here)
    shutil.copy(source / "tekken.json", destination)
    return destination


def native_vision(config: Mapping[str, Any]) -> dict[str, Any]:
    """What params.json says of the part that sees, in the words of Mistral Small 3.1's and of Pixtral 12B's."""
    vision = config["vision_config"]
    keys = ("hidden_size", "num_channels", "image_size", "patch_size", "intermediate_size", "num_hidden_layers")
    told = {key: vision[key] for key in (*keys, "num_attention_heads")}
    told |= {"rope_theta": 1e4, "image_token_id": 10, "adapter_bias": config["multimodal_projector_bias"]}
    if "spatial_merge_size" in config:
        told |= {
            "max_image_size": vision["image_size"], "image_break_token_id": 12, "image_end_token_id": 13,
            "mm_projector_id": "patch_merge", "spatial_merge_size": config["spatial_merge_size"],
            "add_pre_mm_projector_layer_norm": True,
        }  # fmt: skip
    return told
