"""What tests share: a home of their own, and a small model that is converted once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import SHARDED

END_TOKEN = 2
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
    """The checkpoint that transformers' logits are known of, as an f32 GGUF (tekken, v7).

    Its random weights would end an answer at a random place. The row of `</s>` in the last matrix is made zero: then
    its logit is 0, in the middle of all, and top-k never lets it through; all other logits are what they were.
    """
    from convert.checkpoint import open_checkpoint
    from convert.pipeline import convert

    folder = tmp_path_factory.mktemp("models")
    checkpoint = Path(shutil.copytree(SHARDED, folder / "small"))
    head = open_checkpoint(checkpoint).tensors["lm_head.weight"]
    row_bytes = head.nbytes // head.shape[0]
    with head.path.open("rb+") as file:
        file.seek(head.offset + END_TOKEN * row_bytes)
        file.write(bytes(row_bytes))
    convert(checkpoint, folder / "small.gguf", "f32")
    yield folder / "small.gguf"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "checkpoint"))
