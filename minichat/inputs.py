"""What a person gives to a command besides its options: a prompt, piped text, a file of messages."""

from __future__ import annotations

import sys
from pathlib import Path

from quant.errors import DataError, UsageError

_MAX_TEXT_BYTES = 64 << 20


def read_question(prompt: str | None) -> str | None:
    """What to answer: piped text, a blank line, PROMPT; None to chat. Raises UsageError where that is empty."""
    from_pipe = prompt == "-" or not sys.stdin.isatty()
    piped = read_text("-") if from_pipe else None
    prompt = None if prompt == "-" else prompt
    if piped is None and prompt is None:
        return None
    parts = [part for part in ((piped or "").strip("\r\n"), prompt or "") if part.strip()]
    if not parts:
        raise UsageError("the prompt is empty")
    return "\n\n".join(parts)


def read_text(file: str) -> str:
    """A file's text, or standard input's for `-`. Raises DataError for what cannot be read as UTF-8."""
    name = "standard input" if file == "-" else file
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            raw = stream.read(_MAX_TEXT_BYTES + 1)
        if len(raw) > _MAX_TEXT_BYTES:
            raise DataError(f"{name} is longer than {_MAX_TEXT_BYTES >> 20} MB: no model reads that much")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from error
