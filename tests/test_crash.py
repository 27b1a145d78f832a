"""Killed at any point, out of disk, or unable to read: what was there is there, what is new is whole, a rerun works.

A conversion is killed 200 times: before each call that creates, writes, syncs, renames or removes something, once into
a store that has no such model, once over an older one, once into a file; and the rest at random times.
"""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkpoints import config, write_checkpoint
from crashing import Crashes, Fault, Outcome
from program import files

from minichat.manifest import Manifest, ModelName
from minichat.store import Store
from minichat.terminal.progress import WorkProgress
from minichat.verification import verify

pytestmark = pytest.mark.usefixtures("tokens_unchecked")

KILLS = 200
CHANGES = ("write", "create", "sync", "name")
NO_FAULT = Fault(CHANGES)


@dataclass(frozen=True)
class Place:
    """A home and a folder for files as they are before a run, and what a run to the end makes of them."""

    before: Path
    command: tuple[str | Path, ...]
    old: dict[str, bytes]
    done: dict[str, bytes]
    calls: int
    took_s: float


class Stage:
    """Where runs happen: each begins with a fresh copy of its `Place`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, folder / "now"
        (folder / "scratch").mkdir()
        self.crashes = Crashes(folder / "scratch")
        self.home, self.out = self.now / "home", self.now / "out"
        self.store = Store(self.home / "models")

    def run(self, *command: str | Path, fault: Fault = NO_FAULT, kill_after_s: float = 0, limit: int = 0) -> Outcome:
        command = tuple(str(part).replace("OUT", str(self.out)) for part in command)
        return self.crashes.run(self.home, *command, fault=fault, kill_after_s=kill_after_s, file_limit=limit)

    def begin(self, before: Path) -> None:
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(before, self.now)

    def found(self) -> dict[str, bytes]:
        """Names and contents of the models in the store and of the files in the folder, all of them whole."""
        assert self.store.damaged() == {}
        assert [v for v in verify(None, self.store, WorkProgress) if v.problem] == []
        found = {m.full_name: self.store.path(m).read_bytes() for m in self.store.models()}
        return found | {p.name: p.read_bytes() for p in self.out.iterdir() if not p.name.startswith(".")}

    def assert_tidy(self) -> None:
        models = self.store.models()
        named = {f"blobs/{m.blob}" for m in models}
        named |= {self.store.manifest_path(key(m)).relative_to(self.store.root).as_posix() for m in models}
        assert set(files(self.store.root)) == named
        assert list((self.store.root / "incoming").iterdir()) == []
        assert [name for name in files(self.out) if name.startswith(".")] == []


def key(manifest: Manifest) -> ModelName:
    return ModelName(manifest.name, manifest.tag)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("crash"))
    yield stage
    stage.crashes.close()


@pytest.fixture(scope="module")
def places(stage: Stage) -> dict[str, Place]:
    """A model to make: for the first time, over an older one of another content, and into a file over an older one."""
    source = write_checkpoint(stage.folder / "small", config(layers=2, hidden=64, inner=128))
    first, over = stage.folder / "first", stage.folder / "over"
    (stage.now / "out").mkdir(parents=True)
    (stage.out / "model.gguf").write_bytes(b"what was there before")
    assert stage.run("convert", source, "-q", "fp16", "--name", "kept:best").code == 0
    shutil.copytree(stage.now, first)
    assert stage.run("convert", source, "-q", "q8_0").code == 0
    shutil.copytree(stage.now, over)
    (source / "generation_config.json").write_text('{"temperature": 0.5}')
    to_store, to_file = ("convert", source, "-q", "q8_0"), ("convert", source, "-q", "q8_0", "-o", "OUT/model.gguf")
    return {
        "first": place(stage, first, *to_store),
        "over": place(stage, over, *to_store),
        "file": place(stage, first, *to_file),
        "copy": place(stage, over, "cp", "kept:best", "small:q8_0"),
        "remove": place(stage, over, "rm", "small:q8_0"),
    }


def place(stage: Stage, before: Path, *command: str | Path) -> Place:
    stage.begin(before)
    old = stage.found()
    undisturbed = stage.run(*command)
    assert undisturbed.code == 0, undisturbed
    stage.assert_tidy()
    return Place(before, command, old, stage.found(), undisturbed.calls, undisturbed.took_s)


def check_after_death(stage: Stage, place: Place, *, rerun: bool = True) -> None:
    found = stage.found()
    assert found in (place.old, place.done), sorted(found)
    if rerun:
        assert stage.run(*place.command).code == 0
        assert stage.found() == place.done
        stage.assert_tidy()


def test_killed_at_200_points(stage: Stage, places: dict[str, Place]) -> None:
    kills = 0
    for name in ("first", "over", "file"):
        place = places[name]
        stage.begin(place.before)
        for number in range(1, place.calls + 1):
            stage.begin(place.before)
            outcome = stage.run(*place.command, fault=Fault(CHANGES, at=number))
            assert outcome.code in (-9, 0), outcome  # 0: threads made one call less this time
            kills += outcome.code == -9
            check_after_death(stage, place)
    assert kills > 60
    seconds = random.Random(0)
    while kills < KILLS:
        place = places[seconds.choice(["first", "over", "file"])]
        stage.begin(place.before)
        outcome = stage.run(*place.command, kill_after_s=seconds.uniform(0.001, place.took_s))
        kills += outcome.code == -9  # else it was done before
        check_after_death(stage, place)


@pytest.mark.parametrize("name", ["copy", "remove"])
def test_killed_while_names_change(stage: Stage, places: dict[str, Place], name: str) -> None:
    place = places[name]
    stage.begin(place.before)
    for number in range(1, place.calls + 1):
        stage.begin(place.before)
        assert stage.run(*place.command, fault=Fault(CHANGES, at=number)).code == -9
        check_after_death(stage, place, rerun=False)
        assert stage.run(*places["over"].command).code == 0
        assert stage.found() == places["over"].done
        stage.assert_tidy()


@pytest.mark.parametrize("name", ["over", "file"])
@pytest.mark.parametrize(
    ("kinds", "number", "lasting"),
    [(("write", "create", "sync"), errno.ENOSPC, True), (CHANGES, errno.EIO, False), (("read",), errno.EIO, False)],
    ids=["disk full", "write error", "read error"],
)
def test_an_error_at_any_call(
    stage: Stage, places: dict[str, Place], name: str, kinds: tuple[str, ...], number: int, lasting: bool
) -> None:
    place = places[name]
    stage.begin(place.before)
    calls = stage.run(*place.command, fault=Fault(kinds)).calls
    failed = 0
    for at in range(1, calls + 1):
        stage.begin(place.before)
        outcome = stage.run(*place.command, fault=Fault(kinds, at, number, lasting))
        check_failure(outcome, codes=(0, 3, 5) if kinds == ("read",) else (0, 5))
        assert stage.found() == (place.done if outcome.code == 0 else place.old), outcome
        assert list(stage.now.rglob("*.part")) == []
        if outcome.code and "name" not in kinds:  # all that was made can be removed
            stage.assert_tidy()
        failed += outcome.code != 0
    assert failed > 2
    check_after_death(stage, place)


@pytest.mark.parametrize("name", ["over", "file"])
def test_a_file_that_may_not_grow(stage: Stage, places: dict[str, Place], name: str) -> None:
    """A limit of the system's own, at every tenth of the file's size; a line on stderr has room."""
    place = places[name]
    size = max(map(len, place.done.values()))
    for limit in range(1000, size, size // 10):
        stage.begin(place.before)
        outcome = stage.run(*place.command, limit=limit)
        assert stage.found() == (place.done if outcome.code == 0 else place.old)
        assert outcome.code != 0 or limit >= len(place.done["small:q8_0" if name == "over" else "model.gguf"])
        check_failure(outcome, codes=(0, 5))
    check_after_death(stage, place)


def check_failure(outcome: Outcome, codes: tuple[int, ...]) -> None:
    """One line on stderr, and nothing on stdout."""
    assert outcome.code in codes, outcome
    if outcome.code:
        assert outcome.stdout == ""
        assert outcome.stderr.startswith("minichat: "), outcome
        assert outcome.stderr.count("\n") == 1, outcome
