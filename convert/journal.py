"""How far an unfinished conversion is, on disk: a line for each mark, none of which is believed without its check.

    3f0c...9a {"work": "5b21..."}
    91b2...07 {"at": [0, 1179648], "written": [331776], "sha256": ["77d0..."], "state": "c3ab..."}
    e07a...55 {"at": [1, 0], "written": [662016], "sha256": ["0a9f..."], "digest": "41c7..."}
    ...       {"made": ["d1e2..."]}

    at        (number of the file of weights, offset): what is before it was read, and became the first `written` bytes
              of each output, whose `sha256` these are (with the headers as they were planned)
    state     of the hash of the file that `at` is in (`convert.sha256`); none at its beginning
    digest    at a file's beginning: the sha256 of the file before it
    sums      what was measured of tensors so far: {name: [squared error, squared size]}
    made      the sha256 of each whole output, once all are synced

A check is half a SHA-256 of the line and of the check before it: a line counts if it and all before it are as they were
written. So a journal may end anywhere, and hold anything; nothing is synced here.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

_CHECK_DIGITS = 32
_MAX_LINE = 1 << 20  # a mark takes some 350 bytes, for a megabyte of weights
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Mark:
    """A point between two pieces of a conversion; see the module."""

    at: tuple[int, int]
    written: tuple[int, ...]
    sha256: tuple[str, ...]
    state: bytes = b""
    digest: str = ""
    sums: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Journal:
    """The journal of the conversion called `work`, open for writing. OSError passes.

    `marks` and `made` are what it tells; one of other work tells nothing, and is begun anew. What is written is the
    system's when a method returns.
    """

    def __init__(self, path: Path, work: str) -> None:
        self.marks: list[Mark] = []
        self.made: tuple[str, ...] | None = None
        self._ends: list[tuple[tuple[int, int], int, str]] = []  # (at, the line's end, its check) of each mark
        self._begin = (0, "")  # end and check of the first line
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
        try:
            self._read(work)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._handle)

    def append(self, mark: Mark) -> None:
        """A mark behind the last one."""
        entry: dict[str, Any] = {"at": mark.at, "written": mark.written, "sha256": mark.sha256}
        entry |= {"state": mark.state.hex()} if mark.state else {}
        entry |= {"digest": mark.digest} if mark.digest else {}
        entry |= {"sums": mark.sums} if mark.sums else {}
        self._ends.append((mark.at, *self._write(entry)))

    def append_made(self, sha256: Sequence[str]) -> None:
        """The end of the work. Nothing follows it."""
        self._write({"made": list(sha256)})

    def cut(self, at: tuple[int, int]) -> None:
        """Forget all marks that are after `at`, and the end."""
        while self._ends and self._ends[-1][0] > at:
            self._ends.pop()
        del self.marks[len(self._ends) :]
        self.made = None
        os.ftruncate(self._handle, self._place[0])

    @property
    def _place(self) -> tuple[int, str]:
        """Where the next line goes, and the check that it follows."""
        return self._ends[-1][1:] if self._ends else self._begin

    def _write(self, entry: dict[str, Any]) -> tuple[int, str]:
        """Adds a line. Its end, and its check."""
        end, check = self._place
        text = json.dumps(entry).encode()
        check = _check(check, text)
        line = b"%s %s\n" % (check.encode(), text)
        os.lseek(self._handle, end, os.SEEK_SET)
        if os.write(self._handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return end + len(line), check

    def _read(self, work: str) -> None:
        lines = _sound(os.fdopen(os.dup(self._handle), "rb"))
        first = next(lines, None)
        if first is None or first[0] != {"work": work}:
            os.ftruncate(self._handle, 0)
            self._begin = self._write({"work": work})
            return
        self._begin = first[1:]
        with contextlib.suppress(KeyError, TypeError, ValueError):
            for entry, end, check in lines:
                if "made" in entry:
                    self.made = tuple(map(str, entry["made"]))
                    break
                mark = _mark(entry)
                if self.marks and not _follows(mark, self.marks[-1]):
                    break
                self.marks.append(mark)
                self._ends.append((mark.at, end, check))
        if self.made is None:
            self.cut(self.marks[-1].at if self.marks else (0, 0))


def _sound(file: BinaryIO) -> Iterator[tuple[Any, int, str]]:
    """(content, end, check) of a journal's lines, up to the first that is not as it was written."""
    check, end = "", 0
    with file:
        file.seek(0)
        while line := file.readline(_MAX_LINE):
            told, _, text = line.removesuffix(b"\n").partition(b" ")
            check, end = _check(check, text), end + len(line)
            if told != check.encode() or not line.endswith(b"\n"):
                return
            yield json.loads(text), end, check


def _check(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode() + text).hexdigest()[:_CHECK_DIGITS]


def _follows(mark: Mark, before: Mark) -> bool:
    grown = all(now >= then for now, then in zip(mark.written, before.written, strict=True))
    return grown and (mark.at, mark.written) > (before.at, before.written)


def _mark(entry: Any) -> Mark:
    """KeyError, TypeError or ValueError for what is none."""
    number, offset = entry["at"]
    sums = {name: (float(error), float(size)) for name, (error, size) in entry.get("sums", {}).items()}
    state = bytes.fromhex(entry.get("state", ""))
    written, sha256 = tuple(map(int, entry["written"])), tuple(map(str, entry["sha256"]))
    return Mark((int(number), int(offset)), written, sha256, state, entry.get("digest", ""), sums)
