"""The conversations that are kept: FOLDER/NAME.jsonl, each a session, to list, open, search and name.

The folder is the user's alone (0700), and so is each file (0600). Other files in it, and links, are left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.folders import read_plain
from minichat.session import SUFFIX, Session, lock, names_like, open_file
from minichat.session_file import MAX_BYTES, Reading, read_state
from quant.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:  # what a new chat does not need is imported where it is needed: the prompt is there sooner
    from minichat.pictures.keeping import KeptPictures
    from minichat.saved import Saved
    from minichat.session_search import Found
    from minichat.session_summary import Summary
    from minichat.warm import Warm

_NAME = re.compile(r"\w[\w.-]{0,63}")
_MAX_NAME_BYTES = 200  # of 255
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # which Windows takes no file's name for
_COPY = re.compile(r"-\d{1,3}$")


class Sessions:
    """The sessions in one folder, which need not exist yet.

    warn: is told, in one line, why a conversation cannot be kept. warm_gb: as `Warm.among` takes it.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self._warn = warn or _print_error
        self.warm_gb: int | None = None

    @classmethod
    def default(cls, warn: Callable[[str], None] | None = None) -> Sessions:
        """The user's own, in minichat's folder."""
        from minichat.home import home

        return cls(home() / "sessions", warn)

    @property
    def warm(self) -> Warm:
        """What the engine had read of them."""
        from minichat.warm import Warm

        return Warm.among(self.folder, self.warm_gb)

    @property
    def pictures(self) -> KeptPictures:
        """Those that are in them."""
        from minichat.pictures.keeping import KeptPictures

        return KeptPictures.among(self.folder)

    def pictures_named(self) -> set[str]:
        """The hashes of the pictures that are in any of them. OSError for a session that cannot be read."""
        from minichat.pictures.keeping import named_in

        return {digest for path, _ in self._files() for digest in named_in(read_plain(path, MAX_BYTES))}

    def new(self, name: str | None = None) -> Session:
        """A session that has no file before its first save. Without a name it is named after the time.

        Raises UsageError for a name that cannot be one, or is taken.
        """
        if name is not None:
            return Session(self._free_path(check_name(name)), self._warn)
        stamp = datetime.now().astimezone().strftime("%Y-%m-%d-%H%M")
        return Session(self._first_free(stamp), self._warn)

    def open(self, name: str) -> tuple[Session, Saved]:
        """A session to go on with, locked until it is closed; a copy under another name if that cannot be had.

        Raises UsageError for a name that no session has, DataError for a file that is none.
        """
        from minichat.saved import saved

        path = self._path_of(name)
        try:
            handle = open_file(path)
        except PermissionError:
            return self._copy(path)
        except OSError as error:
            if error.errno == errno.EROFS:
                return self._copy(path)
            raise _unreadable(path, error) from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DataError(f"{path} is no plain file, and no session")
            if not lock(handle):
                os.close(handle)
                return self._copy(path)
            reading = self._read(path, handle)
            if reading.whole_bytes < os.fstat(handle).st_size:  # a torn line: nobody else writes here
                os.ftruncate(handle, reading.whole_bytes)
        except OSError as error:
            os.close(handle)
            raise _unreadable(path, error) from error
        except BaseException:
            os.close(handle)
            raise
        with contextlib.suppress(OSError):
            os.utime(path)  # the last one that was open is the one to continue
        session = Session(path, self._warn)
        if reading.whole_bytes:
            begin = b"" if reading.is_ended else b"\n"
            session.go_on(handle, reading.state, is_whole=reading.damaged_line is None, begin=begin)
        else:
            session.begin_file(handle)
        return session, saved(session.name, reading)

    def open_or_new(self, name: str) -> tuple[Session, Saved | None]:
        """The session of a name, made if there is none. Raises as `open` does, UsageError for no name."""
        if self.find(name) is not None:
            return self.open(name)
        return Session(self.folder / f"{check_name(name)}{SUFFIX}", self._warn), None

    def read(self, name: str) -> Saved:
        """A session to look at only. Raises as `open` does."""
        from minichat.saved import saved

        path = self._path_of(name)
        return saved(path.name.removesuffix(SUFFIX), self._read(path))

    def find(self, name: str) -> str | None:
        """The name of the session that is meant, without regard to case where that is clear; None for none.

        Raises UsageError for what cannot be a name.
        """
        name = check_name(name)
        names = self.names()
        if name in names:
            return name
        near = [other for other in names if other.casefold() == name.casefold()]
        return near[0] if len(near) == 1 else None

    def names(self) -> Sequence[str]:
        """Of all sessions, the one that was used last first. Quick: no file is opened."""
        return [path.name.removesuffix(SUFFIX) for path, _ in self._files()]

    def newest(self) -> str | None:
        """The name of the session that was opened or written last, and is not empty; None if there is none."""
        from minichat.session_summary import summary_of

        for path, used in self._files():
            summary = summary_of(path, used)
            if summary.problem is None and summary.turns:
                return summary.name
        return None

    def list(self) -> Sequence[Summary]:
        """All sessions, the one that was used last first. Never raises for what a file says."""
        from minichat.session_summary import summary_of

        return [summary_of(path, used) for path, used in self._files()]

    def search(self, text: str) -> Iterator[Found]:
        """Where a text stands in the conversations as they are now, without regard to case; newest session first."""
        from minichat.saved import saved
        from minichat.session_search import file_pattern, find_text, text_pattern

        pattern, raw = text_pattern(text), file_pattern(text)
        for path, _ in self._files():
            with contextlib.suppress(OSError, DataError):
                data = read_plain(path, MAX_BYTES + 1)
                is_finished = data[data.rfind(b"\n", 0, -1) + 1 :].startswith(b'{"summary"')
                if is_finished and not raw.search(data.decode(errors="replace")):
                    continue
                found = saved(path.name.removesuffix(SUFFIX), read_state(data, str(path)))
                yield from find_text(found.name, found.messages, pattern)

    def rename(self, session: Session, name: str) -> None:
        """Gives an open session another name. UsageError if it cannot be one or is taken; StorageError if not done."""
        name = check_name(name)
        if name == session.name:
            return
        path = self._free_path(name, besides=session.name if session.is_on_disk else None)
        try:
            old = session.name
            session.move_to(path)
            self.warm.rename(old, name)
        except FileExistsError:
            raise _taken(name) from None
        except OSError as error:
            raise StorageError(f"{session.path} cannot be renamed: {error.strerror or error}") from error

    def remove(self, name: str) -> str:
        """Removes a session, with the pictures that no other has; its name.

        UsageError for one that is not there or is in use, StorageError if not done.
        """
        path = self._path_of(name)
        try:
            handle = open_file(path)
        except OSError:
            handle = None  # what cannot be opened is nobody's
        try:
            if handle is not None and not lock(handle):
                raise UsageError(f"the session {name} is in use by another minichat: leave that chat first")
            pictures, written_s = self._pictures_in(path), path.stat().st_mtime
            path.unlink()
            self.warm.forget(path.name.removesuffix(SUFFIX))
            with contextlib.suppress(OSError):  # of another session: that may name them
                self.pictures.remove(self._unneeded(pictures, written_s))
        except OSError as error:
            raise StorageError(f"{path} cannot be removed: {error.strerror or error}") from error
        finally:
            if handle is not None:
                os.close(handle)
        return path.name.removesuffix(SUFFIX)

    def _unneeded(self, pictures: set[str], written_s: float) -> set[str]:
        """Of the pictures of a session that is gone, those that no other has, nor one that is about to be written.

        written_s: when the session itself was, since 1970: a picture that was kept later is another one's, too.
        """
        if not pictures:
            return set()
        later = {
            picture.digest for picture in self.pictures.all() if picture.is_young and picture.changed_s > written_s
        }
        return pictures - later - self.pictures_named()

    def _pictures_in(self, path: Path) -> set[str]:
        from minichat.pictures.keeping import named_in

        try:
            return named_in(read_plain(path, MAX_BYTES))
        except OSError:
            return set()

    def _files(self) -> Sequence[tuple[Path, float]]:
        """The files that have a session's name, with when they were used, newest first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if not entry.name.endswith(SUFFIX) or not _is_name(entry.name.removesuffix(SUFFIX)):
                    continue
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append((status.st_mtime_ns, entry.name))
        return [(self.folder / name, used / 1e9) for used, name in sorted(found, reverse=True)]

    def _path_of(self, name: str) -> Path:
        found = self.find(name)
        if found is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self.names(), 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "`minichat sessions` lists them"
            raise UsageError(f"no session {name}: {hint}")
        return self.folder / f"{found}{SUFFIX}"

    def _free_path(self, name: str, besides: str | None = None) -> Path:
        for other in self.names():
            if other.casefold() == name.casefold() and other != besides:
                raise _taken(other)
        return self.folder / f"{name}{SUFFIX}"

    def _first_free(self, stem: str) -> Path:
        """A path of that name, or with a number behind it, where nothing is; the first save looks again."""
        first = self.folder / f"{stem}{SUFFIX}"
        return next((path for path in names_like(first) if not os.path.lexists(path)), first)

    def _copy(self, path: Path) -> tuple[Session, Saved]:
        from minichat.saved import saved

        name = path.name.removesuffix(SUFFIX)
        reading = self._read(path)
        base = _COPY.sub("", name)
        session = Session(self._first_free(base if base in self.names() else name), self._warn)
        session.go_on(None, reading.state)
        return session, saved(session.name, reading, forked_from=name)

    def _read(self, path: Path, handle: int | None = None) -> Reading:
        try:
            if handle is None:
                data = read_plain(path, MAX_BYTES + 1)
            else:
                with os.fdopen(handle, "rb", closefd=False) as file:
                    data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        return read_state(data, str(path))


def check_name(name: str) -> str:
    """The name of a session, in one spelling. UsageError for what cannot be one.

    >>> check_name("trip-to.Rome")
    'trip-to.Rome'
    """
    name = unicodedata.normalize("NFC", name)
    if not _is_name(name):
        raise UsageError(f"{name[:80]!r} cannot be a session's name: take 1 to 64 letters, digits, _, - and .")
    return name


def _is_name(name: str) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and not name.endswith(".")
        and _DEVICES.fullmatch(name) is None
        and len(os.fsencode(name)) <= _MAX_NAME_BYTES
    )


def _taken(name: str) -> UsageError:
    return UsageError(f"there is a session {name} already: /load {name} opens it, another name keeps both")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _print_error(message: str) -> None:
    from minichat.terminal.output import print_error

    print_error(message)
