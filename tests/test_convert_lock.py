import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convert import lock
from convert.lock import LockedError, claimed

ROOT = Path(__file__).parent.parent


def test_one_claim_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with claimed(path) as claim:
        assert (claim.path, claim.is_exclusive) == (path, True)
        with pytest.raises(LockedError), claimed(path):
            pytest.fail("claimed twice")
        assert path.exists()
    assert not path.exists()
    with claimed(path):
        pass


def test_what_was_moved_away_and_made_again_by_another_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    with claimed(path) as first:
        os.write(first.handle, b"first")
        first.move_to(tmp_path / "a")
        with claimed(path) as second:
            first.release()
            assert path.exists()
            os.write(second.handle, b"second")
            second.move_to(tmp_path / "b")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"first", b"second")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["a", "b"]


def test_a_process_that_is_killed_gives_up_its_claim(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = f"""
import os, sys, time
from pathlib import Path
from convert.lock import claimed
with claimed(Path({str(path)!r})) as claim:
    os.write(claim.handle, b"old")
    sys.stdout.write("held"); sys.stdout.flush()
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout
        assert owner.stdout.read(4) == b"held"
        with pytest.raises(LockedError), claimed(path):
            pytest.fail("claimed twice")
        owner.kill()
        owner.wait()
        assert path.exists()
        with claimed(path) as claim:
            assert os.fstat(claim.handle).st_size == 0
    assert not path.exists()


@pytest.mark.parametrize("when", ["just opened", "waiting"])
def test_a_lock_on_a_file_that_was_renamed_meanwhile_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Between our opening and our lock its owner publishes it; the file must neither be removed nor taken for ours."""
    path, published = tmp_path / "a.part", tmp_path / "a"
    if when == "waiting":
        path.write_bytes(b"theirs")
    real, calls = lock._lock, []

    def late(handle: int) -> bool:
        calls.append(handle)
        if len(calls) == 1:
            path.replace(published)
        return real(handle)

    monkeypatch.setattr(lock, "_lock", late)
    with claimed(path) as claim:
        assert claim.path == path
        assert not os.path.samestat(os.fstat(claim.handle), published.stat())
    assert published.read_bytes() == (b"theirs" if when == "waiting" else b"")


@pytest.mark.parametrize("left_over", [False, True])
def test_without_locks_every_claim_has_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_over: bool
) -> None:
    def unknown(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", unknown)
    path = tmp_path / "a.part"
    if left_over:
        path.write_bytes(b"")
    with claimed(path) as first, claimed(path) as second:
        assert not first.is_exclusive
        assert len({first.path, second.path, path}) == 3
        assert first.path.suffix == ".part"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == (["a.part"] if left_over else [])


def test_a_folder_in_the_way_and_a_folder_that_is_missing_are_the_systems_errors(tmp_path: Path) -> None:
    (tmp_path / "a.lock").mkdir()
    for path in (tmp_path / "a.lock", tmp_path / "absent" / "a.lock"):
        with pytest.raises(OSError), claimed(path):
            pytest.fail("claimed")
