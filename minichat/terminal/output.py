"""Writing to a stream: what it is, and how a few words on it are styled. Standard library only.

rich does this and more, but the prompt has to be on the screen before rich is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import IO

from minichat.terminal.sanitize import UNSAFE, clean, clean_line

_SGR = {"bold": "1", "dim": "2", "red": "31", "magenta": "35"}
_COLOURS = {"red", "magenta"}
_NAME = "minichat:"
_MAX_ERROR = 1000  # characters


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person reads the stream as it is written."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def is_moving(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can move its cursor and knows styles."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown", "")


def is_accessible() -> bool:
    """Whether the environment asks for what a screen reader can follow, ACCESSIBLE=1."""
    return os.environ.get("ACCESSIBLE", "0") not in ("", "0")


def columns(stream: IO[str]) -> int:
    """The terminal's width in cells, 80 if nobody knows."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def styled(stream: IO[str], text: str, *styles: str) -> str:
    """`text` in "bold", "dim", "red", "magenta", where the stream can show it; NO_COLOR takes the colours away."""
    if not is_moving(stream):
        return text
    codes = [_SGR[style] for style in styles if not (style in _COLOURS and os.environ.get("NO_COLOR"))]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text


def write(stream: IO[str], text: str) -> None:
    """Writes and flushes, with a question mark for what the stream's encoding lacks. BrokenPipeError is passed on."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def say(text: str, *styles: str, hanging: int = 0, stream: IO[str] | None = None) -> None:
    """A remark of the program's own on lines of its own, broken between words where they are too long.

    hanging: cells that the lines after a break are indented by.
    """
    stream = stream or sys.stdout
    lines = clean(text).split("\n")
    if is_terminal(stream):
        lines = [part for line in lines for part in _wrapped(line, stream, hanging)]
    write(stream, "".join((styled(stream, line, *styles) if line else "") + "\n" for line in lines))


def print_json(value: object, stream: IO[str] | None = None, indent: int | None = 2) -> None:
    """JSON, with what a terminal would obey, and what cannot be encoded, as \\u escapes: the same value to a reader."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    write(stream or sys.stdout, UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def print_error(message: str, stream: IO[str] | None = None) -> None:
    """One line on stderr: `minichat: …`; a terminal gets it broken between words, where it is too long for it.

    Of a message that quotes too much, the beginning and the end.
    """
    stream = stream or sys.stderr
    line = clean_line(" ".join(message.split()))
    if len(line) > _MAX_ERROR:
        line = f"{line[: _MAX_ERROR // 2]} … {line[-_MAX_ERROR // 2 :]}"
    if is_terminal(stream):
        line = "\n".join(_wrapped(f"{_NAME} {line}", stream, 2)).removeprefix(f"{_NAME} ")
    write(stream, f"{styled(stream, _NAME, 'red')} {line}\n")


def _wrapped(line: str, stream: IO[str], hanging: int) -> list[str]:
    """A line broken between words where it is too long for a terminal."""
    width = max(columns(stream) - 1, 10)
    wrap = textwrap.TextWrapper(width, subsequent_indent=" " * min(hanging, width // 2), break_on_hyphens=False)
    return wrap.wrap(line) or [""]
