import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import RAGGED, SHARDED, write_native

from convert.config import parse_config
from convert.params import parse_params
from convert.windows import Attention
from quant.errors import CheckpointError

PARAMS: dict[str, Any] = {
    "dim": 256, "n_layers": 4, "head_dim": 64, "hidden_dim": 512, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5,
    "vocab_size": 300, "rope_theta": 1e6,
}  # fmt: skip


@pytest.mark.parametrize("source", [SHARDED, RAGGED], ids=["plain", "ragged"])
def test_both_descriptions_of_a_model_say_the_same(tmp_path: Path, source: Path) -> None:
    folder = write_native(source, tmp_path / "native")
    params, config = (json.loads(path.read_text()) for path in (folder / "params.json", source / "config.json"))
    assert parse_params(params) == parse_config(config)


def test_what_a_file_may_leave_out() -> None:
    short = {key: value for key, value in PARAMS.items() if key not in ("head_dim", "n_kv_heads", "rope_theta")}
    found = parse_params(short)
    assert (found.head_dim, found.n_kv_heads, found.rope_theta, found.context_length) == (64, 4, 1e6, 32768)
    assert parse_params({**short, "sliding_window": 4096}).rope_theta == 1e4  # Mistral 7B v0.1


@pytest.mark.parametrize(
    ("more", "attention", "context"),
    [
        ({}, Attention(), 32768),
        ({"max_seq_len": 65536}, Attention(), 65536),
        ({"max_position_embeddings": 131072, "max_seq_len": 65536}, Attention(), 131072),
        ({"sliding_window": 4096}, Attention(4096, (True,) * 4), 32768),
        ({"sliding_window": None, "_sliding_window": [None, 8]}, Attention(8, (False, True) * 2), 32768),
        ({"_sliding_window": [None, 32768, 32768, 32768]}, Attention(32768, (False, True, True, True)), 131072),
        ({"sliding_window": [131072, 32768]}, Attention(32768, (False, True) * 2), 131072),
        ({"sliding_window": [None, None]}, Attention(), 32768),
        ({"sliding_window": [32768], "max_position_embeddings": 32768}, Attention(), 32768),
    ],
)
def test_windows_and_contexts(more: dict[str, Any], attention: Attention, context: int) -> None:
    found = parse_params({**PARAMS, **more})
    assert (found.attention, found.context_length) == (attention, context)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"moe": {"num_experts": 8}}, "moe is set"),
        ({"yarn": {"factor": 4}}, "yarn is set"),
        ({"model_type": "mamba"}, "no causal transformer"),
        ({"causal": False}, "no causal transformer"),
        ({"dim": 0}, "params.json: dim is 0"),
        ({"n_layers": 513}, "n_layers is 513"),
        ({"n_kv_heads": 3}, "do not fit together"),
        ({"norm_eps": None}, "norm_eps is missing"),
        ({"rope_theta": "1e6"}, "rope_theta is '1e6'"),
        ({"sliding_window": [8, 16]}, "windows of 8 and 16 tokens"),
        ({"sliding_window": [None, 8, 8]}, "pattern of 3 windows does not fit 4 layers"),
        ({"sliding_window": []}, "pattern of 0 windows"),
        ({"sliding_window": [0]}, "neither a window nor a list"),
        ({"sliding_window": "8"}, "neither a window nor a list"),
        ({"sliding_window": [True]}, "neither a window nor a list"),
        ({"max_seq_len": -1}, "max_seq_len is -1"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_params({**PARAMS, **more})
