"""Files that a message brings along: `@path` in it attaches a text file, or a picture.

A word that begins with @ attaches the file of that name, where there is one; any other stays a word, as in an address
or a decorator. `@"a b.txt"` is for names with blanks, `~` is the home folder, and what ends a sentence or closes a
bracket behind a name does not belong to it. The files come before the message, each under its name and in a fence that
is longer than any in its content, so that nothing in a file can end it:

    notes.txt:
    ```
    what is in the file
    ```

    What is missing in @notes.txt?

A picture, told by its first bytes, stands where its name stood, between the texts before and behind it.

A name that was surely meant as a file's but cannot be attached (a folder with a slash, a binary file, one too big or
unreadable, a picture that is not there: the model would answer as if it had seen it) is an error: nothing is sent
without it. Only regular files are read, nothing else is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.pictures.sources import HEAD_BYTES, KINDS, is_named_as_picture, is_on_network, kind_of, other_kind
from minichat.template.messages import Content, ImagePart, Part, TextPart
from minichat.worded import BEHIND, worded
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from minichat.pictures.album import Picture

    Look = Callable[[Path | str, str], Picture]

MAX_BYTES = 4 << 20  # of all text files of a message: about a million tokens, more than any context holds
_AT = re.compile(r"""(?<![^\s(\[{<"'])@(?:"([^"\n]+)"|([^\s"]+))""")
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
    """A message with its files in it, and the files; with its pictures, in the order of their places in it."""

    content: Content
    files: tuple[File, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where in what was typed a file is named, and which one it is: a path, or the source of a kept picture."""

    start: int
    end: int
    name: str
    file: Path | str


def attach(text: str, folder: Path, look: Look | None = None, known: Mapping[str, str] | None = None) -> Attached:
    """The message with the files that it names; `folder` is where relative names begin.

    look: reads the picture at a path, or of a source, that is called so; without it there are only text files.
    known: the sources of pictures that are kept, by their names, for files that are not there any more.
    Raises UsageError for a folder and DataError for a file that cannot be attached: neither text nor a picture, too
    big, unreadable, or a picture that is not there.
    """
    if "@" not in text:
        return Attached(text)
    files: dict[str, File] = {}
    pictures: dict[str, Picture] = {}
    places: list[tuple[int, int, str]] = []
    left = MAX_BYTES
    for match in _AT.finditer(text):
        found = _find(match, folder, known or {})
        if found is None and look is not None:
            _check_no_picture(match[1] or match[2].rstrip(BEHIND))
        if found is None or found.name in files or found.name in pictures:
            continue
        if look is not None and (isinstance(found.file, str) or is_picture(found.file)):
            pictures[found.name] = look(found.file, found.name)
            places.append((found.start, found.end, pictures[found.name].source))
            continue
        content = _read(Path(found.file), found.name, left)
        if not content and is_named_as_picture(found.name):
            raise DataError(f"@{found.name} is empty: minichat reads {KINDS}")
        left -= len(content)
        files[found.name] = File(found.name, _decode(content, found.name))
    begin = "".join(f"{fenced(file)}\n\n" for file in files.values())
    moved = [(start + len(begin), end + len(begin), source) for start, end, source in places]
    return Attached(_with_pictures(begin + text, moved), tuple(files.values()), tuple(pictures.values()))


def _check_no_picture(name: str) -> None:
    """DataError for a name that no file has, where it is a picture's."""
    if not is_named_as_picture(name):
        return
    if is_on_network(name):
        raise DataError(f"@{name}: no picture is fetched from the network; download it and give its path")
    is_there = os.path.exists(os.path.expanduser(name))  # noqa: PTH110, PTH111 - unlike Path's, they never fail
    raise DataError(f"@{name}: {'it is no regular file, and no picture' if is_there else 'there is no such picture'}")


def is_picture(path: Path) -> bool:
    """Whether a regular file begins as a picture does, whatever its name."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            return stat.S_ISREG(os.fstat(handle).st_mode) and kind_of(file.read(HEAD_BYTES)) is not None
    except (OSError, ValueError):
        return False


def _with_pictures(text: str, places: Sequence[tuple[int, int, str]]) -> Content:
    """The text with pictures in some places of it; the blanks between them and the words are gone.

    >>> _with_pictures("What is @a.png?", [(8, 14, "a.png")])
    (TextPart(text='What is'), ImagePart(source='a.png'), TextPart(text='?'))
    """
    if not places:
        return text
    parts: list[Part] = []
    at = 0
    for start, end, source in places:
        parts += [TextPart(text[at:start].strip() if at else text[:start].rstrip()), ImagePart(source)]
        at = end
    parts.append(TextPart(text[at:].lstrip()))
    return tuple(part for part in parts if not isinstance(part, TextPart) or part.text)


def missing(text: str, folder: Path, known: Mapping[str, str] | None = None) -> list[str]:
    """Words that look like the name of a file to attach, but there is none; with their @.

    >>> missing("Ask @someone about @no/such.txt and me@home.org.", Path())
    ['@no/such.txt']
    """
    words = [match for match in _AT.finditer(text) if match[1] or _LIKE_A_FILE.search(match[2])]
    return [match[0].rstrip(BEHIND) for match in words if _find(match, folder, known or {}) is None]


def named(text: str, folder: Path) -> list[str]:
    """The names of the files that `attach` would attach, each once."""
    names: dict[str, None] = {}
    for match in _AT.finditer(text):
        with suppress(UsageError):  # a folder
            if (found := _find(match, folder, {})) is not None:
                names[found.name] = None
    return list(names)


def detached(content: Content, folder: Path, look: Look | None = None) -> str:
    """What was typed of a message as `attach` made it, if its files are still there; else the message as it is."""
    text = worded(content)
    rest, names = text, []
    while (match := _BLOCK.match(rest)) is not None:
        names.append(match["name"])
        rest = rest[match.end() :]
    try:
        again = attach(rest, folder, look) if names else Attached(rest)
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


def _find(match: re.Match[str], folder: Path, known: Mapping[str, str]) -> _Place | None:
    """The file that is meant; None if these are only words. UsageError for a folder."""
    quoted, word = match[1], match[2]
    names = [quoted] if quoted else list(_names(word))
    for name in names:
        path = _path(name, folder)
        mode = _mode(path)
        if mode is None:
            continue
        if stat.S_ISREG(mode):
            return _place(match, name, path)
        if quoted or "/" in name or name.startswith("~"):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise UsageError(f"@{name} is {kind}: only files can be attached")
    name = next((name for name in names if name in known), "")
    return _place(match, name, known[name]) if name else None


def _place(match: re.Match[str], name: str, file: Path | str) -> _Place:
    return _Place(match.start(), match.end() if match[1] else match.start() + 1 + len(name), name, file)


def _names(word: str) -> Iterator[str]:
    """The names that a word may stand for, the longest first.

    >>> list(_names("notes.txt)."))
    ['notes.txt).', 'notes.txt)', 'notes.txt']
    """
    while word and len(word) <= _MAX_NAME and word.strip("./"):
        yield word
        if word[-1] not in BEHIND:
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
        if kind := other_kind(content):
            raise DataError(f"@{name} is {kind}: minichat reads texts, and pictures that are {KINDS}") from error
        raise DataError(f"@{name} is no text: its byte {error.start:,} is not {encoding.upper()}") from error
    if "\0" in text:
        raise DataError(f"@{name} is no text: it has zero bytes in it")
    return text.replace("\r\n", "\n")
