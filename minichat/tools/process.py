"""One run of a program: bytes in, bytes out, within limits of time and output.

The program runs without a shell, in a session and process group of its own: Ctrl-C is the caller's business, and
when the limits are passed, or a KeyboardInterrupt comes, the whole group is ended (SIGTERM, then SIGKILL). What a
program that came to its own end has left running is left alone, even if it holds the program's output open.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_GRACE_S = 1.0  # to end in, after SIGTERM; and to read in, what a program that has ended left in the pipe
_READ_BYTES = 1 << 16
_ERRORS_BYTES = 1 << 16


@dataclass(frozen=True)
class Limits:
    """How long a program may run, in seconds, and how much it may say on standard output, in bytes."""

    seconds: float = 30.0
    output_bytes: int = 64 << 10


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    output: what it said, at most `output_bytes`; cut: it said more, and was stopped for it. errors: the beginning of
    what it said on standard error. late: it was stopped because its time was over. code: its exit code, negative for
    the number of the signal that ended it.
    """

    output: bytes
    errors: bytes
    code: int
    cut: bool = False
    late: bool = False


def run(argv: Sequence[str], sent: bytes, folder: Path, limits: Limits) -> Ended:
    """Runs a program in `folder` with `sent` on its standard input. Raises OSError if it cannot be started."""
    notices: queue.SimpleQueue[str] = queue.SimpleQueue()
    with tempfile.TemporaryFile() as given:  # no pipe: a program that does not read would block the writer
        given.write(sent)
        given.seek(0)
        process = subprocess.Popen(
            argv,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            bufsize=0,
            env={"PYTHONIOENCODING": "utf-8", **os.environ},
            start_new_session=True,
        )
    try:
        output = _Reader(process.stdout, limits.output_bytes, lambda: notices.put("cut"))
        errors = _Reader(process.stderr, _ERRORS_BYTES)
        threading.Thread(target=_wait, args=(process, notices), daemon=True).start()
        try:
            notice = notices.get(timeout=limits.seconds)
        except queue.Empty:
            notice = "late"
    except BaseException:
        _end_group(process)
        raise
    if notice != "ended":
        _end_group(process)
    deadline_s = time.monotonic() + _GRACE_S
    for reader in (output, errors):
        reader.join(max(0.0, deadline_s - time.monotonic()))
    return Ended(output.taken(), errors.taken(), process.wait(), cut=output.over, late=notice == "late")


def described(code: int) -> str:
    """An exit code that is not 0, in words.

    >>> described(-11), described(3)
    ('SIGSEGV', 'exit code 3')
    """
    if code > 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"


class _Reader:
    """Reads a pipe in a thread, to its end: keeps the first bytes and drops the rest, so that nobody waits for it."""

    def __init__(self, pipe: IO[bytes] | None, limit: int, on_over: Callable[[], None] | None = None) -> None:
        self.over = False
        self._pipe, self._limit, self._on_over = pipe, limit, on_over
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def taken(self) -> bytes:
        return bytes(self._kept)

    def _read(self) -> None:
        if self._pipe is None:
            return
        with self._pipe as pipe:
            while chunk := pipe.read(_READ_BYTES):
                room = self._limit - len(self._kept)
                self._kept += chunk[:room]
                if len(chunk) > room and not self.over:
                    self.over = True
                    if self._on_over is not None:
                        self._on_over()


def _wait(process: subprocess.Popen[bytes], notices: queue.SimpleQueue[str]) -> None:
    process.wait()
    notices.put("ended")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started: politely, then by force."""
    try:
        _signal_group(process, force=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    finally:  # whoever presses Ctrl-C again does not want to wait
        _signal_group(process, force=True)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], force: bool) -> None:
    if sys.platform == "win32":
        if force:
            kill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(kill, capture_output=True, check=False)
        return
    with contextlib.suppress(OSError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
