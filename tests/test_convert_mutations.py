"""Ten thousand damaged checkpoints: each is converted, or refused in one clean line, and then nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FP8, INT8, config, random_tensors, to_bf16, write_checkpoint, write_native
from mutations import mutated

from convert.gguf_file import read_header
from convert.pipeline import convert
from minichat.terminal.sanitize import clean_line
from quant.errors import MinichatError

N_MUTATIONS = 10_000
_SIZES: dict[str, Any] = {"hidden": 32, "inner": 64, "heads": 2, "kv_heads": 1, "vocab": 280}
_SHAPE = config(layers=1, **_SIZES)
_RAGGED = config(layers=2, **_SIZES) | {
    "architectures": ["MinistralForCausalLM"],
    "sliding_window": 1024,
    "layer_types": ["full_attention", "sliding_attention"],
}
_CARD = "---\nlicense: other\nlicense_name: mrl\nlicense_link: https://mistral.ai/licenses/MRL-0.1.md\n---\n# A model\n"
_MAX_MEMORY_BYTES = 1 << 30
_MAX_TIME_S = 20  # of one conversion; the machine may be busy
_MAX_LINE = 500
_ON_LINUX = Path("/proc/self/statm").exists()


def make_plain(folder: Path) -> None:
    write_checkpoint(folder, _SHAPE)
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.15, "top_k": 40, "top_p": 1}')
    (folder / "README.md").write_text(_CARD)


def make_sharded(folder: Path) -> None:
    write_checkpoint(folder, config(layers=1, **_SIZES, tied=True), shards=2)


def make_sentencepiece(folder: Path) -> None:
    write_checkpoint(folder, _SHAPE)
    (folder / "tekken.json").unlink()
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())


def make_ragged(folder: Path) -> None:
    write_checkpoint(folder, _RAGGED)
    known = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    known.parent.mkdir(parents=True)
    known.write_text(f"{'4f' * 20}\n{'0a' * 20}\n1700000000.5\n")


def make_native(folder: Path) -> None:
    write_native(write_checkpoint(folder.with_name("hub"), _RAGGED), folder)
    path = folder / "tekken.json"
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<pad>"]
    listed = [{"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(names)]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"special_tokens": listed}))


def make_native_shards(folder: Path) -> None:
    write_native(write_checkpoint(folder.with_name("hub"), _SHAPE), folder, shards=2)


def make_fp8(folder: Path) -> None:
    _make_eight_bit(folder, FP8, np.dtype("uint8"))


def make_int8(folder: Path) -> None:
    _make_eight_bit(folder, INT8, np.dtype("int8"))


def _make_eight_bit(folder: Path, like: Path, dtype: np.dtype[Any]) -> None:
    """The layers' matrices are 8-bit numbers with a scale for each row, described as the checkpoint `like` is."""
    weights = random_tensors(_SHAPE)
    for name, values in list(weights.items()):
        if values.ndim == 2 and ".layers." in name:
            weights[name] = np.full(values.shape, 0x35, dtype)
            weights[f"{name}_scale"] = np.full((len(values), 1), 0x3C00, np.uint16)  # bfloat16
    method = json.loads((like / "config.json").read_text())["quantization_config"]
    write_checkpoint(folder, _SHAPE | {"quantization_config": method}, weights)


def make_multimodal(folder: Path) -> None:
    weights = {f"language_model.{name}": values for name, values in random_tensors(_SHAPE).items()}
    write_checkpoint(folder, _SHAPE, weights | {"vision_tower.norm.weight": np.ones(8, np.uint16)})
    parts = {"text_config": _SHAPE, "vision_config": {"hidden_size": 8}}
    (folder / "config.json").write_text(json.dumps({"architectures": ["Mistral3ForConditionalGeneration"]} | parts))


def make_seeing(folder: Path) -> None:
    """A model that sees, of the least size: patches of 4 pixels, two of them a merged one in each direction."""
    rng = np.random.default_rng(0)
    shapes = {
        "vision_tower.patch_conv": (16, 3, 4, 4), "vision_tower.ln_pre": (16,), "multi_modal_projector.norm": (16,),
        "multi_modal_projector.patch_merger.merging_layer": (16, 64), "multi_modal_projector.linear_1": (32, 16),
        "multi_modal_projector.linear_2": (32, 32),
    }  # fmt: skip
    parts = {"attention_norm": (16,), "ffn_norm": (16,), "feed_forward.down_proj": (16, 24)}
    parts |= {f"attention.{part}_proj": (16, 16) for part in "qkvo"}
    parts |= {f"feed_forward.{part}_proj": (24, 16) for part in ("gate", "up")}
    shapes |= {f"vision_tower.transformer.layers.0.{part}": shape for part, shape in parts.items()}
    sight = {f"{name}.weight": to_bf16(rng.standard_normal(shape, np.float32)) for name, shape in shapes.items()}
    weights = {f"language_model.{name}": values for name, values in random_tensors(_SHAPE).items()}
    write_checkpoint(folder, _SHAPE, weights | sight)
    vision = {
        "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8,
        "num_attention_heads": 2, "num_channels": 3, "image_size": 64, "patch_size": 4, "hidden_act": "silu",
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "axial"},
    }  # fmt: skip
    whole = {
        "architectures": ["Mistral3ForConditionalGeneration"], "text_config": _SHAPE, "vision_config": vision,
        "spatial_merge_size": 2, "multimodal_projector_bias": False, "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(whole))
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.3, 0.3, 0.3], "size": {"longest_edge": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def make_native_seeing(folder: Path) -> None:
    make_seeing(folder.with_name("hub"))
    write_native(folder.with_name("hub"), folder)


CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "plain": make_plain,
    "sharded": make_sharded,
    "sentencepiece": make_sentencepiece,
    "ragged": make_ragged,
    "native": make_native,
    "native shards": make_native_shards,
    "fp8": make_fp8,
    "int8": make_int8,
    "multimodal": make_multimodal,
    "seeing": make_seeing,
    "native seeing": make_native_seeing,
}


def sentencepiece_model() -> bytes:
    """A small byte-pair model: <unk>, <s>, </s>, the bytes, and a few letters."""

    def field(number: int, data: bytes) -> bytes:
        return (
            bytes([number << 3 | 2, *([len(data)] if len(data) < 128 else [len(data) & 127 | 128, len(data) >> 7])])
            + data
        )

    def piece(text: str, kind: int, score: float = 0) -> bytes:
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))

    pieces = [piece("<unk>", 2), piece("<s>", 3), piece("</s>", 3)]
    pieces += [piece(f"<0x{n:02X}>", 6) for n in range(256)]
    pieces += [piece(text, 1, -n) for n, text in enumerate(["▁", "e", "t", "a", "o", "n", "en", "an", "▁t"])]
    trainer = bytes([3 << 3, 2]) + b"".join(bytes([(n << 3) & 127 | 128, n >> 4, n - 40]) for n in (40, 41, 42))
    normalizer = bytes([3 << 3, 1, 4 << 3, 0])
    return b"".join(pieces) + field(2, trainer) + field(3, normalizer)


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little memory, little time; and no waiting for the disk, which nobody pulls the plug of."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _ON_LINUX else 0
    if _ON_LINUX:
        resource.setrlimit(resource.RLIMIT_AS, (in_use + _MAX_MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError("it takes too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(source: Path, out: Path, sees: bool = False) -> bool:
    """Whether the checkpoint is converted; if not, it is refused as it should be."""
    destination, projector = out / "model.gguf", out / "mmproj.gguf"
    try:
        with within(_MAX_TIME_S):
            convert(source, destination, "q8_0", threads=1, projector=projector if sees else None)
    except MinichatError as error:
        assert error.exit_code == 3, repr(error)
        line = str(error)
        assert line
        assert line == clean_line(line), repr(line)
        assert len(line) < _MAX_LINE, line
        assert list(out.iterdir()) == []
        return False
    made = {path.name for path in out.iterdir()}
    assert made == {"model.gguf"} or (sees and made == {"model.gguf", "mmproj.gguf"})
    for path in list(out.iterdir()):
        read_header(path)
        path.unlink()
    return True


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_damaged_checkpoints(name: str, tmp_path: Path) -> None:
    source, out = tmp_path / "a", tmp_path / "out"
    CHECKPOINTS[name](source)
    out.mkdir()
    sees = "seeing" in name
    assert check(source, out, sees), "it has to be sound before it is damaged"
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    shares = [1 if path.suffix in (".md", ".metadata") else 5 for path in files]
    converted = tried = 0
    for path, share in zip(files, shares, strict=True):
        content = path.read_bytes()
        for number in range(-(-N_MUTATIONS * share // (len(CHECKPOINTS) * sum(shares)))):
            seed = f"{name} {path.name} {number}"
            path.unlink()  # some file systems go to the disk for a file that is cut and written again
            path.write_bytes(mutated(path.name, content, random.Random(seed)))
            try:
                converted += check(source, out, sees)
            except BaseException as error:
                raise AssertionError(f"the damage {seed!r} does harm") from error
            tried += 1
        path.write_bytes(content)
    assert 0 < converted < tried / 2, "damage that does nothing, or that nothing survives, teaches nothing"
