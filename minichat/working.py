"""Folders that a process works in, and the turns that processes take.

    PARENT/KEY/        what is being written
    PARENT/KEY.lock    there as long as somebody writes; the lock dies with its owner (`convert.lock`)

A fresh folder is empty at first and gone afterwards. A kept one stays, with what is in it, until its work is done.
Where the file system knows no locks, each claim gets a folder of its own, and nothing is kept. OSError passes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from convert.lock import Claim, LockedError, claimed
from minichat.folders import disk_bytes, listed, make_folder, newest_change_s, remove_tree
from quant.errors import DiskFullError

_POLL_S = 0.1
_LOCK = ".lock"


@dataclass(frozen=True)
class Partial:
    """Work that was begun and not ended. key: the folder's; changed_s: when something in it last changed, since 1970.

    in_use: whether somebody is at it now.
    """

    key: str
    path: Path
    size_bytes: int
    changed_s: float
    in_use: bool

    @property
    def name(self) -> str:
        """NAME:TAG of the model that it is to be."""
        return self.key.replace("@", ":")


@contextlib.contextmanager
def fresh_folder(
    parent: Path, key: str, on_wait: Callable[[], None] | None, sweep: Callable[[], None]
) -> Iterator[Path]:
    """An empty folder for the length of a block. Whoever holds `key` is waited for; `sweep` comes after, before it."""
    with _held(parent, key, on_wait, sweep) as claim:
        folder = claim.path.with_suffix("")
        try:
            remove_tree(folder)
            folder.mkdir()
            yield folder
        finally:
            remove_tree(folder)


@contextlib.contextmanager
def kept_folder(
    parent: Path, key: str, on_wait: Callable[[], None] | None, sweep: Callable[[], None]
) -> Iterator[Path]:
    """The folder of `key` with what an earlier block has left in it; gone after a block that has emptied it.

    DiskFullError in the block empties it: a disk that was too full for the work is not to keep half of it. What any
    other error leaves can be gone on with.
    """
    with _held(parent, key, on_wait, sweep) as claim:
        folder = claim.path.with_suffix("")
        if folder.is_symlink() or not folder.is_dir():
            remove_tree(folder)
            make_folder(folder)
        try:
            yield folder
        except DiskFullError:
            empty(folder)
            raise
        finally:
            if not claim.is_exclusive:
                empty(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()


def empty(folder: Path) -> None:
    """Removes what is in a folder; leaves what cannot be removed."""
    with contextlib.suppress(OSError):
        for path in listed(folder):
            remove_tree(path)


def partials(parent: Path) -> list[Partial]:
    """The folders in `parent`, by key."""
    folders = [path for path in listed(parent) if path.is_dir() and not path.is_symlink()]
    return [
        Partial(path.name, path, disk_bytes(path), newest_change_s(path), _is_held(parent / f"{path.name}{_LOCK}"))
        for path in folders
    ]


def remove_unheld(parent: Path) -> None:
    """Removes the working folders, and whatever else is in `parent`, that nobody holds."""
    for key in sorted({path.name.removesuffix(_LOCK) for path in listed(parent)}):
        with contextlib.suppress(LockedError), claimed(parent / f"{key}{_LOCK}") as claim:
            if claim.is_exclusive:
                remove_tree(parent / key)


@contextlib.contextmanager
def _held(parent: Path, key: str, on_wait: Callable[[], None] | None, sweep: Callable[[], None]) -> Iterator[Claim]:
    make_folder(parent)
    with in_turn(parent / f"{key}{_LOCK}", on_wait) as claim:
        sweep()
        yield claim


@contextlib.contextmanager
def in_turn(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[Claim]:
    """The claim on `path` once it is free; `on_wait` is called once, if that is not at once."""
    tries = 0
    with contextlib.ExitStack() as held:
        while True:
            try:
                claim = held.enter_context(claimed(path))
                break
            except LockedError:
                tries += 1
                if tries == 2 and on_wait is not None:  # at the first, it may be a sweep
                    on_wait()
                time.sleep(_POLL_S if tries > 1 else _POLL_S / 10)
        yield claim


def _is_held(lock: Path) -> bool:
    """Whether somebody is at work beside this lock. Nothing is written where there is none."""
    if not os.path.lexists(lock):
        return False
    try:
        with claimed(lock):
            return False
    except LockedError:
        return True
    except OSError:  # a disk that cannot be written: who would hold it?
        return False
