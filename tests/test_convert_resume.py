"""A conversion that is interrupted, anywhere and in any way, and goes on: to the same bytes, with little read again."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FP8, INT8, RAGGED, SHARDED, config, random_tensors, write_checkpoint
from unsteady import Folder, Unsteady, content, restore, watched

import convert as convert_room
from convert import recorder, resume, sha256, stream
from convert.pipeline import convert
from convert.provenance import Provenance
from convert.report import Progress, Report
from convert.sources import SourceMismatch
from quant.errors import CheckpointError, DiskFullError, NetworkError, QuantError, StorageError

PART, JOURNAL = ".a.gguf.part", ".a.gguf.journal"
IN_FLIGHT, LAG = 24 << 10, 6 << 10  # small ones, for small checkpoints
HEADERS = 16 << 10  # of safetensors: read at each start, and are no weights


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "IN_FLIGHT_BYTES", IN_FLIGHT)
    monkeypatch.setattr(recorder, "_LAG_BYTES", LAG)


@pytest.fixture(params=["resumable hash", "hashlib"])
def is_resumable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "hashlib":
        monkeypatch.setattr(sha256, "_library", lambda: None)
    return bool(request.param != "hashlib")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, 300 kB."""
    return write_checkpoint(
        tmp_path_factory.mktemp("resume") / "model", config(layers=2, hidden=64, inner=128), shards=2
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def known(source: Path) -> Provenance:
    """What the hub would tell."""
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.glob("*.safetensors")}
    return Provenance("mistralai/Mistral-Tiny", "0a" * 20, "apache-2.0", None, None, None, hashes)


def undisturbed(source: Path, out: Path, **more: Any) -> tuple[bytes, Report, int]:
    """The bytes of a conversion that nothing interrupts and that could not be resumed; what it read."""
    files = Unsteady(source)
    report = convert(source, out / "plain.gguf", files=files, **more)
    data = (out / "plain.gguf").read_bytes()
    (out / "plain.gguf").unlink()
    return data, report, files.read_bytes


def go_on(source: Path, out: Path, files: Unsteady | None = None, **more: Any) -> Report:
    return convert(source, out / "a.gguf", files=files or Unsteady(source), resumable=True, **more)


# --- any moment of a kill ---


@pytest.mark.parametrize("is_known", [True, False])
def test_every_state_that_a_kill_can_leave(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None, is_resumable: bool, is_known: bool
) -> None:
    """Before, in and after each call that changes a file; what was read by then is hardly read again."""
    more: dict[str, Any] = {"target": "q8_0", "provenance": known(source) if is_known else None}
    data, report, read_bytes = undisturbed(source, out, **more)
    files, states = Unsteady(source), list[tuple[Folder, int]]()
    with watched(monkeypatch, lambda _: states.append((content(out), files.read_bytes))):
        assert go_on(source, out, files, **more).sha256 == report.sha256
    assert len(states) > 150
    most = IN_FLIGHT + LAG + (0 if is_resumable else max(p.stat().st_size for p in source.glob("*.safetensors")))
    if not is_known or not is_resumable:  # all of the other case
        states = states[::4]
    went_on = 0
    for state, read_before in states:
        restore(out, state)
        files = Unsteady(source)
        again = go_on(source, out, files, **more)
        assert (again, (out / "a.gguf").read_bytes()) == (replace(report, path=out / "a.gguf"), data)
        assert read_before + files.read_bytes - read_bytes <= most + HEADERS
        assert set(content(out)) == {"a.gguf", JOURNAL}
        went_on += files.first_read != ("model-00001-of-00002.safetensors", 0)
    assert went_on > len(states) // (2 if is_resumable else 4)


def test_killed_again_and_again(source: Path, out: Path) -> None:
    """By the system, at random times; each run goes on where the one before was."""
    expected = convert(source, out / "plain.gguf", "q8_0").sha256
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from unsteady import Unsteady
from convert import recorder, stream
from convert.pipeline import convert
stream.IN_FLIGHT_BYTES, recorder._LAG_BYTES = {IN_FLIGHT}, {LAG}
print("ready", flush=True)
def slow(progress):
    if not progress.tensor.startswith("checking"):
        print(end=".", flush=True)
        time.sleep(0.005)
convert(Path({str(source)!r}), Path({str(out / "a.gguf")!r}), "q8_0", resumable=True, on_progress=slow)
"""
    chance, kills = random.Random(3), 0
    while not (out / "a.gguf").exists():
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
        )
        assert child.stdout
        child.stdout.read(6 + chance.randrange(1, 12))
        child.kill()
        child.stdout.close()
        kills += child.wait() == -signal.SIGKILL
        assert kills < 100
    assert kills > 3
    assert hashlib.sha256((out / "a.gguf").read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("checkpoint", [SHARDED, RAGGED, FP8, INT8], ids=["sharded", "ragged", "fp8", "int8"])
@pytest.mark.parametrize("target", ["q4_K_M", "q8_0"])
def test_a_line_that_breaks_again_and_again(
    checkpoint: Path, target: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every few reads, with another number of threads each time; scales, windows and what is measured, too."""
    monkeypatch.setattr(stream, "IN_FLIGHT_BYTES", 200 << 10)
    monkeypatch.setattr(recorder, "_LAG_BYTES", 50 << 10)
    data, report, _ = undisturbed(checkpoint, out, target=target, measure=True)
    for tries in range(1, 200):
        try:
            found = go_on(checkpoint, out, Unsteady(checkpoint, 70), target=target, measure=True, threads=1 + tries % 3)
            break
        except NetworkError:
            assert set(content(out)) == {PART, JOURNAL}
    assert tries > 2
    assert (out / "a.gguf").read_bytes() == data
    for tensor, expected in zip(found.tensors, report.tensors, strict=True):
        assert tensor == replace(expected, relative_error=pytest.approx(expected.relative_error, rel=1e-5))


# --- what is read again ---


@pytest.mark.parametrize(("dtype", "threads"), [("BF16", 2), ("F32", 2), ("BF16", 1), ("BF16", 64)])
def test_little_is_read_again(tmp_path: Path, out: Path, dtype: str, threads: int) -> None:
    """8 MiB at most after each interruption, with the sizes that are in use; interrupted is the reader, so that as much
    as can be is on its way."""
    settings = config(layers=2, hidden=1024, inner=2048, heads=8, kv_heads=8)
    tensors = random_tensors(settings, dtype)
    folder = write_checkpoint(tmp_path / "model", settings, tensors, shards=3)
    whole = Unsteady(folder)
    expected = convert(folder, out / "plain.gguf", "q8_0", files=whole).sha256
    chance, reads, read_bytes, interruptions = random.Random(1), 400 if threads == 64 else 30, 0, 0
    while not (out / "a.gguf").exists():
        files = Unsteady(folder, chance.randrange(12, reads))
        try:
            go_on(folder, out, files, target="q8_0", threads=threads)
        except NetworkError:
            interruptions += 1
        read_bytes += files.read_bytes
    assert interruptions > 0
    assert read_bytes - whole.read_bytes <= interruptions * (8 << 20)
    assert hashlib.sha256((out / "a.gguf").read_bytes()).hexdigest() == expected


def test_progress_tells_of_the_source_and_goes_on(source: Path, out: Path, small_steps: None) -> None:
    total = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    first, second = list[Progress](), list[Progress]()
    with pytest.raises(NetworkError):
        go_on(source, out, Unsteady(source, 40), target="q8_0", on_progress=first.append)
    go_on(source, out, target="q8_0", on_progress=second.append)
    checked = [p for p in second if p.tensor == "checking what is there"]
    assert checked == second[: len(checked)]
    assert len(checked) > 10
    assert checked[-1].source_done_bytes <= first[-1].source_done_bytes
    second = second[len(checked) :]
    for seen in (first, checked, second):
        places = [(p.done_bytes, p.source_done_bytes) for p in seen]
        assert places == sorted(places)
        assert {p.source_total_bytes for p in seen} == {total}
        assert len({p.total_bytes for p in seen}) == 1
    assert checked[-1].source_done_bytes < second[0].source_done_bytes <= first[-1].source_done_bytes + IN_FLIGHT
    assert first[0].done_bytes < second[0].done_bytes
    assert second[-1].source_done_bytes == total
    assert second[-1].done_bytes == second[-1].total_bytes


# --- what is damaged, or of something else ---


@pytest.fixture
def half(source: Path, out: Path, small_steps: None) -> Folder:
    """What an interrupted conversion leaves."""
    with pytest.raises(NetworkError):
        go_on(source, out, Unsteady(source, 45), target="q8_0")
    return content(out)


def same_result(source: Path, out: Path, state: Folder, expected: bytes, target: str = "q8_0", **more: Any) -> Unsteady:
    restore(out, state)
    files = Unsteady(source)
    go_on(source, out, files, target=target, **more)
    assert (out / "a.gguf").read_bytes() == expected
    return files


@pytest.mark.parametrize("name", [PART, JOURNAL])
def test_cut_anywhere(source: Path, out: Path, half: Folder, name: str) -> None:
    expected, _, _ = undisturbed(source, out, target="q8_0")
    size = len(half[name])
    for length in [0, 1, size - 1, *random.Random(0).sample(range(size), 30)]:
        same_result(source, out, half | {name: half[name][:length]}, expected)
    for more in (b"\0", b"x" * 10_000, half[name]):
        same_result(source, out, half | {name: half[name] + more}, expected)
    without = {other: data for other, data in half.items() if other != name}
    assert same_result(source, out, without, expected).first_read == ("model-00001-of-00002.safetensors", 0)


@pytest.mark.parametrize("name", [PART, JOURNAL])
def test_flipped_bits(source: Path, out: Path, half: Folder, name: str) -> None:
    """Even in the header of the part, which is written anew."""
    expected, _, _ = undisturbed(source, out, target="q8_0")
    chance = random.Random(0)
    for n_flips in [1] * 30 + [20] * 5:
        damaged = bytearray(half[name])
        for _ in range(n_flips):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        same_result(source, out, half | {name: bytes(damaged)}, expected)


def test_what_follows_a_damage_is_kept_for_the_next_time(source: Path, out: Path, half: Folder) -> None:
    """Marks behind a damage are forgotten; those made after it count."""

    def interrupt(progress: Progress) -> None:
        if progress.source_done_bytes > 0.97 * progress.source_total_bytes:
            raise KeyboardInterrupt

    undamaged = Unsteady(source)
    go_on(source, out, undamaged, target="q8_0")
    damaged = bytearray(half[PART])
    damaged[len(damaged) // 2] ^= 1
    restore(out, half | {PART: bytes(damaged)})
    first, second = Unsteady(source), Unsteady(source)
    with pytest.raises(KeyboardInterrupt):
        go_on(source, out, first, target="q8_0", on_progress=interrupt)
    go_on(source, out, second, target="q8_0")
    assert first.first_read
    assert undamaged.first_read
    assert second.first_read
    assert first.first_read < undamaged.first_read < second.first_read


def test_pieces_moved_within(source: Path, out: Path, half: Folder) -> None:
    """Lines of the journal left out, twice, in another order; blocks of the part in each other's places."""
    expected, _, _ = undisturbed(source, out, target="q8_0")
    lines, chance = half[JOURNAL].splitlines(keepends=True), random.Random(0)
    assert len(lines) > 10
    for n in range(1, len(lines), 2):
        other = chance.randrange(1, len(lines))
        moved = [*lines[:n], lines[other], *lines[n:]]
        swapped = [*lines[: n - 1], *lines[n - 1 : n + 1][::-1], *lines[n + 1 :]]
        for changed in (lines[:n] + lines[n + 1 :], moved, swapped):
            same_result(source, out, half | {JOURNAL: b"".join(changed)}, expected)
    part = half[PART]
    for _ in range(20):
        a, b = (4096 * chance.randrange(len(part) // 4096) for _ in range(2))
        mixed = bytearray(part)
        mixed[a : a + 4096], mixed[b : b + 4096] = part[b : b + 4096], part[a : a + 4096]
        same_result(source, out, half | {PART: bytes(mixed)}, expected)


def test_those_of_another_conversion(source: Path, out: Path, half: Folder, tmp_path: Path) -> None:
    """Of other weights of the same sizes, another target, another name: part, journal or both."""
    expected, _, _ = undisturbed(source, out, target="q8_0")
    settings = config(layers=2, hidden=64, inner=128)
    other = write_checkpoint(tmp_path / "model", settings, random_tensors(settings, seed=1), shards=2)
    strangers: list[dict[str, Any]] = [
        {"source": other, "target": "q8_0"},
        {"source": source, "target": "f32"},
        {"source": source, "target": "q8_0", "name": "x"},
    ]
    for stranger in strangers:
        restore(out, {})
        with pytest.raises(NetworkError):
            go_on(**stranger, out=out, files=Unsteady(stranger["source"], 45))
        theirs = content(out)
        assert set(theirs) == {PART, JOURNAL}
        for state in (theirs, half | {JOURNAL: theirs[JOURNAL]}):
            assert same_result(source, out, state, expected).first_read == ("model-00001-of-00002.safetensors", 0)
        same_result(source, out, half | {PART: theirs[PART]}, expected)  # what is the same may be used


def test_what_changes_the_output_begins_it_anew(
    source: Path, out: Path, tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path(shutil.copytree(source, tmp_path / "model"))
    begin = ("model-00001-of-00002.safetensors", 0)
    told = known(mine)

    def first_read(**more: Any) -> tuple[str, int] | None:
        restore(out, {})
        with pytest.raises(NetworkError):
            go_on(mine, out, Unsteady(mine, 45), target="q8_0", provenance=told)
        files = Unsteady(mine)
        change = more.pop("change", None)
        with monkeypatch.context() as patch:
            if change:
                change(patch)
            go_on(mine, out, files, **({"target": "q8_0", "provenance": told} | more))
        return files.first_read

    assert first_read() != begin
    assert first_read(threads=7) != begin
    assert first_read(target="q4_0") == begin
    assert first_read(name="another") == begin
    assert first_read(template="none") == begin
    assert first_read(measure=True) == begin
    assert first_read(provenance=replace(told, revision="0b" * 20)) == begin
    assert first_read(provenance=replace(told, hub_sha256={})) == begin
    assert (
        first_read(change=lambda patch: patch.setattr("convert.pipeline.REVISION", convert_room.REVISION + 1)) == begin
    )
    first = mine / "model-00001-of-00002.safetensors"
    assert first_read(change=lambda _: first.touch()) != begin  # the hub's hash says that it is the same
    told = replace(told, hub_sha256={})
    assert first_read() != begin
    assert first_read(change=lambda _: first.touch()) == begin


# --- what is not what the hub has ---


@pytest.mark.parametrize("shard", [1, 2, 3])
def test_a_file_that_is_another_one(out: Path, shard: int, is_resumable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed when it has passed; what was made of it is forgotten, what was made before is not."""
    monkeypatch.setattr(stream, "IN_FLIGHT_BYTES", 300 << 10)
    monkeypatch.setattr(recorder, "_LAG_BYTES", 50 << 10)
    told = known(SHARDED)
    data, _, _ = undisturbed(SHARDED, out, provenance=told, target="q8_0")
    bad = SHARDED / f"model-0000{shard}-of-00003.safetensors"
    before = sum(path.stat().st_size for path in SHARDED.glob("*.safetensors") if path.name <= bad.name)

    def spoil(path: Path, offset: int, read: bytes) -> bytes:
        if path != bad or not offset <= 200_000 < offset + len(read) or len(read) < 1000:
            return read
        return read[: 200_000 - offset] + bytes([read[200_000 - offset] ^ 1]) + read[200_001 - offset :]

    for _ in range(2):
        files = Unsteady(SHARDED, spoil=spoil)
        with pytest.raises(SourceMismatch, match=f"{bad.name} is not the file that the hub has") as caught:
            go_on(SHARDED, out, files, provenance=told, target="q8_0")
        assert caught.value.path == bad
        assert isinstance(caught.value, CheckpointError)
        assert files.read_bytes <= before + (300 << 10) + 6 * HEADERS
        assert set(content(out)) == {PART, JOURNAL}
    files = Unsteady(SHARDED)
    go_on(SHARDED, out, files, provenance=told, target="q8_0")
    assert files.first_read == (bad.name, 0)
    assert (out / "a.gguf").read_bytes() == data


def spoils_once() -> Callable[[Path, int, bytes], bytes]:
    """Makes NaN of one piece of weights in the second file, the first time that it is read."""
    reads = 0

    def spoil(path: Path, offset: int, read: bytes) -> bytes:
        nonlocal reads
        is_it = path.name.startswith("model-00002") and offset <= 400_000 < offset + len(read) and len(read) > 1000
        reads += is_it
        return b"\xff" * len(read) if is_it and reads == 1 else read

    return spoil


def test_damaged_weights_that_cannot_be_quantized_are_not_blamed_on_the_checkpoint(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flip makes a NaN of a weight: read once more, it is another one, so it can be tried again."""
    told = known(SHARDED)
    data, _, _ = undisturbed(SHARDED, out, provenance=told, target="q8_0")
    with pytest.raises(SourceMismatch) as caught:
        go_on(SHARDED, out, Unsteady(SHARDED, spoil=spoils_once()), provenance=told, target="q8_0")
    assert caught.value.path.name == "model-00002-of-00003.safetensors"
    files = Unsteady(SHARDED)
    go_on(SHARDED, out, files, provenance=told, target="q8_0")
    assert files.first_read == ("model-00002-of-00003.safetensors", 0)
    assert (out / "a.gguf").read_bytes() == data


# --- the ends ---


def test_what_is_made_is_not_made_again(source: Path, out: Path) -> None:
    """Until it is discarded; but a file that is another one is not taken for it."""
    first = go_on(source, out, target="q8_0")
    files = Unsteady(source)
    assert go_on(source, out, files, target="q8_0") == first
    assert (files.first_read, files.read_bytes < HEADERS) == (None, True)
    whole = (out / "a.gguf").read_bytes()
    for wrong in (b"", whole[:-1], whole[:-1] + b"\xff", whole + b"\0"):
        (out / "a.gguf").write_bytes(wrong)
        files = Unsteady(source)
        assert go_on(source, out, files, target="q8_0") == first
        assert (out / "a.gguf").read_bytes() == whole
        assert files.first_read is not None
    assert resume.written(out / "a.gguf") == len(whole)
    resume.discard(out / "a.gguf")
    assert set(content(out)) == {"a.gguf"}
    assert (resume.written(out / "a.gguf"), resume.on_disk(out / "a.gguf")) == (0, 0)
    resume.discard(out / "a.gguf")
    go_on(source, out, files, target="q8_0")
    assert files.first_read == ("model-00001-of-00002.safetensors", 0)


@pytest.mark.parametrize("is_known", [True, False])
def test_the_file_is_synced_before_it_is_named(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    calls: list[tuple[str, bytes]] = []
    sync, rename = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            calls.append(("sync", (out / PART).read_bytes()))
        sync(handle)

    def replaced(path: Path, target: Path) -> Path:
        calls.append(("rename", path.read_bytes()))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    go_on(source, out, target="q8_0", provenance=known(source) if is_known else None)
    assert calls[-2:] == [("sync", (out / "a.gguf").read_bytes()), ("rename", (out / "a.gguf").read_bytes())]


def test_an_interruption_leaves_what_is_needed(source: Path, out: Path, small_steps: None) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.source_done_bytes > 200_000:
            raise KeyboardInterrupt

    (out / "a.gguf").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        go_on(source, out, target="q8_0", on_progress=interrupt)
    assert set(content(out)) == {"a.gguf", PART, JOURNAL}
    assert (out / "a.gguf").read_bytes() == b"old"
    assert 50_000 < resume.written(out / "a.gguf") <= (out / PART).stat().st_size
    assert resume.on_disk(out / "a.gguf") >= resume.written(out / "a.gguf")
    files = Unsteady(source)
    go_on(source, out, files, target="q8_0")
    assert files.first_read != ("model-00001-of-00002.safetensors", 0)


def test_a_full_disk_leaves_nothing(source: Path, out: Path, half: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any call that changes a file; of a conversion that is begun, and of one that goes on."""
    full_at = 0

    def fill(number: int) -> None:
        if number >= full_at > 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    for state in ({}, half):
        restore(out, state)
        full_at = 0
        with watched(monkeypatch, fill) as watch:
            go_on(source, out, target="q8_0")
        expected, failed = (out / "a.gguf").read_bytes(), 0
        for full_at in range(1, watch.changes, 5):  # noqa: B007  (`fill` reads it)
            restore(out, state | {"a.gguf": b"old"})
            with watched(monkeypatch, fill, removing=False):
                try:
                    go_on(source, out, target="q8_0")
                except StorageError as error:
                    assert "free some space" in str(error)
                    assert content(out) in ({"a.gguf": b"old"}, {"a.gguf": expected})  # after the rename
                    failed += 1
                else:
                    assert (out / "a.gguf").read_bytes() == expected
        assert failed > 15


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_disk_that_fails_for_a_while_loses_nothing(
    source: Path, out: Path, half: Folder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """At any call that changes a file: what is there then is gone on with."""
    expected, _, _ = undisturbed(source, out, target="q8_0")
    fails_at = 0

    def fail(change: int) -> None:
        if change >= fails_at > 0:
            raise OSError(number, os.strerror(number))

    restore(out, half)
    with watched(monkeypatch, fail) as watch:
        go_on(source, out, target="q8_0")
    failed = 0
    for fails_at in range(1, watch.changes, 17):  # noqa: B007  (`fail` reads it)
        restore(out, half)
        with watched(monkeypatch, fail, removing=False):
            try:
                go_on(source, out, target="q8_0")
            except StorageError as error:
                assert not isinstance(error, DiskFullError)
                failed += 1
                assert JOURNAL in content(out)
                assert set(content(out)) & {PART, "a.gguf"}
        files = Unsteady(source)
        go_on(source, out, files, target="q8_0")
        assert files.first_read != ("model-00001-of-00002.safetensors", 0)
        assert (out / "a.gguf").read_bytes() == expected
    assert failed > 4


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "the terminal went away"),
        OSError(errno.ENOSPC, "the log is on a full disk"),
        BrokenPipeError(errno.EPIPE, "nobody reads"),
        DiskFullError("another file finds no room"),
        QuantError("of another file"),
        ValueError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_resumable", [True, False])
def test_what_is_raised_by_whoever_is_told_is_no_error_of_the_file(
    source: Path, out: Path, small_steps: None, error: Exception, is_resumable: bool
) -> None:
    """It passes as it is, and what is made stays. So it is, too, while what is there is checked."""

    def fail(progress: Progress) -> None:
        if progress.source_done_bytes > 150_000:
            raise error

    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            convert(source, out / "a.gguf", "q8_0", on_progress=fail, resumable=is_resumable)
        assert caught.value is error
        assert set(content(out)) == ({PART, JOURNAL} if is_resumable else set())
    files = Unsteady(source)
    go_on(source, out, files, target="q8_0")
    assert (files.first_read != ("model-00001-of-00002.safetensors", 0)) == is_resumable


def test_a_disk_without_room_is_told_before_anything_is_read(
    source: Path, out: Path, half: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for what is missing is enough."""
    size = len(undisturbed(source, out, target="q8_0")[0])
    monkeypatch.setattr(resume, "reserve", lambda *_: None)
    usage = shutil._ntuple_diskusage  # type: ignore[attr-defined]
    spare = 16 << 20
    for free in (spare + size - len(half[PART]) - 9000, spare + size - len(half[PART]) + 9000):
        restore(out, half)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(10**12, 0, free))
        files = Unsteady(source)
        if free < spare + size - len(half[PART]):
            with pytest.raises(StorageError, match="MB are needed: free some space"):
                go_on(source, out, files, target="q8_0")
            assert files.first_read is None
            assert content(out) == {}
        else:
            go_on(source, out, files, target="q8_0")


def test_weights_that_cannot_be_quantized_leave_nothing(tmp_path: Path, out: Path) -> None:
    settings = config(layers=1)
    weights = random_tensors(settings, "F32")
    weights["model.norm.weight"][3] = np.nan
    folder = write_checkpoint(tmp_path / "model", settings, weights)
    with pytest.raises(QuantError):
        go_on(folder, out, target="q8_0")
    assert content(out) == {}


def test_damaged_weights_that_cannot_be_quantized_are_told_apart_without_a_journal_too(out: Path) -> None:
    """Whoever converts from a hub straight into a file of their own tries again, too."""
    with pytest.raises(SourceMismatch) as caught:
        convert(SHARDED, out / "a.gguf", "q8_0", files=Unsteady(SHARDED, spoil=spoils_once()))
    assert caught.value.path.name == "model-00002-of-00003.safetensors"
    assert content(out) == {}


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    import threading

    yield
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("quantize", "write", "hash"))]


def test_links_in_the_way_are_not_followed(source: Path, out: Path) -> None:
    precious = out / "precious"
    for name in (PART, JOURNAL):
        precious.write_bytes(b"precious")
        (out / name).symlink_to(precious)
        with pytest.raises(StorageError, match=r"a\.gguf cannot be written"):
            go_on(source, out, target="q8_0")
        go_on(source, out, target="q8_0")  # they are out of the way now
        assert precious.read_bytes() == b"precious"
        assert not (out / "a.gguf").is_symlink()
        restore(out, {})
