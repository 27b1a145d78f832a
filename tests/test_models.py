"""What MODEL stands for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkpoints import SHARDED

from minichat import models
from minichat.store import ModelName, Store
from quant.errors import CheckpointError, DataError, GgufError, UsageError


class Work:
    """Counts conversions instead of showing them."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.updates: list[tuple[int, int]] = []

    @contextmanager
    def __call__(self, title: str) -> Iterator[Work]:
        self.titles.append(title)
        yield self

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        self.updates.append((done_bytes, total_bytes))


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
    made = models.convert_into(store, checkpoint, "q8_0", ModelName("mine", "best"), work)
    assert (made.full_name, made.target, made.template) == ("mine:best", "q8_0", "v7-tekken")
    assert models.resolve("mine:BEST", store, work).path == store.path(made)


def test_an_interrupted_conversion_leaves_nothing(checkpoint: Path, store: Store) -> None:
    class Interrupted(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.resolve(str(checkpoint), store, Interrupted())
    assert not [p for p in store.root.rglob("*") if p.is_file()]
