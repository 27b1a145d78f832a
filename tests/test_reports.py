"""What `show` says of a file, from inside; tests/test_cli.py has it from outside."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import gguf_samples
import pytest

from convert import gguf_writer as w
from convert.gguf_file import read_header
from minichat.manifest import Manifest
from minichat.memory import needed, shape_of_header
from minichat.models import Model
from minichat.reports import show_licence, show_list, show_model, show_removed
from minichat.store import Removed
from quant.types import by_name

COMMIT = "4847e87e5975a573a2a190399ca62cd266c899ad"
NOTICE = "Licensed by Mistral AI under the Mistral AI Research License"


RAGGED = gguf_samples.METADATA | {
    "general.architecture": w.string("granite_swa"),
    "granite_swa.block_count": w.u32(36),
    "granite_swa.attention.sliding_window": w.u32(32768),
    "granite_swa.attention.sliding_window_pattern": w.bools([False, True, True, True] * 9),
}
ORIGIN = gguf_samples.METADATA | {
    "general.license": w.string("mrl"),
    "general.license.name": w.string("Mistral AI Research License"),
    "general.license.link": w.string("https://mistral.ai/licenses/MRL-0.1.md"),
    "minichat.notice": w.string(NOTICE),
    "minichat.source.repo": w.string("mistralai/Ministral-8B-Instruct-2410"),
    "minichat.source.revision": w.string(COMMIT),
    "minichat.source.files": w.strings(["model.safetensors", "tekken.json"]),
    "minichat.source.sha256": w.strings(["a" * 64, "b" * 64]),
    "minichat.version": w.string("0.3.0"),
    "minichat.recipe": w.string("q4_K_M fine"),
}


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """metadata -> (the fields as text, as data)"""

    def show(metadata: dict[str, w.Value]) -> tuple[dict[str, str], dict[str, Any]]:
        gguf_samples.write(tmp_path / "x.gguf", metadata)
        show_model(Model("x", tmp_path / "x.gguf"), as_json=True)
        data = json.loads(capsys.readouterr().out)
        show_model(Model("x", tmp_path / "x.gguf"), as_json=False)
        out = capsys.readouterr().out
        column = out.index(" x\n") + 1
        return {line[:column].strip(): line[column:] for line in out.splitlines()}, data

    return show


def test_the_attention_pattern(shown: Any) -> None:
    text, data = shown(RAGGED)
    assert text["attention"] == "1 layer in full, then 3 with a window of 32,768 tokens, 9 times"
    assert data["attention"] == {"window": 32768, "sliding": [False, True, True, True] * 9}
    text, data = shown(gguf_samples.METADATA)
    assert "attention" not in text and data["attention"] is None


def test_where_it_came_from(shown: Any) -> None:
    text, data = shown(ORIGIN)
    assert text["source"] == "mistralai/Ministral-8B-Instruct-2410 @ 4847e87e5975"
    assert text["licence"] == "mrl, Mistral AI Research License, https://mistral.ai/licenses/MRL-0.1.md"
    assert text["notice"] == data["notice"] == NOTICE
    assert (text["made by"], text["recipe"]) == ("minichat 0.3.0", "q4_K_M fine")
    assert data["source"] == {
        "repo": "mistralai/Ministral-8B-Instruct-2410",
        "revision": COMMIT,
        "sha256": {"model.safetensors": "a" * 64, "tekken.json": "b" * 64},
    }
    assert (data["licence"], data["minichat_version"], data["recipe"]) == ("mrl", "0.3.0", "q4_K_M fine")


def test_what_a_file_does_not_tell_is_left_out(shown: Any) -> None:
    text, data = shown(gguf_samples.METADATA)
    assert not {"source", "licence", "notice", "made by", "recipe"} & set(text)
    assert data["source"] == {"repo": None, "revision": None, "sha256": {}}
    assert shown({"minichat.source.revision": w.string(COMMIT)})[0]["source"] == COMMIT


def test_bits_per_weight_and_parameters(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sinks of a ragged model hold are no weights."""
    sinks = [(f"blk.{n}.attn_sinks.weight", (32,), by_name("f32")) for n in range(3)]
    tensors = [("a.weight", (4, 256), by_name("q4_K")), ("b.weight", (256,), by_name("f32"))]
    monkeypatch.setattr(gguf_samples, "TENSORS", tensors + sinks)
    text, data = shown(gguf_samples.METADATA)
    assert data["parameters"] == 5 * 256
    assert data["bits_per_weight"] == pytest.approx((4 * 4.5 + 32) / 5)  # q4_K: 144 bytes for 256 weights
    assert (text["parameters"], text["quantization"]) == ("1,280", "10.00 bits per weight")
    assert data["tensors"] == {"f32": 4, "q4_K": 1}


@pytest.mark.parametrize("odd", [w.u32(7), w.f32(float("nan")), w.boolean(True), w.strings(["x"]), w.i32s([-1, 5])])
def test_metadata_of_the_wrong_kind_count_as_missing(shown: Any, odd: w.Value) -> None:
    texts = [key for key in (*RAGGED, *ORIGIN) if key.startswith(("general", "minichat"))]
    text, data = shown(RAGGED | ORIGIN | dict.fromkeys(texts, odd))
    assert data["architecture"] == "unknown"
    assert not {"source", "licence", "notice", "made by", "recipe"} & set(text)
    odd_numbers = {key: w.string("many") for key in RAGGED if key.startswith("granite_swa")}
    text, data = shown(RAGGED | odd_numbers)
    assert data["layers"] is None and data["attention"] is None


def test_metadata_cannot_write_to_the_terminal(shown: Any) -> None:
    evil = "a\x1b[2J\nlicence  free\u202e" + "x" * 100_000
    keys = [key for key in ORIGIN if key.startswith(("general", "minichat"))]
    hostile = {key: w.strings([evil]) if key.endswith(("files", "sha256")) else w.string(evil) for key in keys}
    text, data = shown(ORIGIN | hostile)
    for field in ("source", "licence", "notice", "recipe"):
        assert text[field].replace("…", "").isprintable() and len(text[field]) < 3000, field
    assert data["notice"] == evil


MANIFEST = Manifest(
    name="x",
    tag="q4_K_M",
    blob="sha256-" + "a" * 64,
    size_bytes=14_334_000_000,
    target="q4_K_M",
    architecture="llama",
    template="v7-tekken",
    parameters=23_572_403_200,
    context_length=32768,
    source="Ollama: x",
    source_stamp="",
    created="2026-01-01T00:00:00+00:00",
    repo="mistralai/Ministral-8B-Instruct-2410",
    revision=COMMIT,
    licence="mrl",
    notice=NOTICE,
    linked="/ollama/sha256-a",
)
SHAPE = gguf_samples.METADATA | {
    "llama.embedding_length": w.u32(5120),
    "llama.feed_forward_length": w.u32(32768),
    "llama.attention.head_count": w.u32(32),
    "llama.attention.head_count_kv": w.u32(8),
    "llama.attention.key_length": w.u32(128),
    "llama.attention.value_length": w.u32(128),
    "llama.context_length": w.u32(32768),
}


def test_memory_at_several_contexts(shown: Any, tmp_path: Path) -> None:
    text, data = shown(SHAPE)
    header = read_header(tmp_path / "x.gguf")
    shape = shape_of_header(header)
    assert shape is not None
    weights = sum(tensor.nbytes for tensor in header.tensors)
    assert [(m["ctx"], m["total_bytes"]) for m in data["memory"]] == [
        (ctx, needed(shape, weights, ctx).total) for ctx in (4096, 8192, 32768)
    ]
    assert data["memory"][1]["kv_cache_bytes"] == 3 * 8192 * 2 * 8 * 128 * 2  # layers, cells, K and V, heads, float16
    assert text["memory"].count(" tokens") == 3 and " at 8,192 tokens, " in text["memory"]
    text, data = shown(gguf_samples.METADATA)
    assert data["memory"] == [] and "memory" not in text


def test_what_the_store_knows_fills_what_the_file_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.gguf"
    gguf_samples.write(path)
    show_model(Model("x", path, MANIFEST), as_json=False)
    out = capsys.readouterr().out
    for line in ("mistralai/Ministral-8B-Instruct-2410 @ 4847e87e5975", "mrl", NOTICE, "v7-tekken", "/ollama/sha256-a"):
        assert f" {line}\n" in out
    gguf_samples.write(path, ORIGIN | {"minichat.template": w.string("v3-tekken")})
    show_model(Model("x", path, replace(MANIFEST, repo="other/repo", notice="other")), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["source"]["repo"], told["notice"], told["template"]) == (MANIFEST.repo, NOTICE, "v3-tekken")


def test_the_licence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.gguf"
    gguf_samples.write(path, ORIGIN)
    show_licence(Model("x", path), as_json=False)
    out = capsys.readouterr().out
    assert NOTICE in out and "Mistral AI Research License" in out and "commercial" in out
    show_licence(Model("x", path), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["licence"], told["notice"], told["terms"]["name"]) == ("mrl", NOTICE, "Mistral AI Research License")
    gguf_samples.write(path)
    show_licence(Model("x", path), as_json=True)
    assert json.loads(capsys.readouterr().out)["terms"] is None
    show_licence(Model("x", path), as_json=False)
    assert "none is told" in capsys.readouterr().out


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    then = datetime.now(timezone.utc) - timedelta(days=3, hours=1)
    other = replace(MANIFEST, name="y", context_length=0, template=None)
    used = {"x": then, "y": None}
    show_list([MANIFEST, other], 0, False, lambda manifest: used[manifest.name])
    titles, x, y = (line.split("  ") for line in capsys.readouterr().out.splitlines())
    assert [title.strip() for title in titles if title][-2:] == ["CONTEXT", "USED"]
    assert [cell.strip() for cell in x if cell][-2:] == ["32,768", "3 days ago"]
    assert [cell.strip() for cell in y if cell][-3:] == ["none", "unknown", "never"]
    show_list([MANIFEST, other], 0, True, lambda manifest: used[manifest.name])
    told = json.loads(capsys.readouterr().out)
    assert [model["used"] for model in told] == [then.isoformat(), None]
    assert (told[0]["repo"], told[0]["linked"], told[0]["full_name"]) == (MANIFEST.repo, MANIFEST.linked, "x:q4_K_M")


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        (Removed("x:a", 14_334_000_000), "removed x:a: 14.3 GB freed"),
        (Removed("x:a", 0, ("y:b", "z:c")), "removed x:a; its file stays for y:b, z:c"),
        (Removed("x:a", 0, (), "/ollama/\n"), "removed x:a; its file stays where it belongs: /ollama/␊"),
        (Removed("x:a", 0), "removed x:a"),
    ],
)
def test_what_removing_did(removed: Removed, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_removed(removed)
    assert capsys.readouterr().out == f"{says}\n"
