"""What a person gives to a command besides its options: a prompt, piped text, lines, a file of messages.

Text that is piped in as a prompt may come from anywhere: a byte in it that is no UTF-8 is replaced, and that is said
once. What must be exact, such as messages and schemas in JSON, is refused then; so is a picture in the place of text.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quant.errors import DataError, UsageError

_MAX_TEXT_BYTES = 64 << 20
_MAX_LINE_BYTES = 16 << 20
_PATIENCE_S = 2.0
_STDIN = "standard input"
_PNG_REST = b"\x1a\n"  # what is left of a PNG's mark behind the end of line in it
_MARK = "\ufeff"  # what some programs write before UTF-8


def read_question(prompt: str | None, taken: str = "", may_be_empty: bool = False) -> str | None:
    """What to answer: piped text, a blank line, PROMPT; None to chat. Raises UsageError where that is empty, or what is
    piped in is a picture.

    taken: what standard input was read for already, if it was. may_be_empty: where something else is there to answer.
    """
    if taken:
        if prompt == "-":
            raise UsageError(f"standard input cannot be both {taken} and the prompt")
        return prompt or ""
    from_pipe = prompt == "-" or not sys.stdin.isatty()
    piped = _piped_text() if from_pipe else None
    prompt = None if prompt == "-" else prompt
    if piped is None and prompt is None:
        return None
    parts = [part for part in ((piped or "").strip("\r\n"), prompt or "") if part.strip()]
    if not parts and not may_be_empty:
        raise UsageError("the prompt is empty")
    return "\n\n".join(parts)


def read_piped(asked: str) -> bytes:
    """What is piped in, as it is. UsageError, which begins with what was `asked`, where nobody pipes anything in."""
    if sys.stdin.isatty():
        raise UsageError(f"{asked}: pipe it in, or put `< FILE` behind the command")
    return _read("-")


def read_text(file: str) -> str:
    """A file's text, or standard input's for `-`. Raises DataError for what cannot be read as UTF-8."""
    try:
        return _read(file).decode().removeprefix(_MARK)
    except UnicodeDecodeError as error:
        raise DataError(f"{_name(file)} is not UTF-8 text (byte {error.start})") from error


@dataclass(frozen=True)
class Line:
    """A line without its end. number: from 1. text: None of a line that is longer than any model reads."""

    number: int
    text: str | None


class Lines:
    """The lines of a stream of bytes, each as soon as it has come; only one is held at a time.

    read_bytes: how much of the stream is behind the line that came last. total_bytes: how much there is in all, None
    where that cannot be known.
    """

    def __init__(self, stream: BinaryIO, longest_bytes: int = _MAX_LINE_BYTES) -> None:
        self._stream, self._longest = stream, longest_bytes
        self._is_warned = False
        self.read_bytes = 0
        self.total_bytes = _size(stream)

    def __iter__(self) -> Iterator[Line]:
        number = 0
        while raw := self._read():
            number += 1
            if number == 1:
                _refuse_picture(raw + _PNG_REST, "`--images FILE…` answers pictures")
            if len(raw) <= self._longest:
                yield Line(number, self._text(raw, number))
                continue
            while raw and not raw.endswith(b"\n"):
                raw = self._read()
            yield Line(number, None)

    def _read(self) -> bytes:
        """A line, or as much of it as is not too long; nothing at the end."""
        try:
            raw = self._stream.readline(self._longest + 1)
        except OSError as error:
            raise DataError(f"{_STDIN}: {error.strerror}") from error
        self.read_bytes += len(raw)
        return raw

    def _text(self, raw: bytes, number: int) -> str:
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            if not self._is_warned:
                self._is_warned = True
                _warn(f"line {number} of {_STDIN}", error)
            text = raw.decode(errors="replace")
        return text.removeprefix(_MARK) if number == 1 else text


def _size(stream: BinaryIO) -> int | None:
    """The bytes that a regular file still has to give."""
    try:
        status = os.fstat(stream.fileno())
        return status.st_size - stream.tell() if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError):
        return None


def _read(file: str) -> bytes:
    try:
        # Path's own way to the home folder fails where there is none
        with sys.stdin.buffer if file == "-" else Path(os.path.expanduser(file)).open("rb") as stream:  # noqa: PTH111
            if file == "-":
                _tell_of_waiting(stream)
            raw = stream.read(_MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{_name(file)}: {error.strerror}") from error
    if len(raw) > _MAX_TEXT_BYTES:
        raise DataError(f"{_name(file)} is longer than {_MAX_TEXT_BYTES >> 20} MB: no model reads that much")
    return raw


def _tell_of_waiting(stream: BinaryIO) -> None:
    """Says so to a person where standard input gives nothing for a while: it may be one that nobody will ever close."""
    import select

    from minichat.terminal.output import is_terminal, say

    try:
        waits = is_terminal(sys.stderr) and not stream.isatty() and not select.select([stream], [], [], _PATIENCE_S)[0]
    except (OSError, ValueError):  # what cannot be waited for: a closed stream, a pipe on Windows
        return
    if waits:
        say("waiting for the end of standard input (`< /dev/null` if there is none)", "dim", stream=sys.stderr)


def _name(file: str) -> str:
    return _STDIN if file == "-" else file


def _piped_text() -> str:
    raw = _read("-")
    _refuse_picture(raw, '`minichat run MODEL --image - "What is this?" < FILE` shows it to the model')
    return _replaced(raw)


def _refuse_picture(raw: bytes, instead: str) -> None:
    """Raises UsageError for what begins as a picture does, or a PDF: no model can make anything of it as text."""
    from minichat.pictures.sources import HEAD_BYTES, KINDS, kind_of, other_kind

    if (kind := kind_of(raw[:HEAD_BYTES])) is not None and not _is_text(raw):
        raise UsageError(f"{_STDIN} is a picture ({kind}), and would be read as text: {instead}")
    if b"\0" in raw and (other := other_kind(raw)):  # a text in another encoding may begin with "BM"
        raise UsageError(f"{_STDIN} is {other}, and no text: of pictures, minichat reads {KINDS}")


def _is_text(raw: bytes) -> bool:
    """Whether these bytes are a text that only begins as a picture does: "GIF89a is a format of …"."""
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False


def _replaced(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        _warn(_STDIN, error)
        text = raw.decode(errors="replace")
    return text.removeprefix(_MARK)


def _warn(what: str, error: UnicodeDecodeError) -> None:
    from minichat.terminal.output import print_error

    with contextlib.suppress(OSError):  # nobody is there to be warned
        print_error(f"warning: {what} is not UTF-8 text (byte {error.start}): what is not is replaced by \ufffd")
