"""`minichat map --resume FILE`: the answers that are there already, as JSON lines.

    {"line": 0, "model": "demo:q4_K_M", "prompt": "Translate: {line}", …}     what all answers were made with
    {"line": 1, "input": "Hello", "answer": "Bonjour", "reason": "eos", …}
    {"line": 2, "input": "…", "error": "the prompt is 9,000 tokens long, …"}  asked again next time; the last one counts

A line is written at once when its answer is there, in one piece, and never changed. What a kill has left of a last line
is cut off. One process at a time writes. In memory there are eight bytes for each line.
"""

from __future__ import annotations

import json
import os
import stat
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from quant.errors import DataError, StorageError, UsageError

Record = dict[str, Any]

_NOWHERE = -1
_MAX_RECORD_BYTES = 256 << 20
_MAX_SHOWN = 60  # characters of what differs


class Results:
    """The answers in a file that is open and ours."""

    def __init__(self, path: Path, stream: BinaryIO, out: int, made_with: Mapping[str, Any]) -> None:
        """stream, out: the file, to be read, and to be appended to.

        Raises DataError for a file that is of another kind, UsageError for one that was made with something else.
        """
        self._path, self._stream, self._out = path, stream, out
        self._places = array("q", [_NOWHERE])  # of each line: where its last record begins
        head = _line({"line": 0, **made_with})
        if head.startswith(found := stream.read(len(head))) and found != head:
            os.ftruncate(out, 0)  # new, or somebody was killed as the first line was written
            self._write(head)
            return
        stream.seek(0)
        self._check_head(made_with)
        self._index()

    def find(self, known: Record, noun: str) -> Record | None:
        """The record of a line; None where it is still to be answered. known: what it says of the line itself: its
        number, and its text under any other key. noun: "line", or what else is called so here.

        Raises DataError if another text stood in that line when the file was written.
        """
        number, what = int(known["line"]), next(key for key in known if key != "line")
        if number >= len(self._places) or self._places[number] == _NOWHERE:
            return None
        self._stream.seek(self._places[number])
        record = self._parsed(self._stream.readline(_MAX_RECORD_BYTES), f"its record of line {number}")
        if record.get(what) != known[what]:
            place = f"{noun} {number}" + (" of standard input" if noun == "line" else "")
            raise DataError(
                f"{place} is not the one that {self._path} has an answer to ({_short(record.get(what))}): give it the "
                f"same {noun}s, or another file"
            )
        return record if "error" not in record else None

    def append(self, record: Record) -> None:
        """Writes a record down. Raises StorageError."""
        self._note(int(record["line"]), os.fstat(self._out).st_size)
        self._write(_line(record))

    def _write(self, raw: bytes) -> None:
        try:
            while raw:
                raw = raw[os.write(self._out, raw) :]
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error

    def _check_head(self, made_with: Mapping[str, Any]) -> None:
        head = self._parsed(self._stream.readline(_MAX_RECORD_BYTES), "its first line")
        if head.get("line") != 0 or head.keys() != {"line", *made_with}:
            raise DataError(f"{self._path} is no file of `minichat map --resume`: name another one")
        for what, value in made_with.items():
            if head[what] != value:
                raise UsageError(
                    f"{self._path} was made with another {what}, {_short(head[what])}: give that one, or another file"
                )

    def _index(self) -> None:
        while True:
            place = self._stream.tell()
            raw = self._stream.readline(_MAX_RECORD_BYTES)
            if not raw.endswith(b"\n"):
                break
            number = self._parsed(raw, f"byte {place}").get("line")
            if type(number) is not int or not 0 < number <= len(self._places):
                raise DataError(f"{self._path} is damaged at byte {place}: its lines are out of order")
            self._note(number, place)
        if len(raw) == _MAX_RECORD_BYTES:
            raise DataError(f"{self._path} is damaged at byte {place}: a line without an end")
        if raw:
            os.ftruncate(self._out, place)

    def _note(self, number: int, place: int) -> None:
        if number == len(self._places):
            self._places.append(_NOWHERE)
        self._places[number] = place

    def _parsed(self, raw: bytes, where: str) -> Record:
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise DataError(f"{self._path} is no file of `minichat map --resume`: {where} is not JSON of its kind")
        return record


@contextmanager
def opened(path: Path, made_with: Mapping[str, Any]) -> Iterator[Results]:
    """The results in a file, which is made if there is none; others are kept out meanwhile.

    made_with: what must be the same for all answers, plain JSON. Raises what `Results` does, and StorageError.
    """
    from convert.lock import LockedError, claimed

    with ExitStack() as held:
        try:
            _check_place(path)
            held.enter_context(claimed(path.with_name(f"{path.name}.lock")))
            out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            held.callback(os.close, out)
            results = Results(path, held.enter_context(path.open("rb")), out, made_with)
        except LockedError:
            raise UsageError(f"--resume {path}: another minichat writes there") from None
        except (OSError, ValueError) as error:
            raise StorageError(f"--resume {path}: {getattr(error, 'strerror', None) or error}") from error
        yield results


def _check_place(path: Path) -> None:
    """Raises UsageError for what is no file, and for one that is read or written as a stream at the same time."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"--resume {path}: not a file")
    for number, name in enumerate(("input", "output")):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(number)):
                raise UsageError(f"--resume {path}: that is standard {name}, too; leave that to another file")


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of ASCII.

    >>> _line({"line": 1, "input": "é"})
    b'{"line": 1, "input": "\\\\u00e9"}\\n'
    """
    return json.dumps(record).encode() + b"\n"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
