"""A GGUF with recurrent layers: what it has read is in a state, of which nothing can be cut off. Random weights."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYERS, WIDTH, INNER, STATE, RANK, CONV = 2, 32, 64, 8, 4, 4
VOCABULARY = 128


def write(path: Path) -> Path:
    """A Mamba without a vocabulary: ids in, ids out."""
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(LAYERS)
    writer.add_ssm_conv_kernel(CONV)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    shapes = {"token_embd.weight": (VOCABULARY, WIDTH), "output.weight": (VOCABULARY, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "ssm_in.weight": (2 * INNER, WIDTH), "ssm_conv1d.weight": (INNER, CONV), "ssm_conv1d.bias": (INNER,),
                "ssm_x.weight": (RANK + 2 * STATE, INNER), "ssm_dt.weight": (INNER, RANK), "ssm_dt.bias": (INNER,),
                "ssm_d": (INNER,), "ssm_out.weight": (WIDTH, INNER),
            }.items()
        }  # fmt: skip
    tensors = {name: 0.3 * rng.standard_normal(shape) for name, shape in shapes.items()}
    for layer in range(LAYERS):
        tensors[f"blk.{layer}.ssm_a"] = -np.tile(np.arange(1.0, STATE + 1), (INNER, 1))
        tensors[f"blk.{layer}.attn_norm.weight"] = np.ones(WIDTH)
    tensors["output_norm.weight"] = np.ones(WIDTH)
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
