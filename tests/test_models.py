"""What MODEL stands for."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkpoints import SHARDED
from program import start
from shown import Work

from minichat import demos, making, models
from minichat.manifest import ModelName, name_like
from minichat.store import Store
from quant.errors import CheckpointError, DataError, GgufError, UsageError

VISION = SHARDED.parent / "mistral3-vision"


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "My Model"))


def test_a_path_to_a_gguf(store: Store, work: Work, small_gguf: Path) -> None:
    assert models.resolve(str(small_gguf), store, work) == models.Model("small.gguf", small_gguf)
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("./nothing.gguf", DataError, "no such file"),
        ("nothing.gguf", DataError, "no such file"),
        ("/no/such/place", DataError, "no such file"),
        ("nothing", DataError, "no model 'nothing'"),
        ("demo:q99", UsageError, "unknown quantization"),
        ("a b", UsageError, "no model name"),
    ],
)
def test_what_is_not_there(text: str, error: type[Exception], says: str, store: Store, work: Work) -> None:
    with pytest.raises(error, match=says):
        models.resolve(text, store, work)


def test_a_file_that_is_no_gguf(tmp_path: Path, store: Store, work: Work) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGU")
    with pytest.raises(GgufError, match="not a GGUF file"):
        models.resolve(str(tmp_path / "x.gguf"), store, work)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, store: Store, work: Work) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        models.resolve(str(tmp_path / "empty"), store, work)
    assert store.models() == []
    assert not [p for p in store.root.rglob("*") if p.is_file()]


def test_a_checkpoint_folder_is_converted_once(checkpoint: Path, store: Store, work: Work) -> None:
    first = models.resolve(str(checkpoint), store, work)
    assert first.name == "my-model:q4_K_M"
    assert first.path.read_bytes()[:4] == b"GGUF"
    assert work.updates[-1][0] == work.updates[-1][1] == first.path.stat().st_size
    assert models.resolve(str(checkpoint), store, work) == first
    assert models.resolve("my-model", store, work) == first
    assert work.titles == ["converting My Model to q4_K_M"]


def test_a_changed_checkpoint_is_converted_again(checkpoint: Path, store: Store, work: Work) -> None:
    models.resolve(str(checkpoint), store, work)
    (checkpoint / "generation_config.json").write_text('{"temperature": 0.5}')
    models.resolve(str(checkpoint), store, work)
    assert len(work.titles) == 2
    assert len(store.models()) == 1


def test_other_files_in_the_folder_do_not_matter(checkpoint: Path, store: Store, work: Work) -> None:
    models.resolve(str(checkpoint), store, work)
    (checkpoint / ".DS_Store").write_bytes(b"x")
    (checkpoint / "README.md").write_text("x")
    models.resolve(str(checkpoint), store, work)
    assert len(work.titles) == 1


def test_two_folders_of_one_name_do_not_replace_each_other(checkpoint: Path, store: Store, work: Work) -> None:
    other = Path(shutil.copytree(checkpoint, checkpoint.parent / "elsewhere" / checkpoint.name))
    first, second = (models.resolve(str(path), store, work) for path in (checkpoint, other))
    assert first.name != second.name
    assert len(store.models()) == 2
    assert models.resolve(str(checkpoint), store, work) == first
    assert models.resolve(str(other), store, work) == second
    assert len(work.titles) == 2


def test_a_folder_here_needs_no_path(
    checkpoint: Path, store: Store, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    checkpoint.rename("small")
    assert models.resolve("small", store, work).name == "small:q4_K_M"


def test_a_given_name_and_tag(checkpoint: Path, store: Store, work: Work) -> None:
    made = making.convert_into(store, checkpoint, "q8_0", ModelName("mine", "best"), work).manifest
    assert (made.full_name, made.target, made.template) == ("mine:best", "q8_0", "v7-tekken")
    assert models.resolve("mine:BEST", store, work).path == store.path(made)


def test_an_interrupted_conversion_leaves_nothing(checkpoint: Path, store: Store) -> None:
    class Interrupted(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.resolve(str(checkpoint), store, Interrupted())
    assert not [p for p in store.root.rglob("*") if p.is_file()]


class Held(Work):
    """A conversion that stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        self.began.set()
        assert self.go.wait(30)


@contextmanager
def while_another_makes(
    path: Path, store: Store, target: str = "q4_K_M", name: str = "my-model:q4_K_M"
) -> Iterator[Work]:
    """In the block another thread is converting `path`; it is let go once somebody waits for it."""
    held, work = Held(), Work()
    arguments = (store, path, target, ModelName.parse(name), held)
    first = threading.Thread(target=making.convert_into, args=arguments)
    first.start()
    assert held.began.wait(30)

    def note(text: str) -> None:
        work.notes.append(text)
        held.go.set()

    work.note = note  # type: ignore[method-assign]
    try:
        yield work
    finally:
        held.go.set()
        first.join()


def test_who_waited_takes_the_result_of_the_other(checkpoint: Path, store: Store) -> None:
    with while_another_makes(checkpoint, store) as work:
        found = models.resolve(str(checkpoint), store, work)
    assert found.name == "my-model:q4_K_M"
    assert work.notes == ["another minichat is making my-model:q4_K_M: waiting for it (Ctrl-C leaves)"]
    assert work.titles == []
    with while_another_makes(checkpoint, store) as work:
        made = making.convert_into(store, checkpoint, "q4_K_M", ModelName("my-model"), work).manifest
    assert (made.full_name, len(work.notes), work.titles) == ("my-model:q4_K_M", 1, [])


def test_who_waited_for_something_else_goes_on_to_convert(checkpoint: Path, store: Store) -> None:
    with while_another_makes(checkpoint, store, "q8_0", "mine:best") as work:
        made = making.convert_into(store, checkpoint, "q4_K_M", ModelName("mine", "best"), work).manifest
    assert (made.target, len(work.titles)) == ("q4_K_M", 1)
    assert work.notes[1:] == [f"mine:best is replaced: it was q8_0, made from {checkpoint}"]
    assert store.models() == [made]


def test_who_waited_for_another_folder_of_the_same_name_takes_another_name(checkpoint: Path, store: Store) -> None:
    other = Path(shutil.copytree(checkpoint, checkpoint.parent / "elsewhere" / checkpoint.name))
    with while_another_makes(checkpoint, store) as work:
        found = models.resolve(str(other), store, work)
    assert found.name.startswith("my-model-")
    assert len(store.models()) == 2


def test_asking_again_converts_again(checkpoint: Path, store: Store, work: Work) -> None:
    for _ in range(2):
        making.convert_into(store, checkpoint, "q4_K_M", ModelName("my-model"), work)
    assert len(work.titles) == 2


def test_who_waits_can_leave(tmp_path: Path, home: Path) -> None:
    store = Store.default()
    with store.incoming(ModelName("demo", "q4_K_M")):
        waiting = start("run", "demo", "hello")
        assert waiting.stderr
        line = waiting.stderr.readline()
        assert line == b"another minichat is making demo:q4_K_M: waiting for it (Ctrl-C leaves)\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=30) == (b"", b"")
        assert waiting.returncode == 130
        assert (store.root / "incoming" / "demo@q4_k_m").is_dir()


def test_the_demos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store) -> None:
    """One that this minichat does not have is a name like any other."""
    vision = tmp_path / "vision"
    monkeypatch.setitem(demos._FOLDERS, "demo-vision", vision)
    assert demos.demos() == ["demo"] and not models.names_model("demo-vision", store)
    with pytest.raises(DataError, match="no model 'demo-vision'"):
        models.resolve("demo-vision", store, Work())
    shutil.copytree(VISION, vision)
    assert demos.demos() == ["demo", "demo-vision"] and models.names_model("demo-vision", store)
    made = models.resolve("demo-vision", store, Work())
    assert (made.name, made.projector is not None) == ("demo-vision:q8_0", True)
    assert models.resolve("Demo-Vision", store, Work()) == made == models.resolve("demo-vision:q8_0", store, Work())
    with pytest.raises(UsageError, match="demo-vision is the name of the model that comes with minichat"):
        making.check_free(ModelName("demo-vision"))
    assert name_like("demo-vision", "hub") == "demo-vision-hub"
