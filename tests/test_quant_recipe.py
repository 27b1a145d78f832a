"""The types that the recipe chooses, held against what llama_model_quantize writes of the same tensors."""

from pathlib import Path

import gguf
import llama_oracle
import numpy as np
import pytest

from quant.recipe import Model, choose, is_quantized
from quant.types import TARGET_NAMES, by_id, parse_target

Shapes = list[tuple[str, tuple[int, ...]]]


def model_tensors(model: Model, columns: int, inner: int, *, tied: bool = False) -> Shapes:
    """One row or two of every tensor of a model: the rules look at names, columns and layers only."""
    names: Shapes = [("token_embd.weight", (2, columns))]
    for n in range(model.n_layers):
        parts: Shapes = [("attn_norm", (columns,)), ("ffn_norm", (columns,)), ("attn_output", (2, columns))]
        parts += [("attn_q", (2, columns)), ("attn_k", (2, columns)), ("attn_v", (2, columns))]
        if model.n_experts:
            parts += [("ffn_gate_inp", (model.n_experts, columns)), ("ffn_gate_exps", (2, 2, columns))]
            parts += [("ffn_up_exps", (2, 2, columns)), ("ffn_down_exps", (2, 2, inner))]
        else:
            parts += [("ffn_gate", (2, columns)), ("ffn_up", (2, columns)), ("ffn_down", (2, inner))]
        names += [(f"blk.{n}.{part}.weight", shape) for part, shape in parts]
    names.append(("output_norm.weight", (columns,)))
    return names if tied else [*names, ("output.weight", (2, columns))]


def llama_types(folder: Path, model: Model, tensors: Shapes, file_type: int) -> dict[str, str]:
    """The types in the file that llama_model_quantize makes."""
    source, made = folder / "source.gguf", folder / "made.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    columns = tensors[0][1][-1]
    writer.add_block_count(model.n_layers)
    writer.add_context_length(64)
    writer.add_embedding_length(columns)
    writer.add_feed_forward_length(columns)
    writer.add_head_count(model.n_heads)
    writer.add_head_count_kv(model.n_kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    if model.n_experts:
        writer.add_expert_count(model.n_experts)
        writer.add_expert_used_count(2)
    for name, shape in tensors:
        writer.add_tensor(name, np.full(shape, 0.5, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    llama_oracle.quantize(source, made, file_type)
    return {tensor.name: by_id(int(tensor.tensor_type)).name for tensor in gguf.GGUFReader(made).tensors}


def check(folder: Path, target_name: str, model: Model, tensors: Shapes) -> None:
    target = parse_target(target_name)
    ours = {name: kind.name for name, kind in choose(target, tensors, model).items()}
    assert ours == llama_types(folder, model, tensors, target.file_type)


@pytest.mark.parametrize("layers", range(1, 41))
def test_every_depth(tmp_path: Path, layers: int) -> None:
    model = Model(layers, 8, 2)
    check(tmp_path, "q4_K_M", model, model_tensors(model, 256, 512))


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize("layers", [1, 9, 32])
def test_every_target(tmp_path: Path, target: str, layers: int) -> None:
    model = Model(layers, 8, 8)
    check(tmp_path, target, model, model_tensors(model, 256, 512))


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize(("columns", "inner"), [(288, 320), (320, 100), (256, 288), (288, 512), (100, 256)])
@pytest.mark.parametrize("tied", [False, True])
def test_rows_that_are_no_multiple_of_the_block(
    tmp_path: Path, target: str, columns: int, inner: int, tied: bool
) -> None:
    model = Model(9, 4, 2)
    check(tmp_path, target, model, model_tensors(model, columns, inner, tied=tied))


@pytest.mark.parametrize("target", ["q4_K_M", "q8_0", "q5_K_M"])
@pytest.mark.parametrize("layers", [2, 8])
def test_tied_embeddings(tmp_path: Path, target: str, layers: int) -> None:
    model = Model(layers, 8, 2)
    check(tmp_path, target, model, model_tensors(model, 256, 512, tied=True))


@pytest.mark.parametrize("target", ["q4_K_M", "q4_K_S", "q5_K_M", "q8_0"])
@pytest.mark.parametrize("experts", [4, 8])
def test_experts(tmp_path: Path, target: str, experts: int) -> None:
    model = Model(8, 8, 2, experts)
    check(tmp_path, target, model, model_tensors(model, 256, 512))


@pytest.mark.parametrize("target", ["q4_K_M", "q5_K_M", "q4_K_S"])
@pytest.mark.parametrize("kv_heads", [8, 64])
def test_the_shared_values_of_seventy_billion(tmp_path: Path, target: str, kv_heads: int) -> None:
    model = Model(80, 64, kv_heads)
    check(tmp_path, target, model, model_tensors(model, 256, 256))


def test_what_follows_the_target_at_all() -> None:
    assert is_quantized("blk.0.attn_q.weight", (2, 256))
    assert not is_quantized("blk.0.attn_q.weight", (1, 256))  # one row: the format counts it as a vector
    assert not is_quantized("blk.0.attn_sinks.weight", (4,))
    assert not is_quantized("blk.0.attn_q_norm.weight", (2, 256))
    assert not is_quantized("blk.0.attn_q.bias", (2, 256))
