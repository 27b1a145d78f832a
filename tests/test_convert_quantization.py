import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import FP8, INT8

from convert.quantization import block_size, scale_of
from convert.safetensors_file import SourceTensor
from quant.errors import CheckpointError


def source(name: str, shape: tuple[int, ...], dtype: str = "BF16") -> SourceTensor:
    return SourceTensor(name, dtype, shape, Path("model.safetensors"), 0, 0)


@pytest.mark.parametrize("folder", [FP8, INT8], ids=["fp8", "int8"])
def test_what_llm_compressor_writes(folder: Path) -> None:
    assert block_size(json.loads((folder / "config.json").read_text()), None) is None


def test_blocks_are_named_by_the_configuration() -> None:
    def compressed(**weights: Any) -> dict[str, Any]:
        group = {"weights": {"num_bits": 8, "symmetric": True, **weights}}
        return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"g": group}}}

    assert block_size(None, None) is None
    assert block_size({"quantization_config": None}, {}) is None
    assert block_size({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 64]}}, None) == (
        128,
        64,
    )
    assert block_size({"quantization_config": {"quant_method": "fp8", "weight_block_size": None}}, None) is None
    assert block_size(None, {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}}) is None
    assert block_size(compressed(strategy="block", block_structure=[128, 128]), None) == (128, 128)
    assert block_size(compressed(strategy="group", group_size=32), None) == (1, 32)
    assert block_size(compressed(strategy="tensor"), None) is None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"quant_method": "gptq"}, "quantized already .'gptq'.*bf16 checkpoint instead"),
        ({"quant_method": ["x"]}, "quantized already"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "block size of .128. makes no sense"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "makes no sense"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}}, "4 bits"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized",
          "config_groups": {"g": {"weights": {"num_bits": 8}}}}, "'pack-quantized', 8 bits"),
        ({"quant_method": "compressed-tensors",
          "config_groups": {"g": {"weights": {"num_bits": 8, "symmetric": False}}}}, "zero point"),
        ({"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24"}}, "sparse"),
        ({"quant_method": "compressed-tensors", "config_groups": [1]}, "config_groups is .1., no object"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(method: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        block_size({"quantization_config": method}, None)


@pytest.mark.parametrize(
    ("shape", "block", "expected"),
    [
        ((), None, (200, 300)),
        ((1,), None, (200, 300)),
        ((200,), None, (1, 300)),
        ((200, 1), None, (1, 300)),
        ((2, 3), (128, 128), (128, 128)),
        ((200, 10), (1, 32), (1, 32)),
    ],
)
@pytest.mark.parametrize("suffix", ["weight_scale", "weight_scale_inv", "qscale_weight"])
def test_scales_are_found_and_fit(
    suffix: str, shape: tuple[int, ...], block: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    tensors = {f"a.{suffix}": source(f"a.{suffix}", shape)}
    assert scale_of("a.weight", (200, 300), tensors, block).block == expected


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "a.weight has 8-bit weights and no scales"),
        ([source("a.weight_scale", ()), source("a.qscale_weight", ())], "8-bit weights and 2 scales"),
        ([source("a.weight_scale", (), "F8_E8M0")], "a.weight_scale has the type F8_E8M0"),
        ([source("a.weight_scale", (300,))], r"has the shape \(300,\), which does not fit weights of \(200, 300\)"),
        ([source("a.weight_scale", (2, 2))], "does not fit"),
    ],
)
def test_scales_that_do_not_fit_are_refused(tensors: list[SourceTensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        scale_of("a.weight", (200, 300), {tensor.name: tensor for tensor in tensors}, (128, 128))
