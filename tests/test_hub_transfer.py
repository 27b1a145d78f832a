"""Transfers from a hub of our own: what comes, what is asked for, and what is left on the disk. About 12 seconds."""

import errno
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import HubServer, Request

from minichat.hub.lookup import RemoteFile, Repo, look_up
from minichat.hub.patience import Patience
from minichat.hub.transfer import Hub, discard
from quant.errors import DataError, DiskFullError, MinichatError, NetworkError, StorageError

QUICK = Patience(stall_s=0.3, tries=4, base_s=0.001, cap_s=0.01, slow_s=0.3)
TOKEN = "hf_SecretSecretSecretSecretSecret"
DATA = random.Random(1).randbytes(5_000_011)
SMALL = b'{"small": true}'
WEIGHTS = "model.safetensors"
FILES = {"config.json": SMALL, "sub/empty": b"", WEIGHTS: DATA, "other.gguf": DATA[::-1]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add("org/model", FILES)
        yield server


@pytest.fixture
def repo(server: HubServer) -> Repo:
    repo = look_up("org/model")
    server.log.clear()
    return repo


@pytest.fixture
def hub(server: HubServer) -> Iterator[Hub]:
    with Hub(replace(QUICK, stall_s=10, slow_s=10), block_bytes=1 << 18) as hub:
        yield hub


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "weights.part"


def left(part: Path) -> list[str]:
    return sorted(p.name for p in part.parent.iterdir() if p.name != "home")


# What comes.


@pytest.mark.parametrize("relative", [False, True])
def test_small_files(server: HubServer, repo: Repo, hub: Hub, relative: bool) -> None:
    server.relative = relative
    assert hub.fetch(repo, repo.file("config.json")) == SMALL
    assert hub.fetch(repo, repo.file("sub/empty")) == b""
    assert [r.path.split("?")[0].rpartition("/")[2] for r in server.log] == ["config.json"] * (1 + relative)
    assert repo.commit in server.log[0].path


@pytest.mark.parametrize(
    ("offset", "n_bytes"), [(0, 1), (0, 8), (4_999_999, 12), (1_234, 2_000_000), (7, 0), (0, len(DATA))]
)
def test_ranges(repo: Repo, hub: Hub, offset: int, n_bytes: int) -> None:
    assert hub.read(repo, repo.file(WEIGHTS), offset, n_bytes) == DATA[offset : offset + n_bytes]


@pytest.mark.parametrize(("offset", "n_bytes"), [(0, len(DATA) + 1), (len(DATA), 1), (-1, 5)])
def test_ranges_that_a_file_does_not_have(repo: Repo, hub: Hub, offset: int, n_bytes: int) -> None:
    with pytest.raises(DataError, match=WEIGHTS):
        hub.read(repo, repo.file(WEIGHTS), offset, n_bytes)


def test_a_stream_of_ranges_of_several_files(repo: Repo, hub: Hub) -> None:
    first, second = repo.file(WEIGHTS), repo.file("other.gguf")
    draw = random.Random(2)
    ranges = []
    for _ in range(60):
        begin = draw.randrange(len(DATA))
        file = draw.choice([first, second])
        ranges.append((file, begin, min(len(DATA), begin + draw.choice([0, 1, 100, 70_000, 600_000]))))
    expected = b"".join((DATA if file is first else DATA[::-1])[begin:end] for file, begin, end in ranges)
    with hub.stream(repo, ranges, 1 << 20) as pieces:
        assert b"".join(pieces) == expected


def test_ranges_that_follow_each_other_are_asked_for_as_one(server: HubServer, repo: Repo, hub: Hub) -> None:
    file = repo.file(WEIGHTS)
    with hub.stream(repo, [(file, n * 100, (n + 1) * 100) for n in range(50)], 1 << 20) as pieces:
        assert b"".join(pieces) == DATA[:5000]
    assert [r.range for r in server.requests("cdn")] == ["bytes=0-4999"]


def test_the_window_bounds_what_is_asked_for(server: HubServer, repo: Repo, hub: Hub) -> None:
    window, consumed = 1 << 20, 0
    with hub.stream(repo, [(repo.file(WEIGHTS), 0, len(DATA))], window) as pieces:
        for n, piece in enumerate(pieces):
            if n % 3 == 0:
                time.sleep(0.02)  # let them get ahead
            asked = [r.range for r in server.requests("cdn") if r.range]
            highest = max(int(a.rpartition("-")[2]) + 1 for a in asked)
            assert highest - consumed <= window
            consumed += len(piece)
    assert consumed == len(DATA)


def test_eight_connections_are_kept_alive_and_used(server: HubServer, repo: Repo, hub: Hub) -> None:
    meet = threading.Barrier(8)
    with hub.stream(repo, [(repo.file(WEIGHTS), 0, 1)], 1) as pieces:
        assert b"".join(pieces) == DATA[:1]  # where the file is

    def wait_for_the_others(request: Request) -> None:
        if request in server.requests("cdn")[1:9]:
            meet.wait(5)

    server.before = wait_for_the_others  # eight are in flight, or none is answered
    for _ in range(3):
        with hub.stream(repo, [(repo.file(WEIGHTS), 0, len(DATA))], 2 << 20) as pieces:
            assert b"".join(pieces) == DATA
    requests = server.requests("cdn")
    assert len(requests) == 1 + 3 * 20
    assert len({r.connection for r in requests}) == 8
    assert len(server.requests("hub")) == 1  # the link is asked for once


def test_memory_stays_bounded(server: HubServer, tmp_path: Path, part: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(300 << 20)
    server.add("org/large", {"a.gguf": tmp_path / "large"})
    code = (
        "import resource, sys; from pathlib import Path; from minichat.hub.lookup import look_up;"
        "from minichat.hub.transfer import Hub; repo = look_up('org/large'); hub = Hub();"
        "hub.read(repo, repo.files[0], 0, 1000); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "hub.download(repo, repo.files[0], Path(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, part], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000  # kB: a window of 12 MiB, and what eight threads have in hand


# The token, and who sees it.


def test_the_token_goes_to_the_hub_only(server: HubServer, monkeypatch: pytest.MonkeyPatch, part: Path) -> None:
    server.tokens.add(TOKEN)
    server.relative = True
    server.faults = iter(["503", "expired", "drop", "loop", None, "expired"])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    repo = look_up("org/model")
    with Hub(QUICK, block_bytes=1 << 18) as hub:
        hub.download(repo, repo.file(WEIGHTS), part)
        hub.fetch(repo, repo.file("config.json"))
    assert all(r.headers.get("authorization") == f"Bearer {TOKEN}" for r in server.requests("hub"))
    assert len(server.requests("hub")) > 3
    assert len(server.requests("cdn")) > 20
    for request in server.requests("cdn"):
        assert TOKEN not in request.path + str(request.headers)


def test_the_token_does_not_come_back_over_another_host(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    repo = look_up("org/model")
    server.log.clear()
    link = f"/org/model/resolve/{repo.commit}/config.json"
    server.redirects[link] = f"{server.cdn_url}/again"
    server.cdn_redirects["/again"] = server.url + link + "?again"
    with Hub(QUICK) as hub:
        assert hub.fetch(repo, repo.file("config.json")) == SMALL
    again = [r for r in server.requests("hub") if "?again" in r.path]
    assert again
    assert not [r for r in again + server.requests("cdn") if "authorization" in r.headers]


def test_no_message_has_the_token_or_a_link(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.tokens.add(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    repo = look_up("org/model")
    for fault in (
        "500",
        "429",
        "503",
        "garbage",
        "drop_head",
        "expired",
        "loop",
        "nowhere",
        "page",
        "encoded",
        "stall",
    ):
        server.faults = iter([fault] * 100)
        with Hub(replace(QUICK, tries=2)) as hub, pytest.raises(NetworkError) as raised:
            hub.read(repo, repo.file(WEIGHTS), 5, 1000)
        texts = [str(raised.value), repr(raised.value.__cause__), repr(raised.value.__context__)]
        assert str(raised.value).isprintable()
        assert not any(secret in text for text in texts for secret in (TOKEN, "signature", "expires="))


# Refusals.


def test_gated_repos_say_what_to_do(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("org/gated", FILES, gated="manual")
    repo = look_up("org/gated")
    assert repo.gated
    page = f"{server.url}/org/gated"

    def refused() -> str:
        before = len(server.log)
        with Hub(QUICK) as hub, pytest.raises(DataError) as raised:
            hub.fetch(repo, repo.file("config.json"))
        assert len(server.log) == before + 1  # no second try
        return str(raised.value)

    assert (
        refused()
        == f"org/gated needs a login: accept its licence at {page}, then log in with `hf auth login` or set HF_TOKEN"
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "does not accept your token" in refused()
    server.tokens.add(TOKEN)
    assert (
        refused() == f"your account has not been granted access to org/gated: open {page} and accept its terms or ask"
    )
    server.granted.add((TOKEN, "org/gated"))
    with Hub(QUICK) as hub:
        assert hub.fetch(repo, repo.file("config.json")) == SMALL
        assert hub.read(repo, repo.file(WEIGHTS), 5, 5) == DATA[5:10]


def test_a_file_that_is_gone(server: HubServer, repo: Repo, hub: Hub) -> None:
    with pytest.raises(DataError, match=r"org/model has no file gone\.json"):
        hub.fetch(repo, RemoteFile("gone.json", 5, None, None))


def test_a_file_too_large_to_be_small(repo: Repo, hub: Hub) -> None:
    with pytest.raises(DataError, match="too much for a file that describes a model"):
        hub.fetch(repo, RemoteFile("config.json", 1 << 40, None, None))


def test_offline(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        Hub()


def test_nobody_there(repo: Repo) -> None:
    with Hub(QUICK, endpoint="http://127.0.0.1:9") as hub, pytest.raises(NetworkError, match="refuses connections"):
        hub.fetch(repo, repo.file("config.json"))


# Downloads and what is on the disk.


def test_a_download(server: HubServer, repo: Repo, hub: Hub, part: Path) -> None:
    told: list[int] = []
    file = repo.file(WEIGHTS)
    assert hub.download(repo, file, part, told.append) == file.sha256 == hashlib.sha256(DATA).hexdigest()
    assert part.read_bytes() == DATA
    assert told == sorted(told)
    assert told[-1] == len(DATA)
    assert server.sent(WEIGHTS) == len(DATA)
    before = len(server.log)
    assert hub.download(repo, file, part) == file.sha256  # whole already: nothing is asked for
    assert len(server.log) == before
    discard(part)
    assert left(part) == []


def test_a_download_without_a_sha256_is_held_to_gits_hash(server: HubServer, repo: Repo, hub: Hub, part: Path) -> None:
    assert hub.download(repo, repo.file("config.json"), part) == hashlib.sha256(SMALL).hexdigest()
    discard(part)
    with pytest.raises(NetworkError):
        hub.download(repo, replace(repo.file("config.json"), git_oid="0" * 40), part)


def test_what_is_there_is_not_fetched_again(server: HubServer, repo: Repo, hub: Hub, part: Path) -> None:
    file = repo.file(WEIGHTS)
    hub.download(repo, file, part)
    server.log.clear()
    for size in (0, 1, 3_000_000, len(DATA) - 1):
        before = server.sent(WEIGHTS)
        with part.open("r+b") as opened:
            opened.truncate(size)
        told: list[int] = []
        assert hub.download(repo, file, part, told.append) == file.sha256
        assert part.read_bytes() == DATA
        assert server.sent(WEIGHTS) - before == len(DATA) - size
        assert told == sorted(told)


@pytest.mark.parametrize(
    "note",
    [None, b"", b"{", b"[]", b"{}", b"\xff", b"[" * 5000, {"sha256": "0" * 64}, {"size_bytes": 7}, {"sha256": None}],
)
def test_a_part_of_another_content_is_begun_anew(
    server: HubServer, repo: Repo, hub: Hub, part: Path, note: bytes | dict[str, object] | None
) -> None:
    file = repo.file(WEIGHTS)
    hub.download(repo, file, part)
    server.log.clear()
    part.write_bytes(b"x" * 1000)
    beside = part.with_name(part.name + ".json")
    if note is None:
        beside.unlink()
    else:
        beside.write_bytes(
            note if isinstance(note, bytes) else json.dumps(json.loads(beside.read_text()) | note).encode()
        )
    assert hub.download(repo, file, part) == file.sha256
    assert part.read_bytes() == DATA
    assert server.sent(WEIGHTS) == len(DATA)


def test_a_damaged_part_is_begun_anew_once(server: HubServer, repo: Repo, hub: Hub, part: Path) -> None:
    file = repo.file(WEIGHTS)
    hub.download(repo, file, part)
    server.log.clear()
    damaged = bytearray(DATA[:3_000_000])
    damaged[5] ^= 1
    part.write_bytes(damaged)
    told: list[int] = []
    assert hub.download(repo, file, part, told.append) == file.sha256
    assert part.read_bytes() == DATA
    assert server.sent(WEIGHTS) == 2 * len(DATA) - 3_000_000
    assert 0 in told


def test_a_part_that_is_a_link_or_too_long(repo: Repo, hub: Hub, part: Path, tmp_path: Path) -> None:
    file = repo.file(WEIGHTS)
    hub.download(repo, file, part)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    part.unlink()
    part.symlink_to(elsewhere)
    assert hub.download(repo, file, part) == file.sha256
    assert elsewhere.read_bytes() == b"mine"
    assert not part.is_symlink()
    with part.open("ab") as opened:
        opened.write(b"more")
    assert hub.download(repo, file, part) == file.sha256
    assert part.read_bytes() == DATA


def test_content_of_another_hash_leaves_nothing(repo: Repo, hub: Hub, part: Path) -> None:
    # The other file's bytes under this file's name and hash: nothing but the hash tells.
    wrong = replace(repo.file(WEIGHTS), sha256=None, git_oid="0" * 40)
    with pytest.raises(NetworkError, match="does not have the hash that the hub tells"):
        hub.download(repo, wrong, part)
    assert left(part) == []


def test_a_full_disk_leaves_nothing(repo: Repo, hub: Hub, part: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(DiskFullError, match="disk is full"):
            hub.download(repo, repo.file(WEIGHTS), part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert left(part) == []


def test_a_place_that_cannot_be_written(repo: Repo, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        hub.download(repo, repo.file(WEIGHTS), tmp_path / "nowhere" / "part")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        hub.download(repo, repo.file(WEIGHTS), tmp_path / "folder")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "the terminal went away"),
        OSError(errno.ENOSPC, "the log is on a full disk"),
        BrokenPipeError(errno.EPIPE, "nobody reads"),
        DiskFullError("another file finds no room"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_raised_by_whoever_is_told_is_no_error_of_the_part(
    server: HubServer, repo: Repo, hub: Hub, part: Path, error: Exception
) -> None:
    """As bytes come, and as the part is read again: it passes as it is, and the part stays."""

    def fail(done: int) -> None:
        if done > 1_500_000:
            raise error

    file = repo.file(WEIGHTS)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            hub.download(repo, file, part, fail)
        assert caught.value is error
        assert left(part) == ["weights.part", "weights.part.json"]
    begun = part.stat().st_size
    assert begun > 1_500_000
    server.log.clear()
    assert hub.download(repo, file, part) == file.sha256
    # The first transfer's last bytes may still be counted; from the beginning it would be all of them.
    assert len(DATA) - begun <= server.sent(WEIGHTS) < len(DATA)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_disk_that_fails_for_a_while_loses_nothing(
    server: HubServer, repo: Repo, hub: Hub, part: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file, write = repo.file(WEIGHTS), os.write

    def failing(handle: int, data: bytes) -> int:
        if os.fstat(handle).st_size > 1_500_000:
            raise OSError(number, os.strerror(number))
        return write(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing)
        with pytest.raises(StorageError, match=os.strerror(number)) as caught:
            hub.download(repo, file, part)
    assert not isinstance(caught.value, DiskFullError)
    begun = part.stat().st_size
    assert begun > 1_500_000
    server.log.clear()
    assert hub.download(repo, file, part) == file.sha256
    # The first transfer's last bytes may still be counted; from the beginning it would be all of them.
    assert len(DATA) - begun <= server.sent(WEIGHTS) < len(DATA)


# Kills and Ctrl-C.

CHILD = (
    "import sys; from pathlib import Path;"
    "from minichat.hub.lookup import look_up; from minichat.hub.transfer import Hub;"
    "repo = look_up('org/large');"
    "Hub().download(repo, repo.files[0], Path(sys.argv[1]), lambda n: print(n, flush=True))"
)


def test_a_kill_loses_less_than_16_mib(server: HubServer, tmp_path: Path, part: Path) -> None:
    large = random.Random(3).randbytes(60 << 20)
    server.add("org/large", {"a.gguf": large})
    spent = 0
    for kill in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, part], stdout=subprocess.PIPE)
        assert child.stdout is not None
        for line in child.stdout:
            if kill < 3 and int(line) > (kill + 1) * 14 << 20:
                child.kill()
                break
        child.stdout.close()
        assert child.wait() == (0 if kill == 3 else -signal.SIGKILL)
        time.sleep(0.2)  # the server learns that its client is gone
        assert server.sent("a.gguf") - spent - part.stat().st_size <= 16 << 20
        spent = server.sent("a.gguf") - part.stat().st_size
    assert part.read_bytes() == large
    assert server.sent("a.gguf") - len(large) <= 3 * (16 << 20)


def test_ctrl_c_ends_at_once(server: HubServer, part: Path) -> None:
    server.add("org/large", {"a.gguf": bytes(30 << 20)})
    server.faults = iter([None] * 5 + ["stall"] * 100)
    server.stall_s = 20
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, part], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    time.sleep(0.3)  # all connections stand still
    began = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    child.wait(5)
    assert time.monotonic() - began < 1  # half a second, and Python's own end
    assert b"KeyboardInterrupt" in child.stderr.read()
    child.stdout.close()
    child.stderr.close()


def test_closing_ends_what_another_thread_waits_for(server: HubServer, repo: Repo) -> None:
    server.faults = iter(["stall"] * 100)
    server.stall_s = 20
    hub = Hub(Patience())
    errors: list[MinichatError] = []

    def read() -> None:
        try:
            hub.read(repo, repo.file(WEIGHTS), 0, 100_000)
        except MinichatError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    hub.close()
    thread.join(15)
    assert time.monotonic() - began < 10
    assert isinstance(errors[0], NetworkError)
