"""Pulls that are killed, run out of disk, or run eight at once: nothing partial is listed, little is fetched twice.

The program runs in forked processes (`crashing`), the hub in this one, where it counts what it sends.
"""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import config, write_checkpoint
from crashing import Crashes, Fault, Outcome
from hub_server import HubServer, Request
from program import files

from convert.pipeline import convert
from minichat.store import Store
from minichat.terminal.progress import WorkProgress
from minichat.verification import verify

pytestmark = pytest.mark.usefixtures("tokens_unchecked")

CHANGES = ("write", "create", "sync", "name")
NO_FAULT = Fault(CHANGES)
KILLS = 200
TWICE_BYTES = 16 << 20  # at most, for each interruption
HEADERS_BYTES = 1 << 20  # headers are read for the plan, and once more with all that follows
SMALL, LARGE, READY, QUARTER = "org/small", "org/large", "org/ready-GGUF", "org/quarter-GGUF"
PULL_SMALL = ("pull", f"{SMALL}:q8_0", "--yes")
PULL_LARGE = ("pull", f"{LARGE}:q4_0", "--yes")
PULL_READY = ("pull", READY, "--yes")
PULL_QUARTER = ("pull", QUARTER, "--yes")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("hub")
    large = config(layers=4, hidden=768, inner=2048, heads=12, kv_heads=4)
    with HubServer() as hub:
        hub.add(SMALL, write_checkpoint(folder / "small", config(layers=2, hidden=64, inner=128), shards=2))
        hub.add(LARGE, write_checkpoint(folder / "large", large, shards=3))
        convert(folder / "large", folder / "large-F16.gguf", "fp16")
        hub.add(READY, {"large-F16.gguf": folder / "large-F16.gguf"})
        convert(folder / "large", folder / "large-Q4_0.gguf", "q4_0")
        hub.add(QUARTER, {"large-Q4_0.gguf": folder / "large-Q4_0.gguf"})
        yield hub


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    crashes = Crashes(tmp_path_factory.mktemp("scratch"))
    yield crashes
    crashes.close()


class Home:
    """A home with a model that must survive everything, and runs in it."""

    def __init__(self, folder: Path, crashes: Crashes, hub: HubServer, checkpoint: Path) -> None:
        self.crashes, self.hub = crashes, hub
        self.before, self.now = folder / "before", folder / "now"
        self.store = Store(self.now / "models")
        done = crashes.run(self.before, "convert", checkpoint, "-q", "fp16", "--name", "kept:best", fault=Fault(()))
        assert done.code == 0, done
        self.begin()
        self.old = self.found()
        self.assert_whole()

    def begin(self) -> None:
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.before, self.now)

    def run(self, *command: str, fault: Fault = NO_FAULT, kill_after_s: float = 0) -> Outcome:
        return self.crashes.run(self.now, *command, fault=fault, kill_after_s=kill_after_s, hub=self.hub.url)

    def found(self) -> dict[str, bytes]:
        """The models that are listed, and their bytes."""
        assert self.store.damaged() == {}
        return {m.full_name: self.store.path(m).read_bytes() for m in self.store.models()}

    def assert_whole(self) -> None:
        assert [v for v in verify(None, self.store, WorkProgress) if v.problem] == []

    def assert_tidy(self) -> None:
        """Nothing is there but models; the lock of a process that was killed at its end takes no room."""
        kept = [name for name in files(self.store.root) if name.split("/")[0] not in ("blobs", "manifests", "used")]
        assert [name for name in kept if not name.endswith(".lock")] == []
        assert len(files(self.store.root / "blobs")) == len({m.blob for m in self.store.models()})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, crashes: Crashes, hub: HubServer) -> Home:  # type: ignore[override]
    folder = tmp_path_factory.mktemp("homes")
    return Home(folder, crashes, hub, write_checkpoint(folder / "kept", config(layers=1, hidden=64, inner=128)))


def sent(hub: HubServer, repo: str) -> int:
    """Bytes of weights that the hub has sent."""
    return sum(hub.sent(name) for name in hub.repos[repo][-1].files if name.endswith((".safetensors", ".gguf")))


def weights(hub: HubServer, repo: str) -> int:
    """Bytes of weights that the hub has."""
    contents = hub.repos[repo][-1].files.items()
    return sum(content.size for name, content in contents if name.endswith((".safetensors", ".gguf")))


def test_killed_at_every_call_that_changes_something(home: Home, hub: HubServer) -> None:
    """The rest of the 200 kills are in the next test."""
    home.begin()
    whole = home.run(*PULL_SMALL)
    assert whole.code == 0, whole
    done = home.found()
    home.assert_whole()
    assert len(done) == 2
    home.assert_tidy()
    kills = 0
    for number in range(1, whole.calls + 1):
        home.begin()
        outcome = home.run(*PULL_SMALL, fault=Fault(CHANGES, at=number))
        assert outcome.code in (-9, 0), outcome  # 0: threads made one call less this time
        kills += outcome.code == -9
        assert home.found() in (home.old, done)
        again = home.run(*PULL_SMALL)
        assert again.code == 0, again
        assert home.found() == done
        home.assert_tidy()
    assert kills > 30


@pytest.mark.parametrize(("repo", "command", "wanted"), [(LARGE, PULL_LARGE, 50), (READY, PULL_READY, KILLS - 30 - 50)])
def test_little_is_fetched_twice(home: Home, hub: HubServer, repo: str, command: tuple[str, ...], wanted: int) -> None:
    """Killed again and again at random times, until it is done."""
    home.begin()
    whole = home.run(*command)
    assert whole.code == 0, whole
    done = home.found()
    home.assert_whole()
    draw = random.Random(repo)
    kills = 0
    while kills < wanted:
        home.begin()
        before, here = sent(hub, repo), 0
        while True:
            outcome = home.run(*command, kill_after_s=draw.uniform(0.1, 1.2) * whole.took_s)
            if outcome.code == 0:
                break
            assert outcome.code == -9, outcome
            here += 1
            assert home.found() in (home.old, done)
        assert home.found() == done
        home.assert_tidy()
        assert sent(hub, repo) - before <= weights(hub, repo) + HEADERS_BYTES + here * TWICE_BYTES
        kills += here


@pytest.mark.parametrize("command", [PULL_SMALL, PULL_READY])
def test_a_disk_that_is_full_at_any_call(home: Home, hub: HubServer, command: tuple[str, ...]) -> None:
    kinds = ("write", "create", "sync")
    home.begin()
    calls = home.run(*command, fault=Fault(kinds)).calls
    for at in range(1, calls + 1, 1 if command == PULL_SMALL else max(1, calls // 30)):
        home.begin()
        outcome = home.run(*command, fault=Fault(kinds, at, errno.ENOSPC, lasting=True))
        assert outcome.code in (0, 5), outcome
        if outcome.code == 5:
            assert outcome.stdout == ""
            assert outcome.stderr.splitlines()[-1].startswith("minichat: "), outcome
            assert home.found() == home.old
            home.assert_tidy()


def test_a_small_disk_that_fills(home: Home, hub: HubServer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only a superuser may mount a disk")
    try:
        shutil.copytree(home.before, disk / "home")
        (disk / "ballast").write_bytes(bytes(20 << 20))

        store = Store(disk / "home" / "models")
        filling, is_over = threading.Lock(), False

        def pull(command: tuple[str, ...]) -> Outcome:
            return home.crashes.run(disk / "home", *command, fault=NO_FAULT, hub=hub.url)

        def fill(request: Request) -> None:
            """Another program takes what is left of the disk, while the transfer is under way."""
            with filling:
                if request.host != "cdn" or is_over or hub.sent("large-Q4_0.gguf") < 4 << 20:
                    return
                with contextlib.suppress(OSError), (disk / "other").open("ab", buffering=0) as file:
                    while file.write(bytes(1 << 18)):
                        pass

        def check_old() -> None:
            assert [m.full_name for m in store.models()] == ["kept:best"]
            assert [v for v in verify(None, store, WorkProgress) if v.problem] == []
            assert store.partials() == []

        too_large = pull(PULL_LARGE)  # told before the first byte of weights
        assert too_large.code == 5
        assert "MB are needed" in too_large.stderr
        check_old()
        hub.after = fill
        filled = pull(PULL_QUARTER)
        with filling:
            is_over = True
        hub.after = lambda _: None
        assert filled.code == 5, filled
        assert "disk is full" in filled.stderr
        check_old()
        (disk / "ballast").unlink()
        (disk / "other").unlink()
        assert pull(PULL_LARGE).code == 0
        assert sorted(m.full_name for m in store.models()) == ["kept:best", "large:q4_0"]
        assert [v for v in verify(None, store, WorkProgress) if v.problem] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_eight_pulls_at_once_make_one_transfer(home: Home, hub: HubServer) -> None:
    for _ in range(20):
        home.begin()
        before = sent(hub, QUARTER)
        outcomes = home.crashes.together(8, home.now, *PULL_QUARTER, hub=hub.url)
        assert [outcome.code for outcome in outcomes] == [0] * 8, outcomes
        assert len({outcome.stdout for outcome in outcomes}) == 1
        headers = 8 * HEADERS_BYTES  # each looks at what there is before it waits
        assert weights(hub, QUARTER) <= sent(hub, QUARTER) - before <= weights(hub, QUARTER) + headers
        assert len(home.found()) == 2
        home.assert_tidy()
