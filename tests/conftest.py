"""What tests share: a home of their own, and a small model that is converted once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import SHARDED


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty home; the user's own is never touched."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MINICHAT_HOME", str(folder / "minichat"))
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The checkpoint that transformers' logits are known of, as an f32 GGUF (tekken, v7)."""
    from convert.pipeline import convert

    path = tmp_path_factory.mktemp("models") / "small.gguf"
    convert(SHARDED, path, "f32")
    yield path
