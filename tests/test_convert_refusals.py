"""What is refused before a conversion begins, and what ends one: nothing new is left, and the old file is as it was."""

import json
import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import SHARDED, config, random_tensors, tekken, write_checkpoint
from refusals import assert_untouched

from convert import pipeline
from convert.files import LocalFiles
from convert.pipeline import convert
from convert.report import Progress
from quant.errors import CheckpointError, MinichatError, QuantError, StorageError, UsageError


def set_weight(weights: dict[str, Any], value: float) -> None:
    weights["model.layers.1.mlp.up_proj.weight"][7, 5] = value


def lose_shard(source: Path) -> None:
    (source / "model-00002-of-00002.safetensors").unlink()


def truncate(source: Path) -> None:
    path = source / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def change_config(**more: Any) -> Any:
    def apply(source: Path) -> None:
        path = source / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **more}))

    return apply


def lose_tokens(source: Path) -> None:
    (source / "tekken.json").write_text(json.dumps(tekken(281)))


BAD: dict[str, tuple[Any, type[MinichatError], str]] = {
    "no shard": (lose_shard, CheckpointError, "lacks model-00002-of-00002.safetensors"),
    "a shard cut short": (truncate, CheckpointError, "model-00001-of-00002.safetensors is cut short"),
    "another shape": (
        change_config(intermediate_size=256),
        CheckpointError,
        r"gate_proj.weight has the shape \(512, 256\)",
    ),
    "more layers": (change_config(num_hidden_layers=5), CheckpointError, "lacks the tensor model.layers.2"),
    "fewer layers": (change_config(num_hidden_layers=1), CheckpointError, "model.layers.1.* has no place"),
    "another vocabulary": (lose_tokens, CheckpointError, "tekken.json has 301 tokens"),
    "an unknown architecture": (change_config(architectures=["X"]), CheckpointError, "architecture 'X' is unknown"),
    "no folder": (lambda source: source.rename(source.parent / "gone"), CheckpointError, "does not exist"),
    "no checkpoint": (lambda source: (source / "config.json").unlink(), CheckpointError, "is no checkpoint"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_checkpoint_is_refused_before_work_starts(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, error, message = BAD[case]
    source = write_checkpoint(tmp_path / "model", config(), shards=2)
    change(source)
    monkeypatch.setattr(pipeline, "published_together", None)  # calling it would raise TypeError
    assert_untouched(source, tmp_path / "out" / "a.gguf", error, message)


@pytest.mark.parametrize("target", ["f32", "fp16", "q8_0", "q4_K_M"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_weights_that_are_no_numbers(tmp_path: Path, target: str, value: float, word: str) -> None:
    settings = config()
    weights = random_tensors(settings, "F32")
    set_weight(weights, value)
    source = write_checkpoint(tmp_path / "model", settings, weights)
    message = f"model.layers.1.mlp.up_proj.weight holds {word} weights"
    assert_untouched(source, tmp_path / "out" / "a.gguf", QuantError, message, target=target)


def test_weights_too_large_for_float16(tmp_path: Path) -> None:
    settings = config()
    weights = random_tensors(settings, "F32")
    set_weight(weights, 1e6)
    source = write_checkpoint(tmp_path / "model", settings, weights)
    message = "model.layers.1.mlp.up_proj.weight holds weights too large for f16"
    assert_untouched(source, tmp_path / "out" / "a.gguf", QuantError, message, target="fp16")


def test_unknown_targets_and_impossible_places(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", config())
    with pytest.raises(UsageError, match="unknown quantization 'q9'"):
        convert(source, tmp_path / "a.gguf", "q9")
    for inside in (source, source / "a.gguf", tmp_path / "x" / ".." / "model" / "a.gguf"):
        with pytest.raises(UsageError, match="is inside the checkpoint"):
            convert(source, inside)
    with pytest.raises(StorageError, match="does not exist"):
        convert(source, tmp_path / "absent" / "a.gguf")
    linked = shutil.copytree(source, tmp_path / "linked")
    (linked / "model.safetensors").rename(tmp_path / "weights")
    (linked / "model.safetensors").symlink_to(tmp_path / "weights")
    with pytest.raises(UsageError, match="is one of the checkpoint's own files"):
        convert(linked, tmp_path / "weights")
    assert sorted(p.name for p in source.iterdir()) == ["config.json", "model.safetensors", "tekken.json"]


def test_too_little_space_is_found_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 17_000_000))
    monkeypatch.setattr(pipeline, "published_together", None)
    assert_untouched(
        SHARDED, tmp_path / "out" / "a.gguf", StorageError, r"has 17\.0 MB free, and [\d.]+ MB are needed", target="f32"
    )


def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        assert_untouched(SHARDED, tmp_path / "out" / "a.gguf", StorageError, "cannot be written", target="f32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    convert(SHARDED, tmp_path / "out" / "a.gguf", "f32")


def test_a_read_error_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fail(*_: object) -> bytes:
        nonlocal calls
        calls += 1
        if calls % 10 == 0:
            raise OSError(5, "Input/output error")
        return real(*_)

    real = LocalFiles._read_at
    monkeypatch.setattr(LocalFiles, "_read_at", fail)
    message = r"model-0000\d-of-00003.safetensors cannot be read: Input/output error"
    assert_untouched(SHARDED, tmp_path / "out" / "a.gguf", CheckpointError, message)


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done_bytes > 1_000_000:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        convert(SHARDED, out / "a.gguf", "q8_0", on_progress=interrupt)
    assert list(out.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("quantize", "write", "hash"))]
