"""What is foretold of a model's memory, against what llama.cpp logs that it allocates."""

from __future__ import annotations

import contextlib
import ctypes
import doctest
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest

import minichat.memory as memory_module
from convert.config import ModelConfig
from convert.gguf_file import GgufHeader, read_header
from convert.gguf_writer import lay_out
from convert.metadata import build_metadata
from convert.vocab import TokenType, Vocabulary
from convert.windows import Attention
from minichat.engine.llama import BATCH, DEFAULT_CTX
from minichat.memory import (
    Shape,
    compute_bytes,
    default_context,
    kv_cache_bytes,
    needed,
    shape_of_config,
    shape_of_header,
    shape_of_metadata,
)
from quant.recipe import Model, choose
from quant.types import parse_target

PLAIN = ModelConfig(
    n_layers=3, hidden=256, feed_forward=768, n_heads=8, n_kv_heads=2, head_dim=64, vocab_size=300,
    context_length=16384, rope_theta=1e6, norm_eps=1e-5, tied_embeddings=False,
)  # fmt: skip
RAGGED = replace(PLAIN, n_layers=8, attention=Attention(1000, (False, True, True, True) * 2))
SLIDING = replace(PLAIN, attention=Attention(256, (True,) * 3))
REAL_VOCABULARY = replace(PLAIN, n_layers=1, vocab_size=131072)
WIDE = replace(PLAIN, n_layers=2, hidden=1024, feed_forward=3584, n_heads=8, head_dim=128, vocab_size=8192)
_MIB = 1 << 20


def write_model(path: Path, config: ModelConfig) -> Path:
    """A GGUF of this shape whose weights are a hole in the file: it takes a header's room, and llama.cpp loads it."""
    c, target = config, parse_target("q8_0")
    tokens = ["<unk>", "<s>", "</s>", *(f"t{n}" for n in range(c.vocab_size - 3))]
    types = [int(TokenType.UNKNOWN), *[int(TokenType.CONTROL)] * 2, *[int(TokenType.NORMAL)] * (c.vocab_size - 3)]
    vocabulary = Vocabulary(
        model="llama", pre="default", tokens=tokens, types=types, scores=[0.0] * c.vocab_size,
        merges=None, bos=1, eos=2, unknown=0, pad=None, template="v3",
    )  # fmt: skip
    q_rows, kv_rows = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    tensors: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (c.vocab_size, c.hidden))]
    for n in range(c.n_layers):
        tensors += [(f"blk.{n}.{part}_norm.weight", (c.hidden,)) for part in ("attn", "ffn")]
        tensors += [(f"blk.{n}.ffn_{part}.weight", (c.feed_forward, c.hidden)) for part in ("gate", "up")]
        tensors += [(f"blk.{n}.attn_{part}.weight", (kv_rows, c.hidden)) for part in "kv"]
        tensors.append((f"blk.{n}.attn_q.weight", (q_rows, c.hidden)))
        tensors.append((f"blk.{n}.attn_output.weight", (c.hidden, q_rows)))
        tensors.append((f"blk.{n}.ffn_down.weight", (c.hidden, c.feed_forward)))
        if c.attention.window:
            tensors.append((f"blk.{n}.attn_sinks.weight", (c.n_heads,)))
    tensors += [("output_norm.weight", (c.hidden,)), ("output.weight", (c.vocab_size, c.hidden))]
    types_of = choose(target, tensors, Model(c.n_layers, c.n_heads, c.n_kv_heads))
    metadata = build_metadata(config, vocabulary, target, "holes", None, {})
    layout = lay_out(metadata, [(name, shape, types_of[name]) for name, shape in tensors])
    with path.open("wb") as file:
        file.write(layout.header)
        file.truncate(layout.file_bytes)
    return path


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    callback = llama_cpp.llama_log_callback(lambda _, text, __: lines.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))


_SILENT = llama_cpp.llama_log_callback(lambda *_: None)  # must stay referenced while it is set


def allocated(path: Path, ctx: int) -> tuple[float, float]:
    """MiB of the KV cache, and of the compute and output buffers, with a context opened as the engine does it."""
    llama_cpp.llama_backend_init()
    with logged() as lines:
        model_params = llama_cpp.llama_model_default_params()
        model_params.use_extra_bufts = False
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        assert model, "".join(lines)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.swa_full = ctx, BATCH, BATCH, False
        context = llama_cpp.llama_init_from_model(model, params)
        assert context, "".join(lines)
        told = "".join(lines)
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
    cache = re.findall(r"KV buffer size = +([\d.]+) MiB", told)
    compute = re.findall(r"(?:compute|output) buffer size = +([\d.]+) MiB", told)
    assert cache
    assert len(compute) == 2, told
    return sum(map(float, cache)), sum(map(float, compute))


@pytest.mark.parametrize("config", [PLAIN, RAGGED, SLIDING], ids=["plain", "ragged", "sliding"])
def test_the_kv_cache_is_as_llama_cpp_allocates_it(tmp_path: Path, config: ModelConfig) -> None:
    path = write_model(tmp_path / "model.gguf", config)
    shape = shape_of_config(config)
    for ctx in (100, 512, 1000, 1300, 1537, 4096, 16384):
        cache, compute = allocated(path, ctx)
        assert kv_cache_bytes(shape, ctx) / _MIB == pytest.approx(cache, abs=0.011)
        assert compute_bytes(shape, ctx) / _MIB == pytest.approx(compute, rel=0.25)


@pytest.mark.parametrize("config", [REAL_VOCABULARY, WIDE], ids=["131072 tokens", "wide"])
def test_the_compute_buffer_is_nearly_as_llama_cpp_allocates_it(tmp_path: Path, config: ModelConfig) -> None:
    path = write_model(tmp_path / "model.gguf", config)
    for ctx in (512, 8192, 16384):
        _, compute = allocated(path, ctx)
        assert compute_bytes(shape_of_config(config), ctx) / _MIB == pytest.approx(compute, rel=0.08)


def test_windows_save_what_lies_beyond_them() -> None:
    ragged, plain = shape_of_config(RAGGED), shape_of_config(replace(RAGGED, attention=Attention()))
    assert kv_cache_bytes(ragged, 1000) == kv_cache_bytes(plain, 1000)
    assert kv_cache_bytes(ragged, 16384) < kv_cache_bytes(plain, 16384) / 2.5


def test_the_parts_add_up() -> None:
    need = needed(shape_of_config(PLAIN), 10**9, 4096)
    assert need.weights == 10**9
    assert need.total == need.weights + need.kv_cache + need.compute + need.process
    assert need.kv_cache == 2 * 3 * 2 * 64 * 4096 * 2  # K and V, layers, heads, head, tokens, bytes


def test_the_default_context_is_the_engines() -> None:
    assert default_context(shape_of_config(PLAIN)) == DEFAULT_CTX
    assert default_context(shape_of_config(replace(PLAIN, context_length=1024))) == 1024


@pytest.mark.parametrize("config", [PLAIN, RAGGED, SLIDING])
def test_a_header_tells_what_its_config_told(tmp_path: Path, config: ModelConfig) -> None:
    assert shape_of_header(read_header(write_model(tmp_path / "x.gguf", config))) == shape_of_config(config)


def header(**metadata: object) -> GgufHeader:
    keys = {
        "block_count": 4, "embedding_length": 256, "attention.head_count": 4, "feed_forward_length": 512,
        "context_length": 1024, "vocab_size": 99,
    }  # fmt: skip
    keys |= {key.replace("__", "."): value for key, value in metadata.items()}  # type: ignore[assignment]
    return GgufHeader({"general.architecture": "llama"} | {f"llama.{key}": v for key, v in keys.items()}, [], 0, 0)


def test_what_a_header_leaves_out_is_as_llama_cpp_takes_it() -> None:
    assert shape_of_header(header()) == Shape(4, 256, 512, 4 * 2 * 64, 99, 1024, n_heads=4)
    fewer = header(attention__head_count_kv=[2, 1, 2, 2])
    assert shape_of_header(fewer) == Shape(4, 256, 512, 2 * 2 * 64, 99, 1024, n_heads=4)


def test_a_graph_that_keeps_no_short_caches_counts_in_full() -> None:
    windows = {"attention__sliding_window": 8, "attention__sliding_window_pattern": [True] * 4}
    assert shape_of_header(header(**windows)) == shape_of_header(header())


@pytest.mark.parametrize("value", [0, -1, "4", 4.0, True, None, [], ["x"], 1 << 40, {"a": 1}])
@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention__head_count", "context_length"])
def test_a_header_that_makes_no_sense_tells_no_shape(key: str, value: object) -> None:
    assert shape_of_header(header(**{key: value})) is None


def test_a_vocabulary_that_was_only_counted() -> None:
    metadata = header().metadata
    told = Shape(4, 256, 512, 4 * 2 * 64, 99, 1024, n_heads=4)
    assert shape_of_metadata(metadata, None) == shape_of_header(header()) == told
    assert shape_of_metadata(metadata, 5000) == replace(told, vocab_size=5000)


def test_a_header_without_an_architecture_tells_no_shape() -> None:
    assert shape_of_header(GgufHeader({}, [], 0, 0)) is None
    assert shape_of_header(GgufHeader({"general.architecture": 7}, [], 0, 0)) is None


def test_examples() -> None:
    assert doctest.testmod(memory_module).failed == 0
