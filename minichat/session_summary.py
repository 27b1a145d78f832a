"""What a list says of a session, told from the end of its file without reading the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from minichat.folders import read_plain
from minichat.session import SUFFIX
from minichat.session_file import read_state, read_summary
from quant.errors import DataError

_TAIL_BYTES = 64 << 10  # of a file's end, where its summary is
_HEAD_BYTES = 64
_MAX_UNSUMMED_BYTES = 16 << 20  # so much is read of a file to list it, if its end has no summary
_PLAIN = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))


@dataclass(frozen=True)
class Summary:
    """A session in a list. title: its first question, on one line. turns: its questions. used: when last, in UTC.

    problem: why it cannot be read, one line; then title, model and turns are empty.
    """

    name: str
    title: str
    model: str
    turns: int
    used: datetime
    problem: str | None = None


def summary_of(path: Path, used: float) -> Summary:
    """Of one file. used: seconds since 1970. Never raises for what the file says."""
    name = path.name.removesuffix(SUFFIX)
    try:
        when = datetime.fromtimestamp(used, timezone.utc)
    except (ValueError, OverflowError, OSError):
        when = datetime.fromtimestamp(0, timezone.utc)
    try:
        ends = _read_ends(path)
        if ends is not None:
            summary = ends
        else:
            data = read_plain(path, _MAX_UNSUMMED_BYTES + 1)
            if len(data) > _MAX_UNSUMMED_BYTES:
                raise DataError(f"{path} is longer than a session")
            state = read_state(data, str(path)).state
            summary = state.title, state.settings.model, state.turns
    except OSError as error:
        return Summary(name, "", "", 0, when, f"it cannot be read: {error.strerror or error}")
    except DataError as error:
        return Summary(name, "", "", 0, when, str(error))
    return Summary(name, *summary, when)


def _read_ends(path: Path) -> tuple[str, str, int] | None:
    """The last summary in a file that begins as a session does; None if its end has none."""
    with os.fdopen(os.open(path, os.O_RDONLY | _PLAIN), "rb") as file:
        if not file.read(_HEAD_BYTES).startswith(b'{"minichat": 1,'):
            return None
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL_BYTES, 0))
        tail = file.read(_TAIL_BYTES)
    start = tail.rfind(b'\n{"summary"')
    end = tail.find(b"\n", start + 1)
    rest = tail[end + 1 :]
    if start < 0 or end < 0 or b'"messages"' in rest:
        return None
    return read_summary(tail[start + 1 : end])
