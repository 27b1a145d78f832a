"""What a process holds, and what it can have besides: its own weights are not free, though the system says so."""

from __future__ import annotations

import doctest
import mmap
import sys
from pathlib import Path

import pytest
from checkpoints import config, random_tensors, tekken, write_checkpoint

from convert.pipeline import convert
from minichat.engine import resident
from minichat.engine.llama import Llama
from minichat.engine.types import LoadOptions

MB = 1_000_000


def test_examples() -> None:
    assert doctest.testmod(resident).failed == 0


ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems do not count mapped files as free"
)


@ON_LINUX
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


@ON_LINUX
def test_pages_that_were_let_go_are_free_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "available_bytes", lambda: 1000 * MB)
    path, link = tmp_path / "weights of a model", tmp_path / "link"
    path.write_bytes(b"x" * (64 * MB))
    link.symlink_to(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert set(mapped[:: mmap.PAGESIZE]) == {ord("x")}
        read = resident.spare_bytes()
        resident.let_go(tmp_path / "another")
        kept = resident.spare_bytes()
        resident.let_go(link)
        free = resident.spare_bytes()
        assert set(mapped[:: mmap.PAGESIZE]) == {ord("x")}
        again = resident.spare_bytes()
    assert read is not None and kept is not None and free is not None and again is not None
    assert [kept - read, free - read, again - read] == pytest.approx([0, 64 * MB, 0], abs=MB)


@ON_LINUX
def test_of_what_was_rearranged_the_file_is_not_held_too(tmp_path: Path) -> None:
    """Where this CPU's kernels have weights in an order of their own."""
    shape = config(layers=4, hidden=1024, vocab=300)
    write_checkpoint(tmp_path / "checkpoint", shape, random_tensors(shape), tokenizer=tekken())
    path = tmp_path / "model.gguf"
    convert(tmp_path / "checkpoint", path, "q4_K_M")
    Llama(path, LoadOptions(vocab_only=True))  # the library is here, too
    before = resident.mapped_in(resident._status())
    llama = Llama(path, LoadOptions(ctx=256))
    if not llama.repacks:
        pytest.skip("this build rearranges nothing")
    llama.decode(list(range(20, 40)))
    assert resident.mapped_in(resident._status()) - before < 0.8 * path.stat().st_size


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
