"""The front's side of reading pictures: a process that does it, started for the first picture and kept for the next.

Whatever a file does to that process, the front gets one DataError with one line; the next picture gets a new process.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minichat.engine.starting import folders
from minichat.pictures.size import Limits
from quant.errors import DataError, EngineError, StorageError

_MAIN = "import sys; sys.path[:] = sys.argv[1:]; from minichat.pictures.reading import main; main()"
_WAIT_S = 40.0  # longer than the process has; see minichat.pictures.reading
_MAX_REASON = 160  # characters


@dataclass(frozen=True)
class Found:
    """What was told of a picture: its own size, upright; its patches; the SHA-256 of its pixels' file."""

    width: int
    height: int
    columns: int
    rows: int
    key: str


class _ToldError(Exception):
    """What the process says is wrong with a picture."""


class Reader:
    """One process, or none yet. Not for two threads at once."""

    def __init__(self, wait_s: float = _WAIT_S) -> None:
        self._wait_s = wait_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read(self, path: Path, kind: str, pixels: Path, thumbnail: Path, limits: Limits) -> Found:
        """Reads the picture at `path` into the two files.

        Raises DataError with what is wrong, without its name; StorageError for files that cannot be written, and
        EngineError for a process that cannot be started.
        """
        request = {
            "path": os.fspath(path),
            "format": kind,
            "pixels": os.fspath(pixels),
            "thumbnail": os.fspath(thumbnail),
            "longest": limits.longest,
            "patch": limits.patch,
            "max_tokens": limits.max_tokens,
        }
        try:
            return self._ask(json.dumps(request).encode() + b"\n")
        except _ToldError as error:  # the process is in order
            raise DataError(_one_line(str(error))) from None
        except BaseException:  # Ctrl-C too: an answer that comes later would be taken for the next picture's
            self.close()
            raise

    def stop(self) -> None:
        """Ends what is being read by another thread, which gets a DataError; also from a signal handler."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def _ask(self, request: bytes) -> Found:
        process = self._started()
        try:
            if process.stdin is not None:
                process.stdin.write(request)
            line = self._lines.get(timeout=self._wait_s)
        except queue.Empty:
            raise DataError("reading it takes too long: make it smaller, if it is not damaged") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise DataError("the process that read it died of it: it is damaged, or too big for the memory")
        try:
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise _ToldError(answer["error"])
            if "unwritten" in answer:
                raise StorageError(f"a picture's pixels cannot be written: {_one_line(str(answer['unwritten']))}")
            return Found(**answer)
        except (ValueError, TypeError) as error:
            raise DataError("what was read of it cannot be understood") from error

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        try:
            process = subprocess.Popen(
                [sys.executable, "-S", "-c", _MAIN, *folders()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is the front's business
            )
        except OSError as error:
            raise EngineError(
                f"the process that reads pictures cannot be started: {error.strerror or error}"
            ) from error
        self._process, self._lines = process, queue.SimpleQueue()
        threading.Thread(target=_listen, args=(process, self._lines), daemon=True).start()
        return process


def _listen(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Runs in a thread: the process's lines into the queue, then b"" for their end."""
    if process.stdout is not None:
        with suppress(OSError, ValueError), process.stdout as stream:
            for line in iter(stream.readline, b""):
                lines.put(line)
    lines.put(b"")


def _one_line(reason: str) -> str:
    """A reason from outside, short and on one line."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
    return shown if len(shown) <= _MAX_REASON else f"{shown[:_MAX_REASON]}…"
