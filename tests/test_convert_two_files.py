"""A model that sees: two files of one pass, of which both are there at the end, or none."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import MERGING, read_tensors, to_bf16, write_safetensors
from unsteady import Folder, Unsteady, content, restore, watched

from convert import recorder, resume, stream
from convert.gguf_file import read_header
from convert.pipeline import convert
from convert.provenance import Provenance
from convert.publish import published, published_together
from convert.report import Progress, Report
from convert.resume import discard
from convert.sources import SourceMismatch
from quant.errors import DiskFullError, NetworkError, QuantError, StorageError, UsageError

IN_FLIGHT, LAG = 24 << 10, 6 << 10  # small ones, for small checkpoints
HEADERS = 16 << 10
PARTS = {".a.gguf.part", ".mmproj-a.gguf.part", ".a.gguf.journal"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards; in one of them the embedding, with a row that goes into both files, in its middle."""
    folder = tmp_path_factory.mktemp("two") / "model"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "tekken.json"):
        (folder / name).write_bytes((MERGING / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = config["vision_config"]["num_hidden_layers"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {name: values for name, values in read_tensors(MERGING).items() if ".layers.1." not in name}
    names = sorted(tensors, key=lambda name: hashlib.sha256(name.encode()).digest())  # both kinds in both shards
    places: dict[str, str] = {}
    for n in range(2):
        shard, here = f"model-0000{n + 1}-of-00002.safetensors", names[n::2]
        write_safetensors(folder / shard, {name: tensors[name] for name in here})
        places |= dict.fromkeys(here, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "IN_FLIGHT_BYTES", IN_FLIGHT)
    monkeypatch.setattr(recorder, "_LAG_BYTES", LAG)


def go(source: Path, out: Path, **more: Any) -> Report:
    given: dict[str, Any] = {"target": "q8_0", "projector": out / "mmproj-a.gguf", "projector_type": "q8_0"} | more
    return convert(source, out / "a.gguf", **given)


def known(source: Path) -> Provenance:
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.glob("*.safetensors")}
    return Provenance("mistralai/Mistral-Tiny", "0a" * 20, "apache-2.0", None, None, None, hashes)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- one pass ---


def test_what_is_reported_is_there(source: Path, out: Path) -> None:
    seen: list[Progress] = []
    report = go(source, out, measure=True, on_progress=seen.append)
    projector = out / "mmproj-a.gguf"
    data = projector.read_bytes()
    assert (report.projector, report.projector_bytes, report.projector_target) == (projector, len(data), "q8_0")
    assert report.projector_sha256 == hashlib.sha256(data).hexdigest()
    assert report.sha256 == hashlib.sha256((out / "a.gguf").read_bytes()).hexdigest()
    assert report.remarks == ()
    model, sight = read_header(out / "a.gguf"), read_header(projector)
    assert [t.name for t in report.tensors] == [t.name for t in model.tensors]
    assert [t.name for t in report.projector_tensors] == [t.name for t in sight.tensors]
    assert report.parameters == model.parameters  # of the text model
    errors = {t.name: t.relative_error for t in report.projector_tensors}
    assert 0.003 < errors["mm.2.weight"] < 0.008  # q8_0's
    assert errors["v.token_embd.img_break"] == 0
    assert seen[-1].done_bytes == seen[-1].total_bytes
    assert seen[-1].source_done_bytes == seen[-1].source_total_bytes
    for key in ("minichat.source.files", "minichat.source.sha256"):
        assert model.metadata[key] == sight.metadata[key]
    assert "preprocessor_config.json" in sight.metadata["minichat.source.files"]
    assert "0" * 64 not in sight.metadata["minichat.source.sha256"]


def test_each_byte_is_read_once(source: Path, out: Path) -> None:
    alone, both = Unsteady(source), Unsteady(source)
    go(source, out, files=alone, projector=None)
    go(source, out, files=both)
    assert both.read_bytes == alone.read_bytes


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])  # one row, some, all
def test_pieces_of_any_size_make_the_same_bytes(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, threads: int, chunk: int
) -> None:
    expected = go(source, out)
    monkeypatch.setattr(stream, "_CHUNK_WEIGHTS", chunk)
    assert go(source, out, threads=threads) == expected


def test_a_text_model_has_no_second_file(checkpoint: Path, out: Path) -> None:
    report = go(checkpoint, out)
    assert (report.projector, report.projector_tensors) == (None, ())
    assert listing(out) == {"a.gguf"}


# --- both or none ---


def test_places_that_cannot_be(source: Path, out: Path) -> None:
    with pytest.raises(UsageError, match="name two files"):
        go(source, out, projector=out / "." / "a.gguf")
    with pytest.raises(UsageError, match="is inside the checkpoint"):
        go(source, out, projector=source / "mmproj.gguf")
    with pytest.raises(StorageError, match="does not exist"):
        go(source, out, projector=out / "absent" / "a.gguf")
    with pytest.raises(UsageError, match="unknown type of a projector 'q4_K_M': choose one of fp16, q8_0, f32"):
        go(source, out, projector_type="q4_K_M")
    assert listing(out) == set()


def test_room_for_both_is_looked_for(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = go(source, out)
    for path in out.iterdir():
        path.unlink()
    spare = 16 << 20
    enough = report.size_bytes + report.projector_bytes + spare

    class Usage:
        free = enough - 1

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    for resumable in (False, True):
        with pytest.raises(DiskFullError, match="free some space"):
            go(source, out, resumable=resumable)
        assert listing(out) <= {".a.gguf.journal"}
    Usage.free = enough
    assert go(source, out) == report


@pytest.mark.parametrize("resumable", [False, True])
def test_an_error_in_either_leaves_the_old_ones(source: Path, out: Path, tmp_path: Path, resumable: bool) -> None:
    for n, name in enumerate(("language_model.model.norm.weight", "vision_tower.ln_pre.weight")):
        bad = tmp_path / f"bad{n}"
        bad.mkdir()
        for path in source.iterdir():
            (bad / path.name).write_bytes(path.read_bytes())
        tensors = {key: values.copy() for key, values in read_tensors(source).items()}
        tensors[name][3] = to_bf16(np.float32([np.nan]))[0]
        (bad / "model.safetensors.index.json").unlink()
        for shard in bad.glob("*.safetensors"):
            shard.unlink()
        write_safetensors(bad / "model.safetensors", tensors)
        old = {"a.gguf": b"old", "mmproj-a.gguf": b"older"}
        restore(out, old)
        with pytest.raises(QuantError, match=name.removeprefix("language_model.")):
            go(bad, out, resumable=resumable)
        assert content(out) == old


@pytest.mark.parametrize("failing", ["a.gguf", "mmproj-a.gguf"])
def test_a_name_that_cannot_be_given(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Neither appears; what the other had before stays, and so does an older file."""
    replace_file = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if Path(target).name == failing:
            raise PermissionError(13, "Permission denied")
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(StorageError, match=f"{failing} cannot be written: Permission denied"):
            go(source, out)
    assert listing(out) == set()


def test_a_second_writer_of_either_is_refused(source: Path, out: Path) -> None:
    for name in ("a.gguf", "mmproj-a.gguf"):
        with (
            published(out / name) as first,
            pytest.raises(StorageError, match=f"{name} is being written by another minichat"),
        ):
            first.write(b"x")
            go(source, out)
        (out / name).unlink()
    assert listing(out) == set()


def test_names_are_given_when_all_is_whole(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace_file, sync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("sync") or sync(handle))
    monkeypatch.setattr(Path, "replace", lambda path, to: order.append(Path(to).name) or replace_file(path, to))
    with published_together([(out / "a", 3), (out / "b", 3)]) as files:
        for file in files:
            file.write(b"abc")
    assert order[:4] == ["sync", "sync", "b", "a"]
    assert content(out) == {"a": b"abc", "b": b"abc"}


# --- interruptions ---


@pytest.mark.parametrize("is_known", [True, False])
def test_every_state_that_a_kill_can_leave(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None, is_known: bool
) -> None:
    """Before, in and after calls that change a file: the same two files follow, and little is read again."""
    more: dict[str, Any] = {"provenance": known(source) if is_known else None}
    plain = Unsteady(source)
    report = go(source, out, files=plain, **more)
    whole = content(out)
    restore(out, {})
    files, states = Unsteady(source), list[tuple[Folder, int]]()
    with watched(monkeypatch, lambda _: states.append((content(out), files.read_bytes))):
        assert go(source, out, files=files, resumable=True, **more) == report
    assert len(states) > 150
    went_on = 0
    for state, read_before in states[:: 17 if is_known else 41]:
        assert "a.gguf" not in state or "mmproj-a.gguf" in state  # the model's name is given last
        restore(out, state)
        files = Unsteady(source)
        assert go(source, out, files=files, resumable=True, **more) == report
        assert {name: data for name, data in content(out).items() if name in whole} == whole
        assert listing(out) == {*whole, ".a.gguf.journal"}
        assert read_before + files.read_bytes - plain.read_bytes <= IN_FLIGHT + LAG + HEADERS
        went_on += files.first_read != ("model-00001-of-00002.safetensors", 0)
    assert went_on > len(states[:: 17 if is_known else 41]) // 2


@pytest.fixture
def half(source: Path, out: Path, small_steps: None) -> Folder:
    """What is left where the line broke, in the middle."""
    whole = Unsteady(source)
    go(source, out, files=whole, projector=None)
    restore(out, {})
    with pytest.raises(NetworkError):
        go(source, out, files=Unsteady(source, 60), resumable=True)
    assert listing(out) == PARTS
    return content(out)


def states(half: Folder) -> Iterator[Folder]:
    """One of the files damaged, cut or gone."""
    for name in sorted(PARTS):
        data = half[name]
        yield {other: half[other] for other in half if other != name}
        for place in range(0, len(data), max(1, len(data) // 3)):
            yield half | {name: data[:place]}
            yield half | {name: data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]}
        yield half | {name: data + b"\0" * 70_000}


def test_nothing_that_is_there_is_believed(source: Path, out: Path, half: Folder) -> None:
    restore(out, {})
    report = go(source, out)
    whole = content(out)
    for state in states(half):
        restore(out, state)
        assert go(source, out, resumable=True) == report
        assert {name: data for name, data in content(out).items() if name in whole} == whole


def test_of_other_work_nothing_is_taken(source: Path, out: Path, half: Folder) -> None:
    """Another type of what sees, or none of it."""
    for more in ({"projector_type": "fp16"}, {"projector": None}, {"target": "q6_K"}):
        restore(out, {})
        expected = go(source, out, **more)
        restore(out, half)
        files = Unsteady(source)
        assert go(source, out, files=files, resumable=True, **more) == expected
        assert files.first_read == ("model-00001-of-00002.safetensors", 0)


def test_what_an_unfinished_one_holds(source: Path, out: Path, half: Folder) -> None:
    both = out / "a.gguf", out / "mmproj-a.gguf"
    sizes = [len(half[name]) for name in (".a.gguf.part", ".mmproj-a.gguf.part")]
    assert resume.written(*both) == sum(sizes) > max(sizes) > 0
    assert resume.on_disk(*both) >= sum(sizes) // 2
    discard(*both)
    assert listing(out) == set()
    report = go(source, out, resumable=True)
    assert resume.written(*both) == report.size_bytes + report.projector_bytes
    discard(*both)
    assert listing(out) == {"a.gguf", "mmproj-a.gguf"}


def test_a_row_that_came_damaged_is_a_damaged_file(source: Path, out: Path) -> None:
    """The row of both files passes once, in what is hashed."""
    told = known(source)
    place = next(t for t in sorted(read_places(source)) if t[0] == "language_model.model.embed_tokens.weight")

    def spoil(path: Path, offset: int, data: bytes) -> bytes:
        row = place[2] + 12 * 64 * 2
        if path.name == place[1] and offset <= row < offset + len(data):
            return data[: row - offset] + bytes([data[row - offset] ^ 1]) + data[row - offset + 1 :]
        return data

    with pytest.raises(SourceMismatch, match=place[1]):
        go(source, out, provenance=told, files=Unsteady(source, spoil=spoil))
    assert listing(out) == set()


def read_places(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(tensor, file, offset) of all."""
    for path in folder.glob("*.safetensors"):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                yield name, path.name, 8 + length + entry["data_offsets"][0]


def test_the_row_of_both_files_is_the_embeddings(source: Path, out: Path) -> None:
    report = go(source, out, target="f32", projector_type="f32")
    assert report == replace(report, remarks=())
    row = read_tensors(source)["language_model.model.embed_tokens.weight"][12]
    path = out / "mmproj-a.gguf"
    header = read_header(path)
    tensor = next(t for t in header.tensors if t.name == "v.token_embd.img_break")
    begin = header.data_offset + tensor.offset
    found = np.frombuffer(path.read_bytes()[begin : begin + tensor.nbytes], np.float32)
    assert np.array_equal(found, (row.astype(np.uint32) << 16).view(np.float32))
