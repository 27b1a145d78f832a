from dataclasses import replace

import numpy as np
import pytest
from checkpoints import config, native_tensors, random_tensors

from convert.config import parse_config
from convert.safetensors_file import SourceTensor
from convert.tensors import interleave_pairs, plan_tensors
from quant.errors import CheckpointError


def sources(settings: dict[str, object]) -> dict[str, SourceTensor]:
    from pathlib import Path

    found = random_tensors(settings)
    return {n: SourceTensor(n, "BF16", v.shape, Path("model.safetensors"), 0, v.nbytes) for n, v in found.items()}


def test_names_follow_the_formats_table() -> None:
    """gguf's own table of names, made for converters, is the judge."""
    from gguf import MODEL_ARCH, TensorNameMap

    settings = config(layers=3)
    names = TensorNameMap(MODEL_ARCH.LLAMA, 3)
    planned = plan_tensors(parse_config(settings), sources(settings)).tensors
    assert {t.source.name for t in planned} == set(sources(settings))
    for tensor in planned:
        assert names.get_name(tensor.source.name, try_suffixes=(".weight",)) == tensor.name
        assert tensor.head_rows == (64 if "attn_q." in tensor.name or "attn_k." in tensor.name else 0)


def test_both_formats_make_the_same_tensors() -> None:
    """Only the rows of Q and K are ordered in one of them."""
    settings = config(layers=3)
    own = native_tensors(random_tensors(settings), 64)
    found = {n: replace(sources(settings)["model.norm.weight"], name=n, shape=v.shape) for n, v in own.items()}
    hub = plan_tensors(parse_config(settings), sources(settings)).tensors
    native = plan_tensors(parse_config(settings), found, native=True).tensors
    assert [(t.name, t.shape) for t in native] == [(t.name, t.shape) for t in hub]
    assert {t.source.name for t in native} == set(own)
    assert not any(t.head_rows for t in native)


@pytest.mark.parametrize("prefix", ["language_model.", "model.language_model."])
def test_the_text_model_of_a_multimodal_checkpoint(prefix: str) -> None:
    """Transformers has written its names in two ways; what sees is set aside."""
    settings = config()
    plain = sources(settings)
    found = {}
    for name, tensor in plain.items():
        if prefix == "language_model.":
            found[prefix + name] = tensor
        else:
            found[name.replace("model.", prefix, 1) if name.startswith("model.") else name] = tensor
    seeing = [
        "vision_tower.patch_conv.weight",
        "multi_modal_projector.linear_1.weight",
        "model.vision_tower.ln_pre.weight",
    ]
    plan = plan_tensors(parse_config(settings), found | dict.fromkeys(seeing, plain["model.norm.weight"]))
    assert plan.tensors == plan_tensors(parse_config(settings), plain).tensors
    assert len(plan.seeing) == 3


def test_the_text_model_of_a_multimodal_checkpoint_in_mistrals_own_format() -> None:
    """Mistral's names of the text model have no prefix."""
    settings = config()
    shapes = {name: values.shape for name, values in native_tensors(random_tensors(settings), 64).items()}
    norm = sources(settings)["model.norm.weight"]
    found = {name: replace(norm, name=name, shape=shape) for name, shape in shapes.items()}
    seeing = [
        "vision_encoder.transformer.layers.0.attention.wq.weight",
        "vision_language_adapter.w_in.weight",
        "patch_merger.merging_layer.weight",
        "pre_mm_projector_norm.weight",
    ]
    plan = plan_tensors(
        parse_config(settings), found | {name: replace(norm, name=name) for name in seeing}, native=True
    )
    assert {t.source.name for t in plan.tensors} == set(shapes)
    assert [t.name for t in plan.seeing.values()] == seeing


def test_one_tensor_under_two_names() -> None:
    settings = config()
    found = sources(settings)
    with pytest.raises(CheckpointError, match="are the same tensor"):
        plan_tensors(parse_config(settings), found | {"language_model.model.norm.weight": found["model.norm.weight"]})


def test_windows_need_sinks_that_take_nothing() -> None:
    settings = config(sliding_window=16)
    model = parse_config(settings)
    sinks = plan_tensors(model, sources(settings)).constants
    assert [(t.name, t.shape) for t in sinks] == [(f"blk.{n}.attn_sinks.weight", (4,)) for n in range(2)]
    assert all(np.exp(np.float32(t.value)) == 0 for t in sinks)


def test_a_tied_head_is_left_out() -> None:
    settings = config(tied=True)
    head = {"lm_head.weight": sources(config())["lm_head.weight"]}
    for tensors in (sources(settings), sources(settings) | head):
        assert "output.weight" not in [t.name for t in plan_tensors(parse_config(settings), tensors).tensors]


def test_what_does_not_fit_is_named() -> None:
    settings = config()
    model, tensors = parse_config(settings), sources(settings)
    norm = tensors["model.norm.weight"]

    def refused(changed: dict[str, SourceTensor]) -> str:
        with pytest.raises(CheckpointError) as caught:
            plan_tensors(model, changed)
        return str(caught.value)

    assert "lacks the tensor model.norm.weight" in refused({n: t for n, t in tensors.items() if t is not norm})
    assert "no place in the model" in refused(tensors | {"x.weight": replace(norm, name="x.weight")})
    wrong = SourceTensor(norm.name, "BF16", (255,), norm.path, 0, 510)
    assert "model.norm.weight has the shape (255,), and config.json says (256,)" in refused(
        tensors | {norm.name: wrong}
    )
    eight_bit = SourceTensor(norm.name, "F8_E4M3", (256,), norm.path, 0, 256)
    assert "model.norm.weight has the type F8_E4M3" in refused(tensors | {norm.name: eight_bit})
    up = tensors["model.layers.0.mlp.up_proj.weight"]
    eight_bit = replace(up, dtype="F8_E4M3")
    assert f"{up.name} has 8-bit weights and no scales" in refused(tensors | {up.name: eight_bit})


def test_old_rotary_tables_are_left_out() -> None:
    settings = config()
    tensors = sources(settings)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = tensors["model.norm.weight"]
    assert len(plan_tensors(parse_config(settings), tensors).tensors) == len(tensors) - 1


@pytest.mark.parametrize(("heads", "head_rows"), [(1, 2), (3, 8), (4, 64)])
def test_pairs_make_the_rotation_that_halves_made(heads: int, head_rows: int) -> None:
    """Rotating neighbours of the reordered rows gives what rotating halves of the old ones gives."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((heads * head_rows, 16)).astype(np.float32)
    x, angles = rng.standard_normal(16), rng.random(head_rows // 2)
    halves = (weights @ x).reshape(heads, 2, -1)
    pairs = (interleave_pairs(weights, head_rows) @ x).reshape(heads, -1, 2)
    by_halves = halves[:, 0] * np.cos(angles) - halves[:, 1] * np.sin(angles)
    by_pairs = pairs[:, :, 0] * np.cos(angles) - pairs[:, :, 1] * np.sin(angles)
    assert np.allclose(by_halves, by_pairs)
    assert np.array_equal(np.sort(interleave_pairs(weights, head_rows), axis=0), np.sort(weights, axis=0))
