"""A conversation on disk while it goes on: every turn is appended as it ends, flushed and synced.

What a save has returned for is on the disk; of the answer under way, what was heard up to half a second ago. The file
is locked for as long as the session is open, so that two chats never write into one. A disk that cannot be written
ends no chat: that is told once, and what is missing is written with the next turn that can be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from convert.publish import sync_folder
from minichat.folders import make_folder
from minichat.session_file import Settings, State, header_line, partial_line, record_lines, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from minichat.conversation import Conversation

SUFFIX = ".jsonl"
HEARD_EVERY_S = 0.5
_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))
_APPEND = os.O_RDWR | os.O_APPEND | _FLAGS
_UNKNOWN = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # what a lock fails with where there are none
_NOT_SYNCED = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}  # where a file system has no such thing
_LOCKED_BYTE = 1 << 40  # far behind the end: Windows lets nobody read a byte that is locked


class Session:
    """One session. `path` has its name; the file is made by the first save that has anything to write.

    warn: is told, once, why the conversation cannot be kept.
    """

    def __init__(self, path: Path, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._warn = warn
        self._clock = clock
        self._handle: int | None = None
        self._state = State()  # what is in the file
        self._is_whole = True  # whether a record can build on what is in the file
        self._begin = b""  # what the next write has to begin with
        self._heard: list[str] = []
        self._has_partial = False
        self._heard_at = -HEARD_EVERY_S
        self._problem: str | None = None
        self._has_warned = False

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def vocabulary(self) -> int | None:
        """How many tokens the model knew that the conversation was saved with; None if that is not known."""
        return self._state.settings.vocabulary

    def begin_file(self, handle: int) -> None:
        """Takes a locked, empty file for its own."""
        self._handle, self._is_whole, self._begin = handle, False, header_line(datetime.now(timezone.utc))

    @property
    def is_on_disk(self) -> bool:
        return self._handle is not None

    def go_on(self, handle: int | None, state: State, *, is_whole: bool = True, begin: bytes = b"") -> None:
        """Makes this the writer of what is there already: a locked file, or (None) a conversation that has none yet.

        is_whole: whether the file tells all of `state`, so that a record can build on it; begin: what comes before it.
        """
        self._handle, self._begin, self._is_whole = handle, begin, is_whole
        self._state = state if handle is not None else State(title=state.title)
        self._has_partial = bool(state.partial)

    def save(self, conversation: Conversation, model: str, vocabulary: int | None = None) -> None:
        """Appends what has changed since the last save, synced. Never raises for what the disk does.

        model: its name; vocabulary: how many tokens it knows, once that is known.
        """
        heard, self._heard, self._heard_at = bool(self._heard), [], -HEARD_EVERY_S
        messages = tuple(conversation.messages)
        if self._handle is None and not messages:
            return
        settings = Settings(model, vocabulary, conversation.template, conversation.system)
        if vocabulary is None and model == self._state.settings.model:
            settings = replace(settings, vocabulary=self._state.settings.vocabulary)
        title = title_of(self._state.title, messages)
        now = State(settings, messages, title)
        old = self._state.messages
        same = len(messages) == len(old) and all(a is b for a, b in zip(messages, old, strict=True))
        is_gone = self._handle is not None and not _leads_to(self.path, self._handle)
        if same and settings == self._state.settings and not (heard or self._has_partial or is_gone):
            return
        if is_gone:
            self._let_go()
        try:
            handle = self._make_file() if self._handle is None else self._handle
            lines = record_lines(self._state, now, whole=not self._is_whole)
            was_whole, self._is_whole = self._is_whole, False  # a Ctrl-C in here leaves open what was written
            try:
                self._append(handle, lines, sync=True)
            except OSError:
                self._is_whole = was_whole
                raise
        except OSError as error:
            self._problem = error.strerror or str(error)
        else:
            self._state, self._is_whole, self._has_partial, self._problem = now, True, False, None
        self._tell()

    def hear(self, text: str) -> None:
        """A piece of the answer to what was saved last. Written at most every half second, and not synced."""
        if not text:
            return
        self._heard.append(text)
        if self._clock() - self._heard_at >= HEARD_EVERY_S:
            self._write_heard()

    def close(self) -> None:
        """Writes what was heard last, and lets others have the file."""
        self._write_heard()
        self._let_go()

    def move_to(self, path: Path) -> None:
        """Gives the session another name; `path` must not exist. OSError passes."""
        if self._handle is not None:
            rename_new(self.path, path)
        self.path = path

    def _write_heard(self) -> None:
        text, self._heard = "".join(self._heard), []
        self._heard_at = self._clock()
        if text and self._handle is not None and self._is_whole:
            try:
                self._append(self._handle, partial_line(text), sync=False)
            except OSError as error:  # told when the turn is over: now the answer is on the screen
                self._problem = error.strerror or str(error)
            else:
                self._has_partial = True

    def _make_file(self) -> int:
        """A new file, locked; under another name if this one was taken meanwhile."""
        make_folder(self.path.parent.parent)
        with contextlib.suppress(FileExistsError):
            self.path.parent.mkdir(0o700)
        for path in names_like(self.path):
            try:
                handle = os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            if not lock(handle):  # somebody was quicker, and has it open
                os.close(handle)
                continue
            self.path = path
            self.begin_file(handle)
            sync_folder(path.parent)
            return handle
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))

    def _append(self, handle: int, lines: bytes, *, sync: bool) -> None:
        """One write at the end of the file. What is torn is taken back; OSError passes."""
        size = os.fstat(handle).st_size
        rest = memoryview(self._begin + lines)
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
            if sync:
                sync_file(handle)
        except OSError:
            try:
                os.ftruncate(handle, size)
            except OSError:  # the torn line stays there; what comes gets a file of its own
                self._let_go()
            raise
        self._begin = b""

    def _tell(self) -> None:
        if self._problem is not None and not self._has_warned:
            self._has_warned = True
            self._warn(f"this conversation is not being kept: {self.path} cannot be written: {self._problem}")

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        self._state, self._is_whole, self._begin = State(title=self._state.title), True, b""
        if handle is not None:
            with contextlib.suppress(OSError):
                if os.fstat(handle).st_size == 0 and _leads_to(self.path, handle):  # nothing could be written
                    self.path.unlink()
            with contextlib.suppress(OSError):
                os.close(handle)


def open_file(path: Path) -> int:
    """A file for reading and appending; OSError passes, also for what is no plain file."""
    return os.open(path, _APPEND)


def lock(handle: int) -> bool:
    """Whether the file is ours now, for as long as it is open. Where there are no locks, everybody has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _UNKNOWN
    return True


def sync_file(handle: int) -> None:
    """Waits until the file is on the disk. OSError passes, but where a file system has no such thing."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise


def names_like(path: Path) -> Iterator[Path]:
    """The path and those with numbers behind the name, to find one that is free.

    >>> from itertools import islice
    >>> from pathlib import PurePosixPath
    >>> [p.name for p in islice(names_like(PurePosixPath("work.jsonl")), 3)]
    ['work.jsonl', 'work-2.jsonl', 'work-3.jsonl']
    """
    stem = path.name.removesuffix(SUFFIX)
    yield path
    for number in range(2, 1000):
        yield path.with_name(f"{stem}-{number}{SUFFIX}")


def rename_new(old: Path, new: Path) -> None:
    """Renames a file, and never over another. OSError passes."""
    try:
        os.link(old, new)
    except FileExistsError:
        if not os.path.samestat(old.lstat(), new.lstat()):
            raise
        old.rename(new)  # the same file in other letters
    except OSError:  # a file system without hard links
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        old.rename(new)
    else:
        old.unlink()
    sync_folder(new.parent)


def _leads_to(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except OSError:
        return False
