import errno
import os
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from checkpoints import SHARDED
from program import fails

from convert.publish import check_place, check_room, published, storage_errors
from quant.errors import DiskFullError, StorageError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with nothing else in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_appears_when_it_is_whole(out: Path, old: bytes | None) -> None:
    destination = out / "a.gguf"
    if old:
        destination.write_bytes(old)
    with published(destination) as file:
        file.write(b"new")
        assert listing(out) == [".a.gguf.part", *(["a.gguf"] if old else [])]
        assert not old or destination.read_bytes() == old
    assert listing(out) == ["a.gguf"]
    assert destination.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_nothing_is_left_after_an_error(out: Path, error: type[BaseException]) -> None:
    destination = out / "a.gguf"
    destination.write_bytes(b"old")
    with pytest.raises(StorageError if error is OSError else error), published(destination) as file:
        file.write(b"new")
        raise error
    assert listing(out) == ["a.gguf"]
    assert destination.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_system_leaves_the_old_file(out: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    destination = out / "a.gguf"
    destination.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", fail) if call == "fsync" else (Path, "replace", fail)))
    with pytest.raises(StorageError, match=r"a\.gguf cannot be written: No space left"), published(destination) as file:
        file.write(b"new")
    assert listing(out) == ["a.gguf"]
    assert destination.read_bytes() == b"old"


def test_places_that_cannot_hold_the_file(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        check_place(out / "absent" / "a.gguf")
    with pytest.raises(StorageError, match="is no file"):
        check_place(out)
    with pytest.raises(StorageError, match="is no file"):
        check_place(Path(os.devnull))
    with pytest.raises(StorageError, match=r"has [\d,.]+ MB free, and 1,000,000,016\.8 MB are needed"):
        check_room(out / "a.gguf", 10**15)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 2_000_000_000))
    check_room(out / "a.gguf", 1_900_000_000)
    with pytest.raises(StorageError, match=r"has 2,000\.0 MB free, and 2,006\.8 MB are needed"):
        check_room(out / "a.gguf", 1_990_000_000)


def test_a_long_name_finds_room_for_its_part(out: Path) -> None:
    destination = out / ("a" * 250 + ".gguf")
    with published(destination) as file:
        file.write(b"new")
    assert destination.exists()


def test_a_second_writer_is_refused_and_harms_nothing(out: Path) -> None:
    destination = out / "a.gguf"
    with published(destination) as first:
        first.write(b"fi")
        with (
            pytest.raises(StorageError, match=r"a\.gguf is being written by another minichat; wait for it, or choose"),
            published(destination),
        ):
            pytest.fail("two writers")
        with published(out / "b.gguf") as other:
            other.write(b"b")
        first.write(b"rst")
    assert destination.read_bytes() == b"first"
    assert listing(out) == ["a.gguf", "b.gguf"]
    with published(destination) as again:
        again.write(b"again")
    assert destination.read_bytes() == b"again"


def test_a_second_conversion_to_the_same_file_is_refused_in_one_line(out: Path) -> None:
    with published(out / "a.gguf") as first:
        fails(5, "is being written by another minichat", "convert", SHARDED, "-o", out / "a.gguf")
        first.write(b"first")
    assert (out / "a.gguf").read_bytes() == b"first"


def test_what_a_killed_process_left_is_removed(out: Path) -> None:
    (out / ".a.gguf.part").write_bytes(b"half of something longer")
    (out / ".other.gguf.part").write_bytes(b"half")
    with published(out / "a.gguf") as file:
        file.write(b"new")
    assert (out / "a.gguf").read_bytes() == b"new"
    assert listing(out) == [".other.gguf.part", "a.gguf"]


def test_a_part_that_leads_elsewhere_is_not_written_to(out: Path) -> None:
    """A name that can be foreseen can be prepared by others: neither a link nor a second name of a file is followed."""
    precious = out / "precious"
    precious.write_bytes(b"precious")
    (out / ".a.gguf.part").hardlink_to(precious)
    with published(out / "a.gguf") as file:
        file.write(b"new")
    (out / ".b.gguf.part").symlink_to(precious)
    with pytest.raises(StorageError, match=r"b\.gguf cannot be written"), published(out / "b.gguf"):
        pytest.fail("a link was followed")
    assert precious.read_bytes() == b"precious"


def test_a_header_can_be_written_last(out: Path) -> None:
    with published(out / "a.gguf", 7) as file:
        file.write(b"....body")
        file.seek(0)
        file.write(b"head")
    assert (out / "a.gguf").read_bytes() == b"headbody"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves without making the file longer")
def test_the_disk_is_taken_at_once_but_the_file_is_as_long_as_what_was_written(out: Path) -> None:
    with published(out / "a.gguf", 1 << 20) as file:
        found = os.fstat(file.fileno())
        file.write(b"new")
    assert found.st_size == 0
    assert found.st_blocks * 512 >= 1 << 20
    assert (out / "a.gguf").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves without making the file longer")
def test_a_disk_that_is_too_small_is_found_at_the_start(out: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: No space left"), published(out / "a.gguf", 1 << 43):
        pytest.fail("nothing was reserved")
    with pytest.raises(DiskFullError), published(out / "a.gguf", 1 << 62):  # more than a file there may have
        pytest.fail("nothing was reserved")
    assert listing(out) == []


def test_a_folder_that_cannot_be_synced_does_not_undo_what_is_done(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def fail(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(22, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with published(out / "a.gguf") as file:
        file.write(b"new")
    assert (out / "a.gguf").read_bytes() == b"new"


def test_many_processes_at_once_publish_whole_files_only(out: Path) -> None:
    """Each writes its own letter, many times over; refusals are part of the game, mixed or short files are not."""
    code = """
import sys
from pathlib import Path
from convert.publish import published
from quant.errors import StorageError
done = 0
while done < 50:
    try:
        with published(Path(sys.argv[1])) as file:
            file.write(sys.argv[2].encode() * 5000)
            file.flush()
            file.write(sys.argv[2].encode() * 5000)
        done += 1
    except StorageError as error:
        assert "is being written by another" in str(error), error
"""
    destination = out / "a"
    command = [sys.executable, "-c", code, str(destination)]
    writers = [subprocess.Popen([*command, letter], cwd=ROOT) for letter in "abc"]
    while any(writer.poll() is None for writer in writers):
        if destination.exists():
            content = destination.read_bytes()
            assert content in (b"a" * 10000, b"b" * 10000, b"c" * 10000)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert listing(out) == ["a"]


@pytest.mark.parametrize(
    ("number", "is_full"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EACCES, False), (errno.EIO, False)],
)
def test_a_disk_without_room_is_told_apart_from_one_that_refuses(out: Path, number: int, is_full: bool) -> None:
    with pytest.raises(StorageError, match=re.escape(os.strerror(number))) as caught, storage_errors(out / "a"):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value, DiskFullError) == is_full


def test_too_little_room_is_told_as_such_before_the_first_byte(out: Path) -> None:
    with pytest.raises(DiskFullError, match="free some space"):
        check_room(out / "a.gguf", 1 << 60)
