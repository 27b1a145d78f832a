"""What a process holds, and what it can have besides: its own weights are not free, though the system says so."""

from __future__ import annotations

import doctest
import mmap
import sys
from pathlib import Path

import pytest

from minichat.engine import resident

MB = 1_000_000


def test_examples() -> None:
    assert doctest.testmod(resident).failed == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not count mapped files as free")
def test_a_mapped_file_that_has_been_read_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "available_bytes", lambda: 1000 * MB)
    before = resident.spare_bytes()
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * MB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        during = resident.spare_bytes()
    assert before is not None and during is not None
    assert before - during == pytest.approx(64 * MB, rel=0.1)


def test_of_a_budget_what_the_process_holds_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICHAT_MEMORY", "1T")
    spare = resident.spare_bytes()
    assert spare is not None
    assert spare == pytest.approx(10**12 - resident.memory()[0], abs=10 * MB)
    monkeypatch.setenv("MINICHAT_MEMORY", "1M")
    assert resident.spare_bytes() == (0 if resident.memory()[0] else MB)


def test_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "available_bytes", lambda: None)
    assert resident.spare_bytes() is None
