import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from quant.errors import QuantError, UsageError
from quant.types import TARGET_NAMES, by_id, by_name, parse_target, target_by_file_type


def test_sizes_are_those_of_the_format() -> None:
    for kind, (weights, size) in GGML_QUANT_SIZES.items():
        ours = by_id(int(kind))
        assert (ours.name.lower(), ours.block_weights, ours.block_bytes) == (kind.name.lower(), weights, size)
        assert by_name(ours.name) is ours


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_targets_have_the_formats_numbers(name: str) -> None:
    target = parse_target(name)
    official = "ALL_F32" if name == "f32" else f"MOSTLY_{'F16' if name == 'fp16' else name.upper()}"
    assert target.file_type == LlamaFileType[official]
    assert target_by_file_type(target.file_type) is target
    assert target.base.name in {kind.name.lower().replace("_k", "_K") for kind in GGMLQuantizationType}


@pytest.mark.parametrize(("text", "name"), [("q4_k_m", "q4_K_M"), ("Q8_0", "q8_0"), ("FP16", "fp16"), (" f16", "fp16")])
def test_a_target_is_read_in_any_case(text: str, name: str) -> None:
    assert parse_target(text).name == name


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown quantization 'q4_K_X'.*q4_K_M"):
        parse_target("q4_K_X")


def test_unknown_types_and_broken_blocks_are_refused() -> None:
    for attempt in (lambda: by_id(99), lambda: by_name("q4_k"), lambda: by_name("q4_K").nbytes(255)):
        with pytest.raises(QuantError):
            attempt()
