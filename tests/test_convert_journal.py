from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from convert.journal import Journal, Mark

MARKS = [
    Mark((0, 1000), (500,), ("1" * 64,), b"s" * 72),
    Mark((0, 2000), (900,), ("2" * 64,), b"t" * 48, sums={"token_embd.weight": (0.1, 1 / 3)}),
    Mark((1, 0), (1200,), ("3" * 64,), digest="d" * 64),
    Mark((1, 70), (1200,), ("3" * 64,), b"u" * 38),
    Mark(
        (1, 3000),
        (5000,),
        ("4" * 64,),
        b"v" * 88,
        sums={"token_embd.weight": (1e-300, 2.5), "output.weight": (0.0, 0.0)},
    ),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(Journal(tmp_path / "journal", "work")) as journal:
        for mark in MARKS:
            journal.append(mark)
        journal.append_made(["a" * 64])
    return tmp_path / "journal"


def read(path: Path, work: str = "work") -> tuple[list[Mark], tuple[str, ...] | None]:
    with closing(Journal(path, work)) as journal:
        return journal.marks, journal.made


def variants(path: Path, contents: Iterator[bytes]) -> Iterator[tuple[list[Mark], tuple[str, ...] | None]]:
    for content in contents:
        path.write_bytes(content)
        yield read(path)


def test_what_was_written_is_read(path: Path) -> None:
    assert read(path) == (MARKS, ("a" * 64,))
    assert read(path) == (MARKS, ("a" * 64,))


def test_one_of_other_work_tells_nothing(path: Path) -> None:
    assert read(path, "another") == ([], None)
    assert read(path) == ([], None)


def test_cut_at_any_byte_it_tells_what_is_whole(path: Path) -> None:
    content = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == 10][1:]  # of the marks, and of the last line
    for length, found in enumerate(variants(path, (content[:n] for n in range(len(content) + 1)))):
        whole = sum(end <= length for end in ends)
        assert found == (MARKS[:whole], ("a" * 64,) if whole > len(MARKS) else None)


def test_with_any_bit_flipped_it_tells_what_is_before(path: Path) -> None:
    content, chance = path.read_bytes(), random.Random(0)
    begins = [0] + [n + 1 for n, byte in enumerate(content) if byte == 10]
    flipped = (
        content[:n] + bytes([content[n] ^ 1 << chance.randrange(8)]) + content[n + 1 :] for n in range(len(content))
    )
    for place, found in enumerate(variants(path, flipped)):
        whole = sum(begin <= place for begin in begins) - 2  # without the line that is hit, and without the first
        assert found == (MARKS[: max(0, whole)], None)


def test_what_is_not_believed_is_overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"rubbish\n" * 1000)
    with closing(Journal(path, "work")) as journal:
        n = len(journal.marks)
        assert 0 < n < len(MARKS)
        for mark in MARKS[n:]:
            journal.append(mark)
        journal.append_made(["a" * 64])
    assert path.read_bytes() == content


@pytest.mark.parametrize("kept", range(len(MARKS) + 1))
def test_a_cut_forgets_what_is_behind(path: Path, kept: int) -> None:
    content = path.read_bytes()
    at = MARKS[kept - 1].at if kept else (0, 0)
    with closing(Journal(path, "work")) as journal:
        journal.cut(at)
        assert (journal.marks, journal.made) == (MARKS[:kept], None)
    assert read(path) == (MARKS[:kept], None)
    with closing(Journal(path, "work")) as journal:
        for mark in MARKS[kept:]:
            journal.append(mark)
        journal.append_made(["a" * 64])
        journal.cut(at)
    assert read(path) == (MARKS[:kept], None)
    assert content.startswith(path.read_bytes())


def test_lines_that_tell_of_other_than_marks(tmp_path: Path) -> None:
    """A line with a right check is not believed to be a mark for that."""
    entries: list[object] = [
        {}, {"at": 3}, {"at": [0, 1]}, {"at": [0, 1], "written": None}, {"sums": []}, [], None, 3,
        {"at": [0, 2000], "written": 900, "sha256": "2"}, {"at": [0, 2000], "written": [900, 1], "sha256": ["2", "3"]},
    ]  # fmt: skip
    for entry in entries:
        path = tmp_path / "journal"
        path.unlink(missing_ok=True)
        with closing(Journal(path, "work")) as journal:
            journal.append(MARKS[0])
            journal._write(entry)  # type: ignore[arg-type]
        assert read(path) == (MARKS[:1], None)


@pytest.mark.parametrize("content", [b"\0" * 5000, b"x" * (3 << 20), b"\n" * 1000, b"\xff\xfe", b" ", b"{}\n"])
def test_files_that_are_no_journals(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert read(path) == ([], None)
    assert path.stat().st_size < 200


def test_a_disk_that_takes_half_a_line_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with closing(Journal(path, "other")) as journal, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        with pytest.raises(OSError, match="No space left"):
            journal.append(MARKS[0])
    assert read(path, "other") == ([], None)
