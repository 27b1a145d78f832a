"""Weights read over the net while they are converted: the same bytes as from the disk. About 15 seconds."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import FP8, SHARDED
from hub_server import FAULTS, HubServer, seeded

from convert.checkpoint import wanted_files
from convert.files import WeightFiles
from convert.pipeline import convert
from convert.provenance import find_provenance
from convert.resume import discard
from convert.sources import SourceMismatch
from minichat.hub.lookup import Repo, look_up
from minichat.hub.patience import Patience
from minichat.hub.transfer import Hub
from minichat.hub.weights import RemoteWeights
from quant.errors import CheckpointError, NetworkError

QUICK = Patience(stall_s=0.06, tries=8, base_s=0.001, cap_s=0.004, slow_s=0.08, slow_bytes_per_s=2000)
DATA = random.Random(6).randbytes(1_000_003)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(slow_s=0.01, stall_s=10) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def repo(server: HubServer) -> Repo:
    server.add(
        "org/model", {"a.safetensors": DATA, "b.safetensors": DATA[::-1], "c/d.safetensors": b"x", "e.bin": b"x"}
    )
    repo = look_up("org/model")
    server.log.clear()
    return repo


@pytest.fixture
def hub(server: HubServer) -> Iterator[Hub]:
    with Hub(replace(QUICK, stall_s=10, slow_s=10), block_bytes=1 << 14) as hub:
        yield hub


def test_names_and_sizes(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files: WeightFiles = RemoteWeights(hub, repo, tmp_path)
    assert sorted(files.names()) == ["a.safetensors", "b.safetensors"]
    assert files.size(tmp_path / "a.safetensors") == len(DATA)
    for path in (tmp_path / "e.bin", tmp_path / "c" / "a.safetensors", Path("a.safetensors")):
        with pytest.raises(CheckpointError, match="has no file of weights"):
            files.size(path)


def test_what_is_announced_and_what_is_read_between(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    content = {a: DATA, b: DATA[::-1]}
    files = RemoteWeights(hub, repo, tmp_path, window=1 << 17)
    draw = random.Random(7)
    announced = [(a, 100_000, 700_000), (b, 0, 0), (b, 0, 500_000), (a, 0, 1000)]
    files.announce(announced)
    for path, begin, end in announced:
        while begin < end:
            n_bytes = min(end - begin, draw.choice([1, 1000, 50_000, 200_000]))
            assert files.read(path, begin, n_bytes) == content[path][begin : begin + n_bytes]
            begin += n_bytes
            if draw.random() < 0.3:
                other, offset, count = draw.choice([a, b]), draw.randrange(900_000), draw.choice([0, 3, 3000, 100_000])
                assert files.read(other, offset, count) == content[other][offset : offset + count]
    files.announce([(a, 0, len(DATA))])  # what was announced before counts no more
    files.announce([(b, 5, 10)])
    assert files.read(b, 5, 5) == content[b][5:10]
    files.close()
    assert files.read(a, 0, 8) == DATA[:8]
    files.close()


def test_small_reads_do_not_cost_a_request_each(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files = RemoteWeights(hub, repo, tmp_path)
    for offset in range(70_000, 130_000, 500):
        assert files.read(tmp_path / "a.safetensors", offset, 500) == DATA[offset : offset + 500]
    assert len(server.requests("cdn")) <= 3 * 4  # blocks of 32 KiB, twice: in two halves, and whole
    for offset in range(0, len(DATA) - 9, 1000):
        assert files.read(tmp_path / "a.safetensors", offset, 9) == DATA[offset : offset + 9]
    assert server.sent("a.safetensors") <= 2 * (len(DATA) + 2 * 65536)
    files.close()


def test_what_goes_into_no_hash_is_compared(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    for n in range(3):
        files = RemoteWeights(hub, repo, tmp_path)
        server.faults = iter([None] * n + ["corrupt"])
        assert files.read(tmp_path / "a.safetensors", 40_000, 2000) == DATA[40_000:42_000]
        assert files.read(tmp_path / "a.safetensors", 1000, 500_000) == DATA[1000:501_000]
        files.close()
    server.faults = iter(["corrupt"] * 100)
    with pytest.raises(NetworkError, match="comes differently each time"):
        files.read(tmp_path / "a.safetensors", 40_000, 2000)


def test_reads_past_the_end(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    files = RemoteWeights(hub, repo, tmp_path)
    for offset, n_bytes in ((len(DATA), 1), (0, len(DATA) + 1), (-1, 2), (5, -1)):
        with pytest.raises(CheckpointError):
            files.read(tmp_path / "a.safetensors", offset, n_bytes)


def test_a_file_that_is_on_this_disk(server: HubServer, repo: Repo, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cached").write_bytes(DATA)
    folder = tmp_path / "nowhere"
    files = RemoteWeights(hub, repo, folder, {"a.safetensors": tmp_path / "cached"})
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    files.announce([(a, 0, 1000), (b, 0, 1000), (a, 2000, 3000)])
    assert files.read(a, 0, 1000) == DATA[:1000]
    assert files.read(b, 0, 1000) == DATA[::-1][:1000]
    assert files.read(a, 2000, 1000) == DATA[2000:3000]
    files.close()
    assert server.sent("a.safetensors") == 0
    (tmp_path / "cached").unlink()
    with pytest.raises(CheckpointError):
        files.read(a, 0, 10)


def test_after_an_error_nothing_comes_from_the_wrong_place(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with Hub(replace(QUICK, tries=1, stall_s=10, slow_s=10), block_bytes=1 << 14) as hub:
        files = RemoteWeights(hub, repo, tmp_path, window=1 << 17)
        server.faults = iter([None] * 3 + ["500"])
        files.announce([(path, 0, len(DATA))])
        with pytest.raises(NetworkError):
            files.read(path, 0, 500_000)
        server.faults = iter(())
        assert files.read(path, 0, 500_000) == DATA[:500_000]
        files.close()


# Whole conversions.


def described(hub: Hub, repo: Repo, folder: Path) -> Path:
    folder.mkdir()
    for name in wanted_files(f.name for f in repo.files)[0]:
        (folder / name).write_bytes(hub.fetch(repo, repo.file(name)))
    return folder


@pytest.mark.parametrize("checkpoint", [SHARDED, FP8])
def test_a_conversion_over_the_net_gives_the_same_bytes(
    server: HubServer, hub: Hub, tmp_path: Path, checkpoint: Path
) -> None:
    server.add("org/model", checkpoint)
    repo = look_up("org/model")
    folder = described(hub, repo, tmp_path / "model")
    server.log.clear()
    files = RemoteWeights(hub, repo, folder)
    provenance = find_provenance(folder)
    convert(folder, tmp_path / "remote.gguf", files=files, provenance=provenance, name="m", threads=1)
    files.close()
    convert(checkpoint, tmp_path / "local.gguf", provenance=provenance, name="m", threads=1)
    assert (tmp_path / "remote.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
    assert not list(folder.glob("*.safetensors"))
    for file in repo.files:
        if file.name.endswith(".safetensors"):  # once, and the beginning twice more
            assert (
                file.size_bytes
                <= server.sent(file.name)
                <= file.size_bytes + (4 << 15 if checkpoint == SHARDED else 1 << 20)
            )


@pytest.mark.parametrize(("checkpoint", "n_transfers"), [(SHARDED, 20), (FP8, 10)])
def test_conversions_with_up_to_twenty_faults_each(
    server: HubServer, tmp_path: Path, checkpoint: Path, n_transfers: int
) -> None:
    server.add("org/model", checkpoint)
    repo = look_up("org/model")
    with Hub(QUICK) as hub:
        folder = described(hub, repo, tmp_path / "model")
    told = {f.name: f.sha256 for f in repo.files if f.sha256 and "/" not in f.name}
    origin = replace(find_provenance(folder), hub_sha256=told)
    convert(checkpoint, tmp_path / "local.gguf", "q8_0", provenance=origin, name="m", threads=1)
    expected, file = (tmp_path / "local.gguf").read_bytes(), tmp_path / "remote.gguf"
    n_right = 0
    for seed in range(n_transfers):
        server.faults = seeded(seed, random.Random(seed).randint(1, 20), FAULTS)
        for _ in range(4):
            with Hub(QUICK, block_bytes=1 << 13) as hub:
                files = RemoteWeights(hub, repo, folder, window=1 << 16)
                try:
                    convert(folder, file, "q8_0", files=files, provenance=origin, name="m", threads=1, resumable=True)
                except (NetworkError, SourceMismatch):
                    continue
                finally:
                    files.close()
            assert file.read_bytes() == expected
            file.unlink()
            n_right += 1
            break
        discard(file)
    assert n_right >= 0.8 * n_transfers
