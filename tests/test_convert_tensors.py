import numpy as np
import pytest
from checkpoints import config, random_tensors

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
    planned = plan_tensors(parse_config(settings), sources(settings))
    assert {t.source.name for t in planned} == set(sources(settings))
    for tensor in planned:
        assert names.get_name(tensor.source.name, try_suffixes=(".weight",)) == tensor.name
        assert tensor.head_rows == (64 if "attn_q." in tensor.name or "attn_k." in tensor.name else 0)


def test_a_tied_head_is_left_out() -> None:
    settings = config(tied=True)
    head = {"lm_head.weight": sources(config())["lm_head.weight"]}
    for tensors in (sources(settings), sources(settings) | head):
        assert "output.weight" not in [t.name for t in plan_tensors(parse_config(settings), tensors)]


def test_what_does_not_fit_is_named() -> None:
    settings = config()
    model, tensors = parse_config(settings), sources(settings)
    norm = tensors["model.norm.weight"]

    def refused(changed: dict[str, SourceTensor]) -> str:
        with pytest.raises(CheckpointError) as caught:
            plan_tensors(model, changed)
        return str(caught.value)

    assert "lacks the tensor model.norm.weight" in refused({n: t for n, t in tensors.items() if t is not norm})
    assert "no place in the model" in refused(tensors | {"model.layers.2.mlp.up_proj.weight": norm})
    wrong = SourceTensor(norm.name, "BF16", (255,), norm.path, 0, 510)
    assert "model.norm.weight has the shape (255,), and config.json says (256,)" in refused(
        tensors | {norm.name: wrong}
    )
    eight_bit = SourceTensor(norm.name, "F8_E4M3", (256,), norm.path, 0, 256)
    assert "model.norm.weight has the type F8_E4M3" in refused(tensors | {norm.name: eight_bit})


def test_old_rotary_tables_are_left_out() -> None:
    settings = config()
    tensors = sources(settings)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = tensors["model.norm.weight"]
    assert len(plan_tensors(parse_config(settings), tensors)) == len(tensors) - 1


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
