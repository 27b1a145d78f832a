"""Every kind of checkpoint of the family, against what transformers computes from it."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import llama_oracle
import numpy as np
import pytest
from checkpoints import (
    FP8,
    INT8,
    RAGGED,
    SHARDED,
    Tensors,
    config,
    native_tensors,
    random_tensors,
    read_tensors,
    to_bf16,
    write_checkpoint,
    write_native,
    write_safetensors,
)  # fmt: skip
from numpy.typing import NDArray

from convert import stream
from convert.dequantize import float8_values
from convert.gguf_file import read_header
from convert.pipeline import convert
from quant.errors import CheckpointError
from quant.types import parse_target


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    return {t.name: t.data for t in gguf.GGUFReader(path).tensors}


def made(source: Path, target: str = "f32") -> dict[str, NDArray[Any]]:
    path = source.with_name(f"{source.name}-{target}.gguf")
    convert(source, path, target, name="model")
    return tensors(path)


def same(left: dict[str, NDArray[Any]], right: dict[str, NDArray[Any]]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def copied(source: Path, destination: Path) -> Path:
    shutil.copytree(source, destination)
    return destination


# --- what transformers computes ---


@pytest.mark.parametrize(
    ("source", "native"),
    [(SHARDED, False), (SHARDED, True), (RAGGED, False), (RAGGED, True), (FP8, False), (INT8, False)],
)
def test_llama_cpp_computes_what_transformers_does(tmp_path: Path, source: Path, native: bool) -> None:
    with np.load(source / "expected.npz") as file:
        ids, expected = file["ids"], file["logits"]
    folder = write_native(source, tmp_path / "native") if native else source
    convert(folder, tmp_path / "a.gguf", "f32")
    found = llama_oracle.logits(tmp_path / "a.gguf", ids)
    assert np.abs(found - expected).max() < 0.01
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_a_pattern_that_only_params_tell(tmp_path: Path) -> None:
    """Published as Ministral 8B is: config.json calls it a plain model with the window for its context."""
    folder = copied(RAGGED, tmp_path / "hidden")
    settings = json.loads((folder / "config.json").read_text())
    del settings["layer_types"]
    hidden = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "max_position_embeddings": 16}
    (folder / "config.json").write_text(json.dumps(settings | hidden))
    params = json.loads((write_native(RAGGED, tmp_path / "native") / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps(params))
    assert same(made(folder), made(copied(RAGGED, tmp_path / "open")))
    metadata = read_header(tmp_path / "hidden-f32.gguf").metadata
    assert metadata["general.architecture"] == "granite_swa"
    assert metadata["granite_swa.context_length"] == 131072
    assert metadata["granite_swa.attention.sliding_window"] == 16
    assert metadata["granite_swa.attention.sliding_window_pattern"] == [False, True, True, True]


def test_a_window_in_every_layer(tmp_path: Path) -> None:
    """As Mistral 7B v0.1 has it: an int for sliding_window, and no layer types."""
    folder = copied(RAGGED, tmp_path / "sliding")
    settings = json.loads((folder / "config.json").read_text())
    del settings["layer_types"]
    plain = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "max_position_embeddings": 32768}
    (folder / "config.json").write_text(json.dumps(settings | plain))
    convert(folder, tmp_path / "a.gguf", "f32")
    with np.load(RAGGED / "sliding.npz") as file:
        ids, expected = file["ids"], file["logits"]
    found = llama_oracle.logits(tmp_path / "a.gguf", ids)[-len(expected) :]
    assert np.abs(found - expected).max() < 0.01
    with np.load(RAGGED / "expected.npz") as file:
        assert np.abs(file["logits"][-len(expected) :] - expected).max() > 1  # another model than the ragged one


def test_llama_cpp_quantizes_a_ragged_file_to_the_same_bytes(tmp_path: Path) -> None:
    convert(RAGGED, tmp_path / "plain.gguf", "f32")
    for target in ("q4_K_M", "q8_0"):
        convert(RAGGED, tmp_path / "ours.gguf", target)
        llama_oracle.quantize(tmp_path / "plain.gguf", tmp_path / "theirs.gguf", parse_target(target).file_type)
        assert same(tensors(tmp_path / "ours.gguf"), tensors(tmp_path / "theirs.gguf"))


@pytest.mark.parametrize("target", ["f32", "bf16", "q4_K_M", "q8_0"])
def test_both_formats_make_the_same_tensors(tmp_path: Path, target: str) -> None:
    hub, native = copied(SHARDED, tmp_path / "hub"), write_native(SHARDED, tmp_path / "native", shards=2)
    assert same(made(hub, target), made(native, target))


def test_the_text_model_of_a_multimodal_checkpoint(tmp_path: Path) -> None:
    settings = config(layers=2)
    weights = random_tensors(settings)
    plain = write_checkpoint(tmp_path / "plain", settings, weights)
    text = {key: value for key, value in settings.items() if key not in ("architectures", "dtype")}
    whole = {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": text, "vision_config": {}}
    seeing = {
        "vision_tower.ln_pre.weight": np.ones(64, np.uint16),
        "multi_modal_projector.norm.weight": np.ones(9, np.uint16),
    }
    seen = write_checkpoint(
        tmp_path / "seeing", settings, seeing | {f"language_model.{n}": w for n, w in weights.items()}
    )
    (seen / "config.json").write_text(json.dumps(whole))
    report = convert(seen, tmp_path / "a.gguf", "q4_K_M")
    assert report.remarks == ("text only: the vision encoder (2 tensors) is left out",)
    assert same(tensors(tmp_path / "a.gguf"), made(plain, "q4_K_M"))


def test_a_head_that_is_tied_and_there(tmp_path: Path) -> None:
    """A copy of the embedding is left out; another head is the model's own, as transformers takes it."""
    settings = config(layers=1, tied=True)
    weights = random_tensors(settings)
    plain = write_checkpoint(tmp_path / "plain", settings, weights)
    head = weights["model.embed_tokens.weight"]
    with_copy = write_checkpoint(tmp_path / "copy", settings, weights | {"lm_head.weight": head})
    assert same(made(plain, "q8_0"), made(with_copy, "q8_0"))
    own = weights | {"lm_head.weight": head[::-1].copy()}
    other = write_checkpoint(tmp_path / "other", settings, own)
    untied = write_checkpoint(tmp_path / "untied", settings | {"tie_word_embeddings": False}, own)
    assert same(made(other, "q8_0"), made(untied, "q8_0"))
    assert "output.weight" in made(other, "q8_0")


# --- 8-bit weights ---


def eight_bit(dtype: str, seed: int = 0) -> tuple[dict[str, Any], Tensors]:
    """A configuration, and weights of which the matrices of the layers are 8-bit numbers without their scales."""
    settings = config(layers=1, hidden=256, inner=512)
    rng = np.random.default_rng(seed)
    weights = random_tensors(settings)
    for name, values in weights.items():
        if values.ndim == 2 and ".layers." in name:
            numbers = rng.integers(0, 256, values.shape, np.uint8)
            numbers[numbers & 127 == 127] = 0  # NaN, as float8
            weights[name] = numbers if dtype == "F8" else numbers.view(np.int8)
    return settings, weights


def exact(numbers: NDArray[Any], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    return (float8_values()[numbers] if numbers.dtype == np.uint8 else numbers.astype(np.float32)) * factors


@pytest.mark.parametrize("dtype", ["F8", "I8"])
@pytest.mark.parametrize("kind", ["row", "rows", "matrix", "scalar", "block"])
def test_every_way_to_scale(tmp_path: Path, dtype: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also Q and K, whose rows change their places together with their scales; and in small pieces."""
    settings, weights = eight_bit(dtype)
    rng = np.random.default_rng(1)
    plain: Tensors = {}
    for name, numbers in list(weights.items()):
        if numbers.dtype not in (np.uint8, np.int8):
            plain[name] = (numbers.astype(np.uint32) << 16).view(np.float32)
            continue
        rows, columns = numbers.shape
        shape = {
            "row": (rows, 1),
            "rows": (rows,),
            "matrix": (1,),
            "scalar": (),
            "block": (-(-rows // 48), -(-columns // 96)),
        }[kind]
        scales = to_bf16(0.001 + 0.01 * rng.random(shape, np.float32))
        weights[f"{name}_scale{'_inv' if kind == 'block' else ''}"] = scales
        factors = (scales.astype(np.uint32) << 16).view(np.float32)
        if kind == "block":
            factors = np.kron(factors, np.ones((48, 96), np.float32))[:rows, :columns]
        plain[name] = exact(numbers, factors.reshape(-1, 1) if kind == "rows" else factors)
    method = {"quant_method": "fp8", "weight_block_size": [48, 96]} if kind == "block" else None
    source = write_checkpoint(tmp_path / "eight", {**settings, "quantization_config": method}, weights)
    reference = write_checkpoint(tmp_path / "plain", settings, plain)
    for target in ("f32", "q4_K_M", "fp16"):
        expected = made(reference, target)
        for chunk_weights in (1 << 20, 20_000, 1):
            monkeypatch.setattr(stream, "_CHUNK_WEIGHTS", chunk_weights)
            assert same(made(source, target), expected)


def test_modules_that_are_ignored_stay_as_they_are(tmp_path: Path) -> None:
    """An ignored module is stored in bf16, without a scale."""
    folder = copied(FP8, tmp_path / "fp8")
    weights = read_tensors(folder)
    name = "model.layers.0.mlp.down_proj.weight"
    factors = (weights.pop(f"{name}_scale").astype(np.uint32) << 16).view(np.float32)
    weights[name] = to_bf16(exact(weights[name], factors))
    write_safetensors(folder / "model.safetensors", weights)
    settings = json.loads((folder / "config.json").read_text())
    settings["quantization_config"]["ignore"] = ["lm_head", "re:.*layers.0.mlp.down_proj"]
    (folder / "config.json").write_text(json.dumps(settings))
    bits = made(folder)["blk.0.ffn_down.weight"].view(np.uint32) >> 16
    assert np.array_equal(bits.astype(np.uint16), weights[name])


def test_mistrals_own_float8(tmp_path: Path) -> None:
    """params.json with its `quantization`, a scale for each matrix, and scales of activations that are needless."""
    settings, weights = eight_bit("F8")
    hub: Tensors = {}
    for name, numbers in weights.items():
        hub[name] = numbers
        if numbers.dtype == np.uint8:
            hub[f"{name}_scale"] = np.array([0x3C80], np.uint16)  # 2 to the power of -6
    source = write_checkpoint(tmp_path / "hub", {**settings, "quantization_config": {"quant_method": "fp8"}}, hub)
    native = write_native(source, tmp_path / "native")
    own = native_tensors(weights, 64)
    for name, numbers in list(own.items()):
        if numbers.dtype == np.uint8:
            own[name.replace(".weight", ".qscale_weight")] = np.array(2.0**-6, np.float32)
            own[name.replace(".weight", ".qscale_act")] = np.array(1.0, np.float32)
    write_safetensors(native / "consolidated.safetensors", own)
    params = json.loads((native / "params.json").read_text())
    params["quantization"] = {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}
    (native / "params.json").write_text(json.dumps(params))
    assert same(made(native), made(source))


def test_int8_becomes_q8_0_without_loss(tmp_path: Path) -> None:
    report = convert(INT8, tmp_path / "a.gguf", "q8_0", measure=True)
    inner = [t for t in report.tensors if t.name.startswith("blk.") and len(t.shape) == 2]
    assert len(inner) == 28
    found = {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors
    }
    plain = made(copied(INT8, tmp_path / "int8"))
    for tensor in inner:
        assert tensor.relative_error == 0
        assert np.array_equal(found[tensor.name], plain[tensor.name])


@pytest.mark.parametrize("source", [FP8, INT8], ids=["fp8", "int8"])
def test_quantized_again_to_llama_quantizes_bytes(tmp_path: Path, source: Path) -> None:
    """Straight from 8 bits, as good as from float32: nothing is rounded on the way."""
    convert(source, tmp_path / "plain.gguf", "f32")
    for target in ("q4_K_M", "q5_K_M", "q6_K", "q4_0", "fp16"):
        convert(source, tmp_path / "ours.gguf", target)
        llama_oracle.quantize(tmp_path / "plain.gguf", tmp_path / "theirs.gguf", parse_target(target).file_type)
        assert same(tensors(tmp_path / "ours.gguf"), tensors(tmp_path / "theirs.gguf"))


def test_a_scale_that_is_no_number_names_its_tensor(tmp_path: Path) -> None:
    from quant.errors import QuantError

    folder = copied(FP8, tmp_path / "fp8")
    weights = read_tensors(folder)
    name = "model.layers.1.self_attn.o_proj.weight"
    weights[f"{name}_scale"] = weights[f"{name}_scale"].copy()
    weights[f"{name}_scale"][3] = 0x7FC0
    write_safetensors(folder / "model.safetensors", weights)
    with pytest.raises(QuantError, match=f"{name} holds NaN weights"):
        convert(folder, tmp_path / "a.gguf")


def test_a_lost_scale_is_found_before_work_starts(tmp_path: Path) -> None:
    folder = copied(FP8, tmp_path / "fp8")
    weights = read_tensors(folder)
    del weights["model.layers.1.self_attn.o_proj.weight_scale"]
    write_safetensors(folder / "model.safetensors", weights)
    with pytest.raises(CheckpointError, match=r"o_proj\.weight has 8-bit weights and no scales"):
        convert(folder, tmp_path / "a.gguf")
