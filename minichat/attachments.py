"""Files that a message brings along: `@path` in it attaches a text file.

A word that begins with @ attaches the file of that name, where there is one; any other stays a word, as in an address
or a decorator. `@"a b.txt"` is for names with blanks, `~` is the home folder, and what ends a sentence or closes a
bracket behind a name does not belong to it. The files come before the message, each under its name and in a fence that
is longer than any in its content, so that nothing in a file can end it:

    notes.txt:
    ```
    what is in the file
    ```

    What is missing in @notes.txt?

A name that was surely meant as a file's but cannot be attached (a folder with a slash, a binary file, one too big or
unreadable) is an error: nothing is sent without it. Only regular files are read, nothing else is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quant.errors import DataError, UsageError

MAX_BYTES = 4 << 20  # of all files of a message: about a million tokens, more than any context holds
_AT = re.compile(r"""(?<![^\s(\[{<"'])@(?:"([^"\n]+)"|([^\s"]+))""")
_BEHIND = ".,;:!?)]}>'…"  # what may follow a name without belonging to it
_MAX_NAME = 4096  # characters of a path
_FENCE = re.compile("`{3,}")
_BLOCK = re.compile(r"(?P<name>[^\n]+):\n(?P<fence>`{3,})\n(?:.*?\n)??(?P=fence)\n\n", re.DOTALL)
_LIKE_A_FILE = re.compile(r"/|\w\.[A-Za-z]\w{0,4}[^\w/]*$")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}  # byte order marks


@dataclass(frozen=True)
class File:
    """A file that was attached: its name as it was typed, and its text."""

    name: str
    text: str


@dataclass(frozen=True)
class Attached:
    """A message with its files in it, and the files."""

    text: str
    files: tuple[File, ...] = ()


def attach(text: str, folder: Path) -> Attached:
    """The message with the files that it names; `folder` is where relative names begin.

    Raises UsageError for a folder and DataError for a file that cannot be attached: not a text, too big, unreadable.
    """
    if "@" not in text:
        return Attached(text)
    files: dict[str, File] = {}
    left = MAX_BYTES
    for match in _AT.finditer(text):
        found = _find(match, folder)
        if found is None or found[0] in files:
            continue
        name, path = found
        content = _read(path, name, left)
        left -= len(content)
        files[name] = File(name, _decode(content, name))
    if not files:
        return Attached(text)
    attached = tuple(files.values())
    return Attached("\n\n".join([*map(fenced, attached), text]), attached)


def missing(text: str, folder: Path) -> list[str]:
    """Words that look like the name of a file to attach, but there is none; with their @.

    >>> missing("Ask @someone about @no/such.txt and me@home.org.", Path())
    ['@no/such.txt']
    """
    words = [match for match in _AT.finditer(text) if match[1] or _LIKE_A_FILE.search(match[2])]
    return [match[0].rstrip(_BEHIND) for match in words if _find(match, folder) is None]


def detached(text: str, folder: Path) -> str:
    """What was typed of a message as `attach` made it, if its files are still there; else the message as it is."""
    rest, names = text, []
    while (match := _BLOCK.match(rest)) is not None:
        names.append(match["name"])
        rest = rest[match.end() :]
    try:
        again = attach(rest, folder) if names else Attached(rest)
    except (UsageError, DataError):
        return text
    return rest if [file.name for file in again.files] == names else text


def fenced(file: File) -> str:
    r"""How a file stands in a message.

    >>> fenced(File("a.md", "text\n```\ncode\n```\n"))
    'a.md:\n````\ntext\n```\ncode\n```\n````'
    """
    longest = max((len(run) for run in _FENCE.findall(file.text)), default=2)
    fence = "`" * (longest + 1)
    end = "" if file.text.endswith("\n") or not file.text else "\n"
    return f"{file.name}:\n{fence}\n{file.text}{end}{fence}"


def _find(match: re.Match[str], folder: Path) -> tuple[str, Path] | None:
    """The name and path of the file that is meant; None if these are only words. UsageError for a folder."""
    quoted, word = match[1], match[2]
    for name in [quoted] if quoted else _names(word):
        path = _path(name, folder)
        mode = _mode(path)
        if mode is None:
            continue
        if stat.S_ISREG(mode):
            return name, path
        if quoted or "/" in name or name.startswith("~"):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise UsageError(f"@{name} is {kind}: only files can be attached")
    return None


def _names(word: str) -> Iterator[str]:
    """The names that a word may stand for, the longest first.

    >>> list(_names("notes.txt)."))
    ['notes.txt).', 'notes.txt)', 'notes.txt']
    """
    while word and len(word) <= _MAX_NAME and word.strip("./"):
        yield word
        if word[-1] not in _BEHIND:
            return
        word = word[:-1]


def _path(name: str, folder: Path) -> Path:
    return folder / os.path.expanduser(name)  # noqa: PTH111  (unlike Path's, it never fails)


def _mode(path: Path) -> int | None:
    """What is at `path`, as `st_mode`; None for nothing, or a name that no file can have."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def _read(path: Path, name: str, most: int) -> bytes:
    """At most `most` bytes, of a regular file only, whatever is there by now."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DataError(f"@{name} is no regular file: only files can be attached")
            content = file.read(most + 1)
    except OSError as error:
        raise DataError(f"@{name} cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise DataError(f"@{name} is too big: the files of a message may have {MAX_BYTES >> 20} MiB together")
    return content


def _decode(content: bytes, name: str) -> str:
    """UTF-8, or what a byte order mark says; lines end with a newline alone."""
    encoding = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"@{name} is no text: its byte {error.start:,} is not {encoding.upper()}") from error
    if "\0" in text:
        raise DataError(f"@{name} is no text: it has zero bytes in it")
    return text.replace("\r\n", "\n")
