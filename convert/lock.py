"""One writer at a time: a file that is created and locked, and says so for as long as its owner lives.

The system drops the lock when the process ends, however it ends; process numbers, which are used again, play no part.
What a killed process has left is found unlocked, removed, and created anew: nobody ever writes into an old file.

Two rules leave no gap. Only who holds a file's lock may remove or rename it, and who has just got a lock looks whether
the name still leads to the locked file, for its owner may have removed or renamed it between the opening and the lock.

Some file systems know no locks. There every claim gets a name of its own, so that two writers still never mix, but
neither learns of the other, and what a killed one left stays.
"""

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

_TRIES = 100  # of a claim that others snatch away each time
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_UNKNOWN = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # what a lock fails with there


class LockedError(Exception):
    """Another process, or another claim of this one, holds the file."""


class Claim:
    """A new, empty, locked file at `path`, open for reading and writing as `handle`.

    is_exclusive: whether the file system knows locks; if not, `path` is a name of its own.
    """

    def __init__(self, path: Path, handle: int, is_exclusive: bool) -> None:
        self.path = path
        self.handle = handle
        self.is_exclusive = is_exclusive
        self._is_open = True

    def move_to(self, destination: Path) -> None:
        """Renames the file, over an older one if need be. OSError passes through."""
        if sys.platform == "win32":  # which renames no open file; nobody can get between with more than an error
            self.close()
        self.path.replace(destination)

    def release(self) -> None:
        """Removes the file, if it is still there under its name, and gives up the lock."""
        with contextlib.suppress(OSError):
            if self._is_open and _leads_to(self.path, self.handle):
                if sys.platform == "win32":
                    self.close()
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Gives up the lock, and leaves the file as it is."""
        if self._is_open:
            self._is_open = False
            os.close(self.handle)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Claim]:
    """The claim on `path` for the length of a block; it is removed at the end, unless it was moved away.

    LockedError if someone holds it; OSError if the file cannot be made.
    """
    claim = _claim(path)
    try:
        yield claim
    finally:
        claim.release()


def _claim(path: Path) -> Claim:
    try:
        for _ in range(_TRIES):
            if (claim := _try_to_claim(path)) is not None:
                return claim
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return _own_claim(path)
    raise LockedError(path)


def _try_to_claim(path: Path) -> Claim | None:
    """A new file, locked; None if one was in the way, and is gone now, or if ours was taken for an abandoned one."""
    try:
        claim = Claim(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666), True)
    except FileExistsError:
        _remove_abandoned(path)
        return None
    try:
        if _lock(claim.handle) and _leads_to(path, claim.handle):
            return claim
    except BaseException:
        claim.release()
        raise
    claim.close()
    return None


def _own_claim(path: Path) -> Claim:
    own = path.with_name(f"{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    return Claim(own, os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666), False)


def _remove_abandoned(path: Path) -> None:
    """Removes the file at `path`. LockedError if it is held; nothing if it is gone meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return
    claim = Claim(path, handle, True)
    try:
        if not _lock(handle):
            raise LockedError(path)
    except BaseException:
        claim.close()
        raise
    claim.release()


def _leads_to(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int) -> bool:
    """Whether the lock is ours now. OSError where there are no locks."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
