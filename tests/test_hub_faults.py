"""Hubs that drop, stall, lie and change under way: right bytes, or a NetworkError. About 40 seconds."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import FAULTS, HubServer, seeded

from minichat.hub.lookup import Repo, look_up
from minichat.hub.patience import Patience
from minichat.hub.transfer import Hub
from quant.errors import NetworkError

QUICK = Patience(stall_s=0.06, tries=8, base_s=0.001, cap_s=0.004, slow_s=0.08, slow_bytes_per_s=2000)
CALM = replace(QUICK, stall_s=10, slow_s=10)  # for tests of what is asked for, on a machine that may be busy
DATA = random.Random(4).randbytes(300_001)
WEIGHTS = "model.safetensors"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(slow_s=0.01, stall_s=10) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add("org/model", {WEIGHTS: DATA, "config.json": DATA[:5000]})
        yield server


@pytest.fixture
def repo(server: HubServer) -> Repo:
    repo = look_up("org/model")
    server.log.clear()
    return repo


def begin(server: HubServer, faults: Iterator[str | None]) -> None:
    server.faults = faults
    server.log.clear()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 3])
def test_each_fault_heals(server: HubServer, repo: Repo, fault: str, times: int) -> None:
    file = repo.file(WEIGHTS)
    begin(server, iter([None, fault] * times))
    with Hub(QUICK, block_bytes=1 << 14) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 18) as pieces:
        got = b"".join(pieces)
    assert sum(r.fault == fault for r in server.log) == times
    if fault == "corrupt":  # which a stream cannot know: whoever consumes it compares hashes
        assert sum(a != b for a, b in zip(got, DATA, strict=True)) == times
    else:
        assert got == DATA


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("corrupt", "chunked", "shorter", "longer", "whole")])
def test_a_fault_that_never_heals_is_a_network_error(server: HubServer, repo: Repo, fault: str, tmp_path: Path) -> None:
    begin(server, iter([fault] * 10_000))
    patience = replace(QUICK, tries=3)
    with Hub(patience, block_bytes=1 << 14) as hub:
        with pytest.raises(NetworkError, match="tried 3 times") as raised:
            hub.download(repo, repo.file(WEIGHTS), tmp_path / "part")
        assert str(raised.value).isprintable()


def test_damage_that_never_ends_leaves_nothing(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    part = tmp_path / "weights.part"
    for name in (WEIGHTS, "config.json"):
        begin(server, iter(["corrupt"] * 1000))
        with Hub(CALM) as hub, pytest.raises(NetworkError, match="does not have the hash"):
            hub.download(repo, repo.file(name), part)
        assert server.sent(name) == 2 * repo.file(name).size_bytes  # begun anew once
        assert not list(tmp_path.glob("weights*"))
    with Hub(QUICK) as hub, pytest.raises(NetworkError, match="does not have the hash"):
        hub.fetch(repo, repo.file("config.json"))


def test_damage_is_fetched_again(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    begin(server, iter(["corrupt"]))
    with Hub(QUICK) as hub:
        assert hub.fetch(repo, repo.file("config.json")) == DATA[:5000]
        begin(server, iter(["corrupt"]))
        hub.download(repo, repo.file(WEIGHTS), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA


@pytest.mark.parametrize("fault", ["changed", "other_size"])
def test_what_was_changed_is_never_spliced(server: HubServer, repo: Repo, fault: str) -> None:
    for name in (WEIGHTS, "config.json"):
        begin(server, iter([None, None, None, fault]))
        file = repo.file(name)
        got = b""
        with (
            Hub(QUICK, block_bytes=1 << 10, connections=1) as hub,
            hub.stream(repo, [(file, 0, file.size_bytes)], 1 << 12) as pieces,
            pytest.raises(NetworkError, match="was changed while it was fetched: try again"),
        ):
            for piece in pieces:
                got += piece
        assert DATA.startswith(got)


def test_a_revision_that_changes_in_mid_transfer(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    """The branch moves on; what is fetched is by commit, and stays as it was looked up."""
    file = repo.file(WEIGHTS)
    with Hub(QUICK, block_bytes=1 << 14) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 16) as pieces:
        got = next(pieces)
        server.add("org/model", {WEIGHTS: DATA[::-1]})
        got += b"".join(pieces)
    assert got == DATA
    # Where a hub serves another content under the same commit, its hash tells.
    server.repos["org/model"][0].files[WEIGHTS] = server.repos["org/model"][1].files[WEIGHTS]
    with Hub(QUICK) as hub, pytest.raises(NetworkError, match="was changed"):
        hub.download(repo, file, tmp_path / "part")


def test_links_expire(server: HubServer, repo: Repo) -> None:
    server.link_s = 0.1
    file = repo.file(WEIGHTS)
    with Hub(QUICK, block_bytes=1 << 14) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 15) as pieces:
        got = b""
        for piece in pieces:
            time.sleep(0.02)
            got += piece
    assert got == DATA
    assert len(server.requests("hub")) > 1
    assert [r for r in server.requests("cdn") if r.status == 403]


def test_a_server_without_ranges_is_read_once(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    large = random.Random(5).randbytes(8 << 20)
    server.add("org/large", {"a.gguf": large})
    repo = look_up("org/large")
    begin(server, iter(["whole"] * 1000))
    with Hub(CALM) as hub, hub.stream(repo, [(repo.files[0], 0, len(large))], 2 << 20) as pieces:
        got = bytearray()
        for piece in pieces:
            time.sleep(0.0005)
            got += piece
    assert got == large
    # First a few ask for their blocks, and leave when they get all; then one answer is read to its end.
    assert len(server.requests("cdn")) <= 18
    assert [r.sent for r in server.requests("cdn")].count(len(large)) == 1


def test_a_server_without_ranges_that_drops(server: HubServer, repo: Repo) -> None:
    begin(server, iter(["whole"] * 12 + ["drop"] * 3 + ["whole"] * 100))
    file = repo.file(WEIGHTS)
    with Hub(QUICK, block_bytes=1 << 14) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 17) as pieces:
        assert b"".join(pieces) == DATA


@pytest.mark.parametrize("fault", ["stall", "slow"])
def test_stalls_are_noticed(server: HubServer, repo: Repo, fault: str) -> None:
    server.slow_s = 0.05  # 20 bytes a second
    begin(server, iter([fault]))
    patience = Patience(stall_s=0.4, base_s=0.001, slow_s=0.6, slow_bytes_per_s=1000)
    began = time.monotonic()
    with Hub(patience) as hub:
        assert hub.read(repo, repo.file(WEIGHTS), 0, 100_000) == DATA[:100_000]
    assert 0.3 < time.monotonic() - began < 30


def test_a_head_that_trickles_is_noticed(repo: Repo) -> None:
    import socket
    import threading

    def trickle() -> None:
        client, _ = listener.accept()
        with client:
            for byte in b"HTTP/1.1 100 Continue\r\n\r\n" * 1000:
                try:
                    client.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        patience = Patience(stall_s=0.3, tries=1)
        with Hub(patience, endpoint=url) as hub, pytest.raises(NetworkError, match="sends nothing, or too slowly"):
            hub.read(repo, repo.file(WEIGHTS), 0, 100)
        assert time.monotonic() - began < 20
        thread.join()


def test_who_consumes_slowly_is_not_to_blame_the_hub(server: HubServer, repo: Repo) -> None:
    file = repo.file(WEIGHTS)
    patience = Patience(stall_s=0.1, tries=1, slow_s=0.1)
    with Hub(patience, block_bytes=1 << 15) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 17) as pieces:
        got = next(pieces)
        time.sleep(0.5)
        got += b"".join(pieces)
    assert got == DATA


@pytest.mark.parametrize("fault", ["429", "503"])
def test_a_rate_limit_is_honoured_by_all(server: HubServer, repo: Repo, fault: str) -> None:
    server.retry_after = "1"
    begin(server, iter([None] * 4 + [fault]))
    file, came, answered = repo.file(WEIGHTS), [], []
    server.before = lambda _request: came.append(time.monotonic())
    server.after = lambda request: answered.append((time.monotonic(), request.fault))
    with Hub(CALM, block_bytes=1 << 13) as hub, hub.stream(repo, [(file, 0, len(DATA))], 1 << 15) as pieces:
        assert b"".join(pieces) == DATA
    (limited,) = [when for when, asked in answered if asked == fault]
    later = [when - limited for when in came if when > limited + 0.2]  # but those on their way already
    assert later
    assert min(later) > 0.9


def test_a_rate_limit_that_is_too_long_is_an_error(server: HubServer, repo: Repo) -> None:
    server.retry_after = "86400"
    begin(server, iter(["429"]))
    with Hub(CALM) as hub, pytest.raises(NetworkError, match="asks to wait 86,400 s"):
        hub.read(repo, repo.file(WEIGHTS), 0, 100)


def test_a_drop_goes_on_where_it_was(server: HubServer, repo: Repo) -> None:
    begin(server, iter(["drop", "drop"]))
    with Hub(CALM) as hub:
        assert hub.read(repo, repo.file(WEIGHTS), 0, 80_000) == DATA[:80_000]
    assert [r.range for r in server.requests("cdn")] == ["bytes=0-79999", "bytes=40000-79999", "bytes=60000-79999"]
    assert server.sent(WEIGHTS) == 80_000


def test_a_connection_that_the_server_has_closed_is_no_try(server: HubServer, repo: Repo) -> None:
    with Hub(replace(CALM, tries=1)) as hub:
        for _ in range(3):
            assert hub.read(repo, repo.file(WEIGHTS), 0, 100) == DATA[:100]
            server.cdn_host.end_connections()
            time.sleep(0.05)


def test_three_hundred_transfers_with_up_to_twenty_faults_each(server: HubServer, repo: Repo, tmp_path: Path) -> None:
    file, part = repo.file(WEIGHTS), tmp_path / "part"
    ends, met = Counter[str](), Counter[str]()
    for seed in range(300):
        begin(
            server, seeded(seed, random.Random(seed).randint(1, 20), (*FAULTS, "changed") if seed % 10 == 0 else FAULTS)
        )
        with Hub(QUICK, block_bytes=1 << 14) as hub:
            try:
                assert hub.download(repo, file, part) == file.sha256
                assert part.read_bytes() == DATA
                ends["right"] += 1
                part.unlink()
            except NetworkError as error:
                assert str(error).isprintable()
                ends["error"] += 1  # a part may be left, and is gone on with by the next
        met.update(r.fault for r in server.log if r.fault)
    assert ends["right"] >= 270
    assert set(met) == {*FAULTS, "changed"}
