import os
from collections import namedtuple
from pathlib import Path

import pytest

from convert.publish import check_destination, published
from quant.errors import StorageError


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
        assert len(listing(out)) == (2 if old else 1)
        assert [name for name in listing(out) if name.startswith(".a.gguf.") and name.endswith(".part")]
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
        check_destination(out / "absent" / "a.gguf", 1)
    with pytest.raises(StorageError, match="is no file"):
        check_destination(out, 1)
    with pytest.raises(StorageError, match="is no file"):
        check_destination(Path(os.devnull), 1)
    with pytest.raises(StorageError, match=r"has [\d,.]+ MB free, and 1,000,000,016\.8 MB are needed"):
        check_destination(out / "a.gguf", 10**15)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 2_000_000_000))
    check_destination(out / "a.gguf", 1_900_000_000)
    with pytest.raises(StorageError, match=r"has 2,000\.0 MB free, and 2,006\.8 MB are needed"):
        check_destination(out / "a.gguf", 1_990_000_000)


def test_a_long_name_finds_room_for_its_part(out: Path) -> None:
    destination = out / ("a" * 250 + ".gguf")
    with published(destination) as file:
        file.write(b"new")
    assert destination.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(out: Path) -> None:
    abandoned = out / ".out[1].gguf.0123abcd.part"
    other = out / ".other.gguf.0123abcd.part"
    for path in (abandoned, other):
        path.write_bytes(b"half")
    with published(out / "out[1].gguf") as first:
        assert not abandoned.exists()
        with published(out / "out[1].gguf") as second:
            assert len(list(out.glob(".out*.part"))) == 2
            second.write(b"second")
        first.write(b"first")
    assert (out / "out[1].gguf").read_bytes() == b"first"
    assert sorted(p.name for p in out.iterdir()) == [other.name, "out[1].gguf"]
