from pathlib import Path

import gguf
import llama_oracle
import numpy as np
import pytest
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.kernels import dequantize, pack_q8_0, quantize
from quant.types import by_name, parse_target

KINDS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q5_0", "q5_1", "q4_K", "q5_K", "q6_K")
Rows = NDArray[np.float32]


def samples() -> dict[str, Rows]:
    """(rows, 512) arrays that touch the corners of the quantizers."""
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((9, 512)).astype(np.float32)
    return {
        "normal": normal,
        "heavy": rng.standard_cauchy((9, 512)).astype(np.float32).clip(-1e4, 1e4),
        "bfloat16": (normal.view(np.uint32) & 0xFFFF0000).view(np.float32),
        "constant": np.full((3, 512), -0.37, np.float32),
        "zero": np.zeros((3, 512), np.float32),
        "sparse": normal * (rng.random((9, 512)) < 0.02),
        "tiny": normal * np.float32(1e-30),
        "subnormal halves": normal * np.float32(1e-6),
        "one row": normal[0],
    }


@pytest.mark.parametrize("target", ["fp16", "bf16", "q8_0", "q4_0", "q5_0", "q4_K_M", "q5_K_M", "q6_K"])
def test_bytes_are_llama_quantizes(tmp_path: Path, target: str) -> None:
    """A file of one layer whose tensors are the samples, through llama_model_quantize and through us."""
    source, made = tmp_path / "source.gguf", tmp_path / "made.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(512)
    writer.add_feed_forward_length(512)
    writer.add_head_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    rows = {f"blk.0.{name.replace(' ', '_')}.weight": r for name, r in samples().items() if name != "one row"}
    rows["output.weight"] = samples()["normal"]
    for name, values in rows.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    llama_oracle.quantize(source, made, parse_target(target).file_type)
    for tensor in gguf.GGUFReader(made).tensors:
        kind = by_name(gguf.GGMLQuantizationType(tensor.tensor_type).name.lower().replace("_k", "_K"))
        assert quantize(rows[tensor.name], kind, tensor.name).tobytes() == tensor.data.tobytes(), tensor.name


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_rows_make_the_bytes_of_the_whole(kind: str) -> None:
    for rows in samples().values():
        whole = quantize(rows, by_name(kind), "w").tobytes()
        parts = [quantize(part, by_name(kind), "w").tobytes() for part in np.array_split(np.atleast_2d(rows), 3)]
        assert b"".join(parts) == whole
        assert len(whole) == by_name(kind).nbytes(rows.size)


def test_float16_rounds_to_nearest_even_as_numpy() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    values = np.where(np.abs(values) < 65520, values, 0).astype(np.float32)  # NaN, too, becomes 0
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = np.sort(halves[np.isfinite(halves)].astype(np.float32))
    ties = (halves[1:] + halves[:-1]) / 2
    for rows in (values, halves, ties):
        assert quantize(rows, by_name("f16"), "w").tobytes() == rows.astype(np.float16).tobytes()


def bits(rows: Rows) -> NDArray[np.uint16]:
    """Cut to bfloat16."""
    return (rows.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_bfloat16_are_quantized_as_the_numbers_they_stand_for(kind: str) -> None:
    for name, rows in samples().items():
        cut = (rows.view(np.uint32) & 0xFFFF0000).view(np.float32)
        assert quantize(bits(rows), by_name(kind), "w").tobytes() == quantize(cut, by_name(kind), "w").tobytes(), name


def test_every_bfloat16() -> None:
    """To float32 and back exactly, and to float16 as numpy rounds."""
    every = np.arange(1 << 16, dtype=np.uint16)
    every = every[(every & 0x7F80) != 0x7F80]  # finite
    numbers = (every.astype(np.uint32) << 16).view(np.float32)
    assert quantize(every, by_name("bf16"), "w").tobytes() == every.tobytes()
    assert quantize(numbers, by_name("bf16"), "w").tobytes() == every.tobytes()
    assert quantize(every, by_name("f32"), "w").tobytes() == numbers.tobytes()
    assert dequantize(every.view(np.uint8), by_name("bf16")).tobytes() == numbers.tobytes()
    fits = abs(numbers) < 65520
    assert quantize(every[fits], by_name("f16"), "w").tobytes() == numbers[fits].astype(np.float16).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_read_back_as_gguf_reads_them(kind: str) -> None:
    reference = gguf.GGMLQuantizationType[kind.upper()]
    for name, rows in samples().items():
        blocks = quantize(rows, by_name(kind), "w")
        table = blocks if by_name(kind).block_weights > 1 else blocks.view({"f32": "<f4", "f16": "<f2"}.get(kind, "u1"))
        expected = gguf.quants.dequantize(table, reference)
        assert np.array_equal(dequantize(blocks, by_name(kind)), expected.ravel()), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_is_the_callers_own(kind: str) -> None:
    """To change it does not change the blocks."""
    blocks = quantize(samples()["normal"], by_name(kind), "w")
    before = blocks.tobytes()
    dequantize(blocks, by_name(kind)).fill(7)
    assert blocks.tobytes() == before


def test_what_cannot_be_read_back() -> None:
    with pytest.raises(QuantError, match="100 bytes are no whole blocks of 144"):
        dequantize(np.zeros(100, np.uint8), by_name("q4_K"))
    with pytest.raises(QuantError, match="weights of the type i8 cannot be read"):
        dequantize(np.zeros(100, np.uint8), by_name("i8"))


def test_int8_weights_are_packed_without_loss() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(-128, 128, (5, 96), dtype=np.int8)
    scales = (rng.random(5) / 100).astype(np.float16).astype(np.float32)
    blocks = pack_q8_0(codes, scales)
    assert blocks is not None
    expected = codes.astype(np.float32) * scales[:, None]
    read = gguf.quants.dequantize(blocks.reshape(5, -1), gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(read, expected)
    assert np.array_equal(dequantize(blocks, by_name("q8_0")), expected.ravel())


def test_other_scales_are_rounded_which_costs_less_than_quantizing_again() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(-128, 128, (64, 256), dtype=np.int8)
    scales = (0.001 + rng.random(64) / 100).astype(np.float32)
    expected = (codes.astype(np.float32) * scales[:, None]).ravel()
    packed, again = pack_q8_0(codes, scales), quantize(expected.reshape(64, 256), by_name("q8_0"), "w")
    assert packed is not None
    errors = [np.linalg.norm(dequantize(blocks, by_name("q8_0")) - expected) for blocks in (packed, again)]
    assert errors[0] < 0.0005 * np.linalg.norm(expected)
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e6, np.nan, np.inf])
def test_scales_beyond_float16_are_not_packed(scale: float) -> None:
    assert pack_q8_0(np.ones((2, 32), np.int8), np.float32([0.5, scale])) is None


def test_rows_that_do_not_fill_blocks_are_not_packed() -> None:
    assert pack_q8_0(np.ones((2, 40), np.int8), np.float32([0.5, 0.5])) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bfloat", [False, True])
@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_weights_that_are_no_numbers_are_refused(kind: str, bfloat: bool, bad: float, word: str) -> None:
    rows = -abs(samples()["normal"])
    rows[4, 300] = bad
    with pytest.raises(QuantError, match=rf"^blk.3.attn_q.weight holds {word} weights"):
        quantize(bits(rows) if bfloat else rows, by_name(kind), "blk.3.attn_q.weight")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("f32", "bf16")])
@pytest.mark.parametrize("size", [1e9, -1e9, 1e30])
def test_weights_beyond_the_scales_are_refused(kind: str, size: float) -> None:
    rows = np.zeros((2, 512), np.float32)
    rows[1, 100] = size
    with pytest.raises(QuantError, match=rf"^w holds weights too large for {kind}"):
        quantize(rows, by_name(kind), "w")


@pytest.mark.parametrize("kind", ["f32", "bf16"])
def test_large_weights_stay_where_they_fit(kind: str) -> None:
    assert quantize(np.full(256, 1e30, np.float32), by_name(kind), "w").size


def test_rows_that_do_not_fill_blocks_are_refused() -> None:
    with pytest.raises(QuantError, match="rows of 100 weights do not fill blocks of 256"):
        quantize(np.zeros((4, 100), np.float32), by_name("q4_K"), "w")
