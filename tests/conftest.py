"""What tests share: a home of their own, and a small model that is converted once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import SEEING, SHARDED

NO_HUB = "http://127.0.0.1:9"  # nobody answers there
# Files that take long, the longest first: begun late, one of them would keep a single core busy at the end.
LONG = (
    "test_pull_kills", "test_convert_resume", "test_convert_mutations", "test_crash", "test_pull",
    "test_hub_faults", "test_cli", "test_tty_sessions", "test_tty_stopping", "test_tty_reading", "test_convert_quality",
    "test_cli_convert", "test_golden", "test_convert_family", "test_hostile_output", "test_hub_weights",
)  # fmt: skip
# Where the hub's tools and other programs are told to look, and by which way.
ELSEWHERE = (
    "HF_TOKEN", "HF_HUB", "HF_HOME", "HUGGING", "TRANSFORMERS", "XDG_", "OLLAMA_",
    "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
)  # fmt: skip

# The tests run on all cores at once. There, threads of llama.cpp that wait for each other's turn at every layer make it
# ten times as slow; one alone does not wait. It computes the same numbers. Read when OpenMP is loaded: before any test.
os.environ["OMP_THREAD_LIMIT"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty home; the user's own is never touched."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MINICHAT_HOME", str(folder / "minichat"))
    for name in list(os.environ):
        if name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR") or name.startswith(ELSEWHERE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", NO_HUB)
    monkeypatch.setenv("HF_HOME", str(folder / "huggingface"))
    return folder


@pytest.fixture
def tokens_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` starts no engine: for tests that ask hundreds of times whether files are whole."""
    from minichat import verification
    from minichat.golden import TokenCheck

    monkeypatch.setattr(verification, "check_tokens", lambda *_: TokenCheck("not checked", "not in this test"))


@pytest.fixture(scope="session")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small checkpoint as an f32 GGUF (tekken, v7), endless."""
    from convert.pipeline import convert

    folder = tmp_path_factory.mktemp("models")
    convert(_endless(SHARDED, folder / "small", "lm_head.weight"), folder / "small.gguf", "f32")
    yield folder / "small.gguf"


@pytest.fixture(scope="session")
def known_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same checkpoint as it is: transformers' logits of it are known."""
    from convert.pipeline import convert

    path = tmp_path_factory.mktemp("models") / "known.gguf"
    convert(SHARDED, path, "f32")
    return path


@pytest.fixture(scope="session")
def seeing_gguf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small checkpoint that sees, as an f32 GGUF, endless; what it sees with is beside it."""
    from convert.pipeline import convert

    folder = tmp_path_factory.mktemp("seeing")
    checkpoint = _endless(SEEING, folder / "seeing", "language_model.lm_head.weight")
    projector = folder / "mmproj-seeing.gguf"
    convert(checkpoint, folder / "seeing.gguf", "f32", projector=projector, projector_type="f32")
    yield folder / "seeing.gguf"


def _endless(checkpoint: Path, copy: Path, head: str) -> Path:
    """A copy of a checkpoint that says text without end, and nothing else.

    Random weights would end an answer, think or call a tool at a random place. The rows of control tokens in the last
    matrix are made zero: then their logits are 0, in the middle of all, and top-k never lets them through; all other
    logits are what they were.
    """
    from convert.checkpoint import open_checkpoint

    shutil.copytree(checkpoint, copy)
    n_control = json.loads((copy / "tekken.json").read_text())["config"]["default_num_special_tokens"]
    last = open_checkpoint(copy).tensors[head]
    row_bytes = last.nbytes // last.shape[0]
    with last.path.open("rb+") as file:
        file.seek(last.offset)
        file.write(bytes(n_control * row_bytes))
    return copy


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "checkpoint"))
