import hashlib
import importlib.metadata
import shutil
import sys
from pathlib import Path

import gguf
import llama_oracle
import mistral_common
import numpy as np
import pytest
from checkpoints import SHARDED, config, random_tensors, write_checkpoint
from refusals import assert_untouched

from convert import stream
from convert.gguf_file import read_header
from convert.pipeline import convert
from convert.report import Progress
from quant.errors import CheckpointError
from quant.types import parse_target

V3 = Path(mistral_common.__file__).parent / "data" / "mistral_instruct_tokenizer_240323.model.v3"

SHAPES = {
    "whole blocks": config(layers=3),
    "rows of 288 and 320": config(layers=3, hidden=288, inner=320),
    "rows of 320 and 100": config(hidden=320, inner=100),
    "eight heads share a value": config(layers=5, inner=256, heads=8, kv_heads=1),
    "heads wider than the model": config(hidden=256, heads=4, head_dim=128),
    "tied": config(tied=True),
}


def tensors(path: Path) -> dict[str, tuple[int, bytes]]:
    return {t.name: (int(t.tensor_type), t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


# --- against the oracles ---


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_bytes_are_llama_quantizes(tmp_path: Path, shape: str, dtype: str) -> None:
    """One pass makes the tensors that a plain GGUF and llama_model_quantize make in two."""
    source = write_checkpoint(tmp_path / "model", SHAPES[shape], dtype=dtype, shards=2)
    for plain in ("f32", "bf16") if dtype == "BF16" else ("f32",):
        convert(source, tmp_path / "plain.gguf", plain)
        for target in ("q4_K_M", "q8_0", "fp16"):
            convert(source, tmp_path / "ours.gguf", target)
            llama_oracle.quantize(tmp_path / "plain.gguf", tmp_path / "theirs.gguf", parse_target(target).file_type)
            assert tensors(tmp_path / "ours.gguf") == tensors(tmp_path / "theirs.gguf")


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_plain_files_hold_the_checkpoints_weights(tmp_path: Path, dtype: str) -> None:
    settings = config(tied=True)
    weights = random_tensors(settings, dtype)
    source = write_checkpoint(tmp_path / "model", settings, weights)
    convert(source, tmp_path / "a.gguf", "f32")
    found = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    down = weights["model.layers.1.mlp.down_proj.weight"]
    wide = (down.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else down.astype(np.float32)
    assert np.array_equal(found["blk.1.ffn_down.weight"], wide)


def test_llama_cpp_computes_what_transformers_does(tmp_path: Path) -> None:
    expected = np.load(SHARDED / "expected.npz")
    convert(SHARDED, tmp_path / "a.gguf", "f32")
    found = llama_oracle.logits(tmp_path / "a.gguf", expected["ids"])
    assert np.abs(found - expected["logits"]).max() < 0.01
    assert np.array_equal(found.argmax(axis=1), expected["logits"].argmax(axis=1))


def test_float16_keeps_the_best_token(tmp_path: Path) -> None:
    """For float16 weights llama.cpp rounds its activations, too: best tokens that lead by a hair may change places."""
    expected = np.load(SHARDED / "expected.npz")
    convert(SHARDED, tmp_path / "a.gguf", "fp16")
    found = llama_oracle.logits(tmp_path / "a.gguf", expected["ids"])
    best = np.sort(expected["logits"], axis=1)[:, -2:]  # (n_tokens, 2)
    clear = best[:, 1] - best[:, 0] > 0.1
    assert clear.sum() > 70
    assert np.array_equal(found.argmax(axis=1)[clear], expected["logits"].argmax(axis=1)[clear])
    assert np.abs(found - expected["logits"]).max() < 0.3


def test_the_shipped_checkpoint_quantized(tmp_path: Path) -> None:
    convert(SHARDED, tmp_path / "plain.gguf", "bf16")
    for target in ("q4_K_M", "q8_0"):
        convert(SHARDED, tmp_path / "ours.gguf", target)
        llama_oracle.quantize(tmp_path / "plain.gguf", tmp_path / "theirs.gguf", parse_target(target).file_type)
        assert tensors(tmp_path / "ours.gguf") == tensors(tmp_path / "theirs.gguf")


def test_a_sentencepiece_model_loads_in_llama_cpp(tmp_path: Path) -> None:
    settings = config(layers=1, hidden=64, inner=64, heads=2, kv_heads=1, vocab=32768)
    source = write_checkpoint(tmp_path / "model", settings, tokenizer=V3)
    report = convert(source, tmp_path / "a.gguf", "q8_0")
    assert report.template == "v3"
    assert llama_oracle.logits(tmp_path / "a.gguf", np.array([1, 3, 1000], np.int32)).shape == (3, 32768)
    metadata = read_header(tmp_path / "a.gguf").metadata
    assert metadata["tokenizer.ggml.model"] == "llama"
    assert len(metadata["tokenizer.ggml.scores"]) == 32768


# --- what is reported and recorded ---


def test_the_report_tells_what_was_made(tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = convert(SHARDED, tmp_path / "a.gguf", "Q4_K_M", name="demo", on_progress=seen.append)
    content = (tmp_path / "a.gguf").read_bytes()
    assert (report.size_bytes, report.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (report.target, report.architecture, report.template) == ("q4_K_M", "llama", "v7-tekken")
    assert (report.parameters, report.context_length, report.remarks, report.notice) == (2230528, 32768, (), None)
    places = [p.done_bytes for p in seen]
    assert places == sorted(places)
    assert seen[-1].done_bytes == seen[-1].total_bytes <= len(content)
    metadata = read_header(tmp_path / "a.gguf").metadata
    assert metadata["general.name"] == "demo"
    assert metadata["general.file_type"] == 15
    assert metadata["minichat.template"] == "v7-tekken"


def test_who_lacks_the_compiled_kernels_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it works, and once at its end; not for small models, which they would not make faster."""
    hint = "compiled kernels are faster: pip install 'minichat[fast]'"
    monkeypatch.setitem(sys.modules, "numba", None)
    assert convert(SHARDED, tmp_path / "a.gguf").remarks == ()
    monkeypatch.setattr("convert.blocks._WORTH_A_HINT", 1)
    seen: list[Progress] = []
    assert convert(SHARDED, tmp_path / "a.gguf", on_progress=seen.append).remarks == (hint,)
    assert seen[0].hint == hint
    monkeypatch.undo()
    monkeypatch.setattr("convert.blocks._WORTH_A_HINT", 1)
    assert convert(SHARDED, tmp_path / "a.gguf").remarks == ()


def test_the_file_says_what_it_came_from(tmp_path: Path) -> None:
    convert(SHARDED, tmp_path / "a.gguf")
    metadata = read_header(tmp_path / "a.gguf").metadata
    assert metadata["minichat.version"] == importlib.metadata.version("minichat")
    assert metadata["minichat.recipe"] == "q4_K_M"
    names = metadata["minichat.source.files"]
    assert set(names) == {path.name for path in SHARDED.iterdir()} - {"expected.npz"}
    for name, digest in zip(names, metadata["minichat.source.sha256"], strict=True):
        assert digest == hashlib.sha256((SHARDED / name).read_bytes()).hexdigest()


def hub_cache(root: Path, digests: dict[str, str]) -> Path:
    """SHARDED as the hub's cache holds it; `digests` are the names of the blobs of some files."""
    snapshot = root / "models--mistralai--Ministral-8B-Instruct-2410" / "snapshots" / ("0a" * 20)
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(SHARDED.iterdir())):
        blob = blobs / digests.get(path.name, f"{number:040d}")
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def test_what_the_hub_told_is_checked(tmp_path: Path) -> None:
    shards = sorted(SHARDED.glob("*.safetensors"))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}
    source = hub_cache(tmp_path / "good", digests)
    report = convert(source, tmp_path / "a.gguf")
    content = (tmp_path / "a.gguf").read_bytes()
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert report.notice == "Licensed by Mistral AI under the Mistral AI Research License"
    metadata = read_header(tmp_path / "a.gguf").metadata
    assert metadata["general.name"] == "Ministral-8B-Instruct-2410"  # not the revision, as the folder is called
    assert metadata["minichat.source.repo"] == "mistralai/Ministral-8B-Instruct-2410"
    assert metadata["minichat.source.revision"] == "0a" * 20
    assert metadata["general.license"] == "mrl"
    assert metadata["minichat.notice"] == report.notice
    assert set(digests.values()) < set(metadata["minichat.source.sha256"])
    wrong = hub_cache(tmp_path / "bad", digests | {shards[1].name: "0" * 64})
    assert_untouched(
        wrong, tmp_path / "out" / "a.gguf", CheckpointError, f"{shards[1].name} is not the file that the hub has"
    )


@pytest.mark.parametrize("target", ["q4_K_M", "q8_0", "fp16", "bf16", "f32"])
def test_errors_are_measured_against_the_source(tmp_path: Path, target: str) -> None:
    """gguf's own dequantizers are the judge."""
    convert(SHARDED, tmp_path / "plain.gguf", "f32")
    report = convert(SHARDED, tmp_path / "a.gguf", target, measure=True)
    exact = {t.name: t.data.astype(np.float64) for t in gguf.GGUFReader(tmp_path / "plain.gguf").tensors}
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    assert {t.name for t in report.tensors} == set(exact)
    for tensor, made in zip(report.tensors, reader.tensors, strict=True):
        assert (tensor.name, tensor.size_bytes, tensor.shape) == (made.name, made.n_bytes, exact[made.name].shape)
        found = gguf.quants.dequantize(made.data, made.tensor_type)
        error = np.linalg.norm(found - exact[made.name]) / np.linalg.norm(exact[made.name])
        assert tensor.relative_error == pytest.approx(error, rel=1e-3, abs=1e-7)
    total = sum(int(made.n_bytes) for made in reader.tensors)
    assert report.bits_per_weight == pytest.approx(8 * total / report.parameters)


@pytest.mark.parametrize(
    ("folder", "name", "template", "found"),
    [
        ("model", None, "auto", "v7-tekken"),
        ("Mistral-Small-24B-Base-2501", None, "auto", None),
        ("model", "mistral-small:24b-base-2501", "auto", None),
        ("models--mistralai--Mistral-Base/snapshots/0a1b", None, "auto", None),
        ("database", "baseline", "auto", "v7-tekken"),
        ("Mistral-7B-v0.3", None, "auto", None),
        ("Mistral-7B-Instruct-v0.3", None, "auto", "v7-tekken"),
        ("my-7b", "v0.3", "auto", "v7-tekken"),
        ("model-base", None, "v3-tekken", "v3-tekken"),
        ("model", None, "none", None),
    ],
)
def test_the_template_and_base_models(
    tmp_path: Path, folder: str, name: str | None, template: str, found: str | None
) -> None:
    source = write_checkpoint(tmp_path / folder, config(layers=1))
    report = convert(source, tmp_path / "a.gguf", "q8_0", name=name, template=template)
    assert report.template == found
    assert read_header(tmp_path / "a.gguf").metadata.get("minichat.template") == found


def test_pieces_and_threads_do_not_change_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for chunk_weights, threads in ((1 << 20, 2), (1 << 20, 1), (1, 3), (5000, 2), (100_000, 64)):
        monkeypatch.setattr(stream, "_CHUNK_WEIGHTS", chunk_weights)
        digests.add(convert(SHARDED, tmp_path / "a.gguf", "q4_K_M", threads=threads).sha256)
    assert len(digests) == 1
