import json
from typing import Any

import pytest
from checkpoints import SHARDED, config

from convert.config import parse_config, read_config
from convert.windows import Attention
from quant.errors import CheckpointError


def test_what_transformers_5_writes() -> None:
    found = parse_config(json.loads((SHARDED / "config.json").read_text()))
    assert (found.architecture, found.n_layers, found.hidden, found.feed_forward) == ("llama", 4, 256, 256)
    assert (found.n_heads, found.n_kv_heads, found.head_dim, found.vocab_size) == (4, 2, 64, 1280)
    assert (found.context_length, found.rope_theta, found.norm_eps) == (32768, 1e6, 1e-5)
    assert found.tied_embeddings is False


@pytest.mark.parametrize("kind", ["mistral", "ministral"])
def test_the_type_stands_for_an_architecture_that_is_not_named(kind: str) -> None:
    settings = config(model_type=kind)
    del settings["architectures"]
    assert parse_config(settings) == parse_config(config())


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


def test_a_window_that_is_not_named_is_that_of_transformers() -> None:
    """MistralConfig's default, 4,096 tokens, which is what such a file means; None stands in it as null."""
    settings = config(max_position_embeddings=32768)
    assert parse_config(settings).attention == Attention()
    del settings["sliding_window"]
    assert parse_config(settings).attention == Attention(4096, (True, True))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture 'GPT2LMHeadModel' is unknown"),
        ({"architectures": ["Mistral3ForConditionalGeneration"]}, "text_config is missing"),
        (
            {"architectures": ["LlavaForConditionalGeneration"], "text_config": {"hidden_size": 256}},
            "text model missing",
        ),
        ({"architectures": ["Mistral3ForConditionalGeneration"], "text_config": {"model_type": "x"}}, "text model 'x'"),
        ({"architectures": ["Mistral3ForConditionalGeneration"], "text_config": [1]}, "text_config is .1., no object"),
        ({"architectures": None, "model_type": "qwen2"}, "architecture 'qwen2'"),
        ({"architectures": None, "model_type": None}, "config.json names no architecture"),
        ({"architectures": [{}]}, "is unknown"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"sliding_window": "16"}, "sliding_window is '16'"),
        ({"sliding_window": 16, "layer_types": ["full_attention"]}, "no list of 2 layers"),
        ({"sliding_window": 16, "layer_types": ["full_attention", "chunked_attention"]}, "type 'chunked_attention'"),
        ({"sliding_window": None, "layer_types": ["sliding_attention"] * 2}, "there is no sliding_window"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "rotary scaling 'yarn'"),
        ({"rope_parameters": None, "rope_theta": 1e6, "rope_scaling": {"type": "linear"}}, "rotary scaling 'linear'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4}}, "rotary scaling 'yarn'"),
        ({"rope_parameters": [1]}, "rope_parameters is .1., no object"),
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


def test_windows_make_another_graph() -> None:
    """Mistral 7B v0.1 slides in every layer; transformers' Ministral says which."""
    every = parse_config(config(sliding_window=16))
    assert (every.architecture, every.attention) == ("granite_swa", Attention(16, (True, True)))
    kinds = ["full_attention", "sliding_attention"]
    some = parse_config(config(architectures=["MinistralForCausalLM"], sliding_window=16, layer_types=kinds))
    assert some.attention == Attention(16, (False, True))


def test_the_text_model_of_a_multimodal_checkpoint() -> None:
    text = config(layers=3)
    del text["architectures"]
    found = parse_config(
        {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": text, "vision_config": {}}
    )
    assert found == parse_config(config(layers=3))


def test_a_text_model_of_which_only_what_is_special_is_told() -> None:
    """As in Pixtral 12B's config.json; what it leaves out is transformers' default, 32 heads here."""
    text = config(heads=32, head_dim=8)
    told = {key: value for key, value in text.items() if key not in ("architectures", "num_attention_heads")}
    found = parse_config({"architectures": ["LlavaForConditionalGeneration"], "text_config": told, "vision_config": {}})
    assert found == parse_config(text)


PARAMS = {
    "dim": 256, "n_layers": 4, "head_dim": 64, "hidden_dim": 512, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5,
    "vocab_size": 300, "rope_theta": 1e6,
}  # fmt: skip


def test_params_tell_the_pattern_that_config_hides() -> None:
    """Ministral 8B's config.json names the window as the context."""
    hiding = config(layers=4, sliding_window=32768, max_position_embeddings=32768)
    assert parse_config(hiding).attention == Attention()
    for windows in ([None, 32768, 32768, 32768], [131072, 32768, 32768, 32768]):
        for native in (False, True):
            found = read_config(hiding, {**PARAMS, "_sliding_window": windows}, native)
            assert found.attention == Attention(32768, (False, True, True, True))
            assert found.context_length == 131072
            assert found.architecture == "granite_swa"


def test_of_two_contexts_without_a_pattern_the_users_one_counts() -> None:
    found = read_config(config(layers=4, max_position_embeddings=131072), PARAMS, native=True)
    assert (found.context_length, found.architecture) == (131072, "llama")


def test_descriptions_that_disagree_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"params\.json and config\.json are of two models \(n_layers: 4, 2\)"):
        read_config(config(), {**PARAMS, "sliding_window": [None, 16]}, native=False)
