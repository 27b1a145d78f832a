"""The published models by their true shapes: of the checkpoints only the headers are real, planned to the last byte."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from checkpoints import config, shapes_of

from convert.checkpoint import open_checkpoint
from convert.plan import make_plan
from convert.provenance import find_provenance
from convert.windows import Attention
from quant.types import parse_target

DATA = Path(mistral_common.__file__).parent / "data"
NEMO, TEKKEN = DATA / "tekken_240718.json", DATA / "tekken_240911.json"
SENTENCEPIECE = DATA / "mistral_instruct_tokenizer_240323.model.v3"

SMALL_3 = config(layers=40, hidden=5120, inner=32768, heads=32, kv_heads=8, head_dim=128, vocab=131072)
SMALL_2 = config(layers=56, hidden=6144, inner=16384, heads=48, kv_heads=8, head_dim=128, vocab=32768)
MINISTRAL = config(layers=36, hidden=4096, inner=12288, heads=32, kv_heads=8, vocab=131072, sliding_window=32768)
MISTRAL_NEMO = config(layers=40, hidden=5120, inner=14336, heads=32, kv_heads=8, head_dim=128, vocab=131072)
MISTRAL_7B = config(layers=32, hidden=4096, inner=14336, heads=32, kv_heads=8, vocab=32768)


def sparse_checkpoint(folder: Path, settings: dict[str, Any], tokenizer: Path) -> Path:
    """As large as the real one, and almost nothing on the disk."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings))
    name = "tekken.json" if tokenizer.suffix == ".json" else "tokenizer.model.v3"
    (folder / name).symlink_to(tokenizer)
    header, end = {}, 0
    for tensor, shape in shapes_of(settings).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return folder


def planned(folder: Path, target: str = "q4_K_M") -> Any:
    checkpoint = open_checkpoint(folder)
    return make_plan(checkpoint, parse_target(target), "model", "auto", find_provenance(folder), {}, "standard")


@pytest.mark.parametrize(
    ("settings", "tokenizer", "parameters", "template", "q4_k_m_gb"),
    [
        (SMALL_3, TEKKEN, 23_572_403_200, "v3-tekken", 14.33),
        (SMALL_2, SENTENCEPIECE, 22_247_282_688, "v3", 13.34),
        (MINISTRAL, TEKKEN, 8_019_808_256, "v3-tekken", 4.91),
        (MISTRAL_NEMO, NEMO, 12_247_782_400, "v3-tekken", 7.48),
        (MISTRAL_7B, SENTENCEPIECE, 7_248_023_552, "v3", 4.37),
    ],
    ids=["small-3", "small-2", "ministral", "nemo", "7b"],
)
def test_sizes_are_those_that_the_models_are_known_for(
    tmp_path: Path, settings: dict[str, Any], tokenizer: Path, parameters: int, template: str, q4_k_m_gb: float
) -> None:
    """Parameters as their makers count them; and as large, at q4_K_M, as the files that llama.cpp's tools have made."""
    plan = planned(sparse_checkpoint(tmp_path / "model", settings, tokenizer))
    assert plan.parameters == parameters
    assert plan.template == template
    assert plan.text.layout.file_bytes / 1e9 == pytest.approx(q4_k_m_gb, abs=0.006)


def test_ministral_as_it_is_published(tmp_path: Path) -> None:
    """Its config.json names the window as the context; the pattern stands in params.json."""
    folder = sparse_checkpoint(tmp_path / "model", {**MINISTRAL, "max_position_embeddings": 32768}, TEKKEN)
    assert planned(folder).config.attention == Attention()
    params = {
        "dim": 4096, "n_layers": 36, "head_dim": 128, "hidden_dim": 12288, "n_heads": 32, "n_kv_heads": 8,
        "norm_eps": 1e-5, "vocab_size": 131072, "rope_theta": 1e8,
    }  # fmt: skip
    for windows in ([None, 32768, 32768, 32768], [131072, 32768, 32768, 32768]):
        (folder / "params.json").write_text(json.dumps({**params, "_sliding_window": windows}))
        plan = planned(folder)
        assert plan.config.attention == Attention(32768, (False, True, True, True) * 9)
        assert plan.config.context_length == 131072
        assert plan.parameters == 8_019_808_256


def test_later_tokenizers_keep_their_version(tmp_path: Path) -> None:
    """Mistral Small 3.2 and Devstral list their special tokens, and name newer templates."""
    folder = sparse_checkpoint(tmp_path / "model", SMALL_3, TEKKEN)
    content = json.loads(TEKKEN.read_text())
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *(f"[X{n}]" for n in range(5, 1000))]
    content["special_tokens"] = [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(names)]
    (folder / "tekken.json").unlink()
    for version in ("v11", "v13"):
        content["config"]["version"] = version
        (folder / "tekken.json").write_text(json.dumps(content))
        assert planned(folder).template == version
