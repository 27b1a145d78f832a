import json
from typing import Any

import pytest
from checkpoints import SHARDED, config

from convert.config import parse_config
from quant.errors import CheckpointError


def test_what_transformers_5_writes() -> None:
    found = parse_config(json.loads((SHARDED / "config.json").read_text()))
    assert (found.architecture, found.n_layers, found.hidden, found.feed_forward) == ("llama", 4, 256, 256)
    assert (found.n_heads, found.n_kv_heads, found.head_dim, found.vocab_size) == (4, 2, 64, 1280)
    assert (found.context_length, found.rope_theta, found.norm_eps) == (32768, 1e6, 1e-5)
    assert found.tied_embeddings is False


def test_what_older_transformers_wrote() -> None:
    """Mistral Small 3's config.json has its rotary base at the top and may leave out the head size."""
    old = config(hidden=512, heads=8)
    del old["rope_parameters"], old["head_dim"]
    found = parse_config({**old, "rope_theta": 1e8, "rope_scaling": None})
    assert (found.rope_theta, found.head_dim) == (1e8, 64)


def test_a_head_size_of_its_own() -> None:
    assert parse_config(config(hidden=640, heads=4, head_dim=128)).head_dim == 128


@pytest.mark.parametrize(
    "more",
    [
        {"sliding_window": 4096, "max_position_embeddings": 4096},
        {"sliding_window": 16, "layer_types": ["full_attention"] * 2},
        {"architectures": ["MinistralForCausalLM"], "layer_types": ["full_attention"] * 2, "sliding_window": 16},
    ],
)
def test_windows_that_do_not_matter(more: dict[str, Any]) -> None:
    assert parse_config(config(**more)).architecture == "llama"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture 'GPT2LMHeadModel' is unknown"),
        ({"architectures": ["Mistral3ForConditionalGeneration"]}, "Mistral3ForConditionalGeneration"),
        ({"architectures": None, "model_type": "qwen2"}, "architecture 'qwen2'"),
        ({"architectures": None, "model_type": None}, "architecture missing"),
        ({"architectures": [{}]}, "is unknown"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "quantized already .'compressed-tensors'"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"sliding_window": 16}, "sliding window of 16 tokens"),
        ({"sliding_window": "16"}, "sliding_window is '16'"),
        ({"sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "rotary scaling 'yarn'"),
        ({"rope_parameters": None, "rope_theta": 1e6, "rope_scaling": {"type": "linear"}}, "rotary scaling 'linear'"),
        ({"rope_parameters": [1]}, "no object"),
        ({"rope_parameters": {}}, "rope_theta is missing"),
        ({"rope_parameters": {"rope_theta": -1}}, "rope_theta is -1"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial rotary"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "256"}, "hidden_size is '256'"),
        ({"hidden_size": 1 << 40}, "no sensible size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_key_value_heads": 3}, "do not fit together"),
        ({"head_dim": 33}, "do not fit together"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"vocab_size": 1.5}, "vocab_size is 1.5"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**config(), **more})
