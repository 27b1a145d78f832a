"""What sees: read from a checkpoint, planned tensor by tensor, and held against what transformers computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import mtmd_oracle
import numpy as np
import pytest
from checkpoints import MERGING, PIXTRAL, Tensors, read_tensors, write_native, write_safetensors
from numpy.typing import NDArray

from convert.checkpoint import open_checkpoint
from convert.config import read_config
from convert.gguf_file import read_header
from convert.pipeline import convert, projector_bytes
from convert.vision import VisionConfig, folder_sees, read_vision
from quant.errors import CheckpointError, UsageError

IMG, IMG_BREAK = 10, 12


@pytest.fixture(scope="module", params=[MERGING, PIXTRAL], ids=["Mistral Small 3.1", "Pixtral"])
def source(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def made(source: Path, folder: Path, projector_type: str = "f32") -> tuple[Path, Path]:
    """The model, at f32, and what sees."""
    model, projector = folder / f"{projector_type}.gguf", folder / f"mmproj-{projector_type}.gguf"
    convert(source, model, "f32", name="model", projector=projector, projector_type=projector_type)
    return model, projector


def vision_of(folder: Path) -> VisionConfig:
    checkpoint = open_checkpoint(folder)
    checkpoint.files.close()
    text = read_config(checkpoint.config, checkpoint.params, checkpoint.native)
    return read_vision(checkpoint.config, checkpoint.params, checkpoint.native, text, folder)


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    return {t.name: t.data for t in gguf.GGUFReader(path).tensors}


# --- what transformers computes ---


@pytest.mark.parametrize("is_native", [False, True])
def test_a_picture_becomes_what_transformers_makes_of_it(source: Path, tmp_path: Path, is_native: bool) -> None:
    """Its embeddings within 0.5% of their scale, and with them the logits of a whole prompt."""
    checkpoint = write_native(source, tmp_path / "native") if is_native else source
    model, projector = made(checkpoint, tmp_path)
    with np.load(source / "expected.npz") as file:
        image, ids, features, expected = (file[key] for key in ("image", "ids", "image_features", "logits"))
    found = mtmd_oracle.features(model, projector, image)
    assert found is not None
    picture = ids[(ids == IMG) | (ids == IMG_BREAK)]
    assert np.abs(found[picture == IMG] - features).max() < 0.005 * features.std()
    assert np.array_equal(found[picture == IMG_BREAK], [embedding(source, IMG_BREAK)] * (picture == IMG_BREAK).sum())
    logits = mtmd_oracle.logits(model, projector, image, ids)
    assert np.array_equal(logits.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(logits - expected).max() < 0.01


def embedding(source: Path, token: int) -> NDArray[np.float32]:
    row = read_tensors(source)["language_model.model.embed_tokens.weight"][token]
    return (row.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize(("projector_type", "most"), [("fp16", 0.005), ("q8_0", 0.1)])
def test_smaller_types(source: Path, tmp_path: Path, projector_type: str, most: float) -> None:
    model, projector = made(source, tmp_path, projector_type)
    with np.load(source / "expected.npz") as file:
        image, ids, features = (file[key] for key in ("image", "ids", "image_features"))
    found = mtmd_oracle.features(model, projector, image)
    assert found is not None
    picture = ids[(ids == IMG) | (ids == IMG_BREAK)]
    assert np.abs(found[picture == IMG] - features).max() < most * features.std()
    kinds = {t.name: t.kind.name for t in read_header(projector).tensors}
    assert kinds["v.patch_embd.weight"] == "f16"  # libmtmd has no blocks for a convolution
    assert kinds["mm.2.weight"] == {"fp16": "f16", "q8_0": "q8_0"}[projector_type]
    assert {kinds[name] for name in kinds if "ln" in name or "norm" in name} == {"f32"}
    assert (kinds["v.token_embd.img_break"], kinds["v.blk.0.attn_q.weight"]) == ("f32", "f16")  # rows of 48


def test_both_formats_make_the_same(source: Path, tmp_path: Path) -> None:
    native = write_native(source, tmp_path / "native", shards=2)
    (tmp_path / "theirs").mkdir()
    for ours, theirs in zip(made(source, tmp_path), made(native, tmp_path / "theirs"), strict=True):
        left, right = tensors(ours), tensors(theirs)
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[name], right[name]) for name in left)


def test_the_keys_that_libmtmd_asks_for(tmp_path: Path) -> None:
    _, projector = made(MERGING, tmp_path)
    keys = read_header(projector).metadata
    vision = {key.removeprefix("clip.vision."): keys[key] for key in keys if key.startswith("clip.vision.")}
    assert {key: vision[key] for key in vision if key not in ("image_mean", "image_std")} == {
        "image_size": 1540, "patch_size": 14, "spatial_merge_size": 2, "embedding_length": 48,
        "feed_forward_length": 80, "block_count": 2, "projection_dim": 64, "attention.head_count": 3,
        "attention.layer_norm_epsilon": pytest.approx(1e-5),
    }  # fmt: skip
    assert vision["image_mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert vision["image_std"] == pytest.approx([0.26862954, 0.26130258, 0.27577711])
    assert (keys["general.architecture"], keys["general.type"], keys["clip.projector_type"]) == (
        "clip", "mmproj", "pixtral",
    )  # fmt: skip
    assert (keys["clip.use_silu"], keys["clip.has_vision_encoder"], keys["minichat.recipe"]) == (True, True, "f32")


def test_the_size_is_known_from_the_description(source: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(source)
    for projector_type in ("f32", "fp16", "q8_0"):
        _, projector = made(source, tmp_path, projector_type)
        foretold = projector_bytes(checkpoint, projector_type)
        assert 0 < projector.stat().st_size - foretold < 3000  # the keys
    checkpoint.files.close()
    with pytest.raises(UsageError, match="unknown type of a projector 'q4_0': choose one of fp16, q8_0, f32"):
        projector_bytes(checkpoint, "q4_0")


# --- what a description says ---


def described(folder: Path, source: Path, change: Callable[[dict[str, Any]], object], native: bool = False) -> Path:
    """A checkpoint whose description is changed."""
    if native:
        write_native(source, folder)
    else:
        shutil.copytree(source, folder)
    path = folder / ("params.json" if native else "config.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def test_what_transformers_leaves_out_is_its_default(tmp_path: Path) -> None:
    """Pixtral 12B's config.json says this of its tower, and no more."""
    told = {
        "head_dim": 64, "hidden_act": "silu", "image_size": 1024, "is_composition": True, "model_type": "pixtral",
        "patch_size": 16, "rope_theta": 10000.0, "tie_word_embeddings": False,
    }  # fmt: skip
    folder = described(tmp_path / "a", PIXTRAL, lambda config: config.update(vision_config=told))
    assert vision_of(folder) == VisionConfig(24, 1024, 4096, 16, 1024, 16, 1, False, True, 64)


def test_the_longest_side_of_a_picture(tmp_path: Path) -> None:
    folder = described(tmp_path / "a", MERGING, dict.copy)
    assert vision_of(folder).longest_side == 1540
    (folder / "preprocessor_config.json").write_text('{"size": {"longest_edge": 980}, "image_mean": [0.5, 0.5, 0.5]}')
    assert (vision_of(folder).longest_side, vision_of(folder).mean) == (980, (0.5, 0.5, 0.5))
    (folder / "preprocessor_config.json").write_text('{"size": {"longest_edge": 2000}}')
    assert vision_of(folder).longest_side == 1540
    (folder / "preprocessor_config.json").unlink()
    assert vision_of(folder).longest_side == 1540


def test_the_longest_side_in_mistrals_words(tmp_path: Path) -> None:
    def told(**more: Any) -> int:
        return vision_of(described(tmp_path / str(more), MERGING, in_encoder(**more), native=True)).longest_side

    assert told(max_image_size=980, image_size=1540) == 980
    assert told(max_image_size=980, image_size=None) == 980
    assert told(max_image_size=None, image_size=1024) == 1024


def test_which_folders_see(tmp_path: Path) -> None:
    assert folder_sees(MERGING)
    assert folder_sees(write_native(PIXTRAL, tmp_path / "native"))
    assert not folder_sees(tmp_path)
    (tmp_path / "config.json").write_text("rubbish")
    assert not folder_sees(tmp_path)


def in_vision(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["vision_config"].update(more)


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (MERGING, in_vision(model_type="siglip"), "vision model 'siglip' is unknown"),
        (MERGING, in_vision(hidden_act="gelu"), "activation 'gelu' of the vision model"),
        (MERGING, lambda c: c["vision_config"].pop("hidden_act"), "activation 'gelu' of the"),  # transformers' default
        (MERGING, in_vision(rope_parameters={"rope_theta": 5e5}), "rope_theta is 500000.0, and llama.cpp computes 1"),
        (MERGING, in_vision(num_channels=4), "num_channels is 4"),
        (MERGING, in_vision(num_attention_heads=5), "5 heads do not fit a vision model of 48"),
        (MERGING, in_vision(num_attention_heads=8), "8 heads do not fit a vision model of 48"),
        (MERGING, in_vision(head_dim=8), "head_dim"),
        (MERGING, in_vision(patch_size=0), "patch_size is 0"),
        (MERGING, in_vision(image_size=20), "pictures of 20 pixels have room for no patch"),
        (MERGING, in_vision(hidden_size=1 << 30), "hidden_size is 1073741824"),
        (MERGING, in_vision(num_hidden_layers=3), r"lacks the tensor vision_tower\.transformer\.layers\.2"),
        (MERGING, in_vision(num_hidden_layers=1), r"vision_tower\.transformer\.layers\.1\.\S+ has no place in the vis"),
        (MERGING, in_vision(intermediate_size=96), r"shape \(80, 48\), and config.json says \(96, 48\)"),
        (MERGING, lambda c: c.update(spatial_merge_size=3), "merging_layer.weight has the shape"),
        (MERGING, lambda c: c.update(spatial_merge_size=99), "spatial_merge_size is 99"),
        (MERGING, lambda c: c.update(projector_hidden_act="relu"), "projector_hidden_act is 'relu'"),
        (MERGING, lambda c: c.update(vision_feature_layer=-2), "vision_feature_layer is -2"),
        (MERGING, lambda c: c.update(multimodal_projector_bias=True), r"lacks the tensor \S+linear_1\.bias"),
        (MERGING, lambda c: c["text_config"].update(rms_norm_eps=1e-6), "rms_norm_eps is 1e-06"),
        (MERGING, lambda c: c.pop("vision_config"), r"the tensor \S+ is there, and config.json has no vision_config"),
        (MERGING, lambda c: c.update(vision_config=[1]), "vision_config is .1., no object"),
        (PIXTRAL, lambda c: c.pop("vision_feature_layer"), "vision_feature_layer is -2"),  # LLaVA's default
        (PIXTRAL, lambda c: c.pop("vision_feature_select_strategy"), "vision_feature_select_strategy is missing"),
        (PIXTRAL, lambda c: c.update(multimodal_projector_bias=False), r"linear_1\.bias has no place"),
    ],
)
def test_what_libmtmd_would_compute_otherwise_is_refused(
    tmp_path: Path, source: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = described(tmp_path / "a", source, change)
    with pytest.raises(CheckpointError, match=message):
        made(folder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "home"}


def in_encoder(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda params: params["vision_encoder"].update(more)


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (MERGING, in_encoder(mm_projector_id="resampler"), "mm_projector_id is 'resampler'"),
        (MERGING, in_encoder(mm_projector_id=""), "a merger of patches and a norm before it come together"),
        (MERGING, in_encoder(add_pre_mm_projector_layer_norm=False), "come together"),
        (MERGING, in_encoder(rope_theta=5e5), "rope_theta is 500000.0"),
        (MERGING, in_encoder(adapter_bias=True), r"lacks the tensor vision_language_adapter\.w_in\.bias"),
        (MERGING, in_encoder(image_break_token_id=13), r"image_break_token_id is 13, and \S+ has .IMG_BREAK. at 12"),
        (MERGING, in_encoder(hidden_size=None), "hidden_size is missing"),
        (PIXTRAL, in_encoder(patch_size=14), r"patch_conv\.weight has the shape \(48, 3, 16, 16\)"),
        (PIXTRAL, lambda params: params.pop("vision_encoder"), "params.json has no vision_encoder"),
    ],
)
def test_so_of_mistrals_own_format(
    tmp_path: Path, source: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = described(tmp_path / "a", source, change, native=True)
    with pytest.raises(CheckpointError, match=message):
        made(folder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "home"}


def test_without_it_a_model_that_sees_is_a_text_model_still(tmp_path: Path) -> None:
    """Even if what is told of its tower is something else."""
    folder = described(tmp_path / "a", MERGING, in_vision(model_type="siglip"))
    report = convert(folder, tmp_path / "a.gguf", "f32")
    assert (report.projector, report.projector_bytes, report.projector_sha256) == (None, 0, None)
    assert report.remarks == ("text only: the vision encoder (24 tensors) is left out",)
    with_sight, _ = made(MERGING, tmp_path)
    assert (tensors(tmp_path / "a.gguf")).keys() == tensors(with_sight).keys()


def changed(folder: Path, change: Callable[[Tensors], object]) -> Path:
    weights = read_tensors(MERGING)
    shutil.copytree(MERGING, folder)
    change(weights)
    write_safetensors(folder / "model.safetensors", weights)
    return folder


def test_a_tokenizer_without_the_breaks_of_rows(tmp_path: Path) -> None:
    folder = changed(tmp_path / "a", dict.copy)
    content = json.loads((folder / "tekken.json").read_text())
    names = ["<unk>", "<s>", "</s>"]
    content["special_tokens"] = [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(names)]
    (folder / "tekken.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"has no token \[IMG_BREAK\], and the model sees"):
        made(folder, tmp_path)


def test_weights_that_are_no_numbers_leave_nothing(tmp_path: Path) -> None:
    """Of the text model and of what sees: nothing of either."""

    def spoil(weights: Tensors) -> None:
        name = "vision_tower.transformer.layers.1.feed_forward.up_proj.weight"
        weights[name] = weights[name].copy()
        weights[name][3, 5] = 0x7FC0  # NaN

    folder = changed(tmp_path / "a", spoil)
    with pytest.raises(Exception, match=r"layers\.1\.feed_forward\.up_proj\.weight"):
        made(folder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "home"}
