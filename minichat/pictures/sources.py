"""Where a picture comes from, as messages name it: its bytes, whatever the way.

    photo.jpg, ~/photo.jpg, file:///home/ada/a%20b.jpg    a file
    data:image/png;base64,iVBORw0KGgo…                    the picture itself; also without what is before the comma
    picture:<sha256 of its bytes>/photo.jpg               one that an album has, or keeps (`minichat.pictures.album`)

Nothing is fetched from a network. Only regular files are read, and no more of them than a picture may have. Standard
library only.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path

from quant.errors import DataError

MAX_BYTES = 64 << 20  # of a picture's file
HEAD_BYTES = 32  # of a file, that `kind_of` needs
KINDS = "JPEG, PNG, WebP and GIF"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_DATA_URL = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_KEPT = re.compile(r"picture:([0-9a-f]{64})(?:/(.*))?", re.DOTALL)
_BASE64_HEADS = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD")  # of the four kinds
_SHORTEST_BASE64 = 40  # characters; below, it is a name
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_MAX_NAME = 80


def kind_of(head: bytes) -> str | None:
    """What the first bytes of a file say that it is, by Pillow's name; None for what is none of the four.

    >>> kind_of(b"GIF89a and more")
    'GIF'
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "WEBP" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def is_named_as_picture(name: str) -> bool:
    """Whether a name ends as those of pictures do.

    >>> is_named_as_picture("a/b.JPG"), is_named_as_picture("notes.txt")
    (True, False)
    """
    return name.lower().endswith(_SUFFIXES)


def is_on_network(source: str) -> bool:
    """Whether it is the address of something on a network.

    >>> is_on_network("https://example.org/a.png"), is_on_network("a.png")
    (True, False)
    """
    return re.match(r"(?:https?|ftp)://", source, re.IGNORECASE) is not None


def kept(source: str) -> tuple[str, str] | None:
    """The hash and the name of a source `picture:…`; None for any other."""
    match = _KEPT.fullmatch(source)
    return (match[1], match[2] or "picture") if match else None


def name_of(source: str) -> str:
    """What a person calls it: short, on one line.

    >>> name_of("data:image/png;base64,iVBORw0KGgo="), name_of("photos/cat.png")
    ('picture', 'photos/cat.png')
    """
    if (found := kept(source)) is not None:
        source = found[1]
    elif source[:5].lower() == "data:" or _is_base64(source):
        return "picture"
    shown = on_one_line(source)
    return shown if len(shown) <= _MAX_NAME else f"…{shown[-_MAX_NAME:]}"


def on_one_line(name: str) -> str:
    r"""A whole name, with nothing in it that a terminal or a table would take for something else.

    >>> on_one_line("a\tb\x1b[31m.png")
    'a\ufffdb\ufffd[31m.png'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def data_url(content: bytes) -> str:
    """A picture as a URL that needs no file.

    >>> data_url(b"GIF89a")
    'data:image/gif;base64,R0lGODlh'
    """
    kind = (kind_of(content[:HEAD_BYTES]) or "octet-stream").lower()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def bytes_of(source: str, folder: Path) -> bytes:
    """The bytes of a picture's file. `folder` is where relative paths begin.

    Raises DataError for what cannot be read, is too big, or is of none of the kinds; its message begins with the name.
    """
    name = name_of(source)
    if match := _DATA_URL.match(source):
        content = _decoded(source[match.end() :], name)
    elif source[:5].lower() == "data:":
        raise DataError(f"{name}: a picture in a URL is data:image/png;base64,… and no other form of data")
    else:
        path = _path(source, name, folder)
        is_data = _is_base64(source) and not os.path.exists(path)  # noqa: PTH110  (unlike Path's, it never fails)
        content = _decoded(source, name) if is_data else read_file(path, name)
    checked_kind(content, name)
    return content


def checked_kind(content: bytes, name: str) -> str:
    """The kind of a picture. Raises DataError for another file, which names it if it is known."""
    kind = kind_of(content[:HEAD_BYTES])
    if kind is None:
        raise DataError(f"{name} is {other_kind(content) or 'no picture'}: minichat reads {KINDS}")
    return kind


def read_file(path: Path, name: str) -> bytes:
    """A regular file of at most MAX_BYTES. Raises DataError."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise DataError(f"{name} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}, no picture")
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return check_length(content, name)


def check_length(content: bytes, name: str) -> bytes:
    """The content of a picture's file, if it is not too long. DataError, with `name`, for one that is."""
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} is too big: a picture's file may have {MAX_BYTES >> 20} MiB")
    return content


def _path(source: str, name: str, folder: Path) -> Path:
    if source[:5].lower() == "file:":
        return folder / path_of_url(source[5:], name)
    if (match := _SCHEME.match(source)) is not None or source.lower().startswith(("http:", "https:")):
        scheme = match[1].lower() if match else "http"
        what = "from the network" if scheme in ("http", "https", "ftp") else f"by {scheme}"
        raise DataError(f"{name}: no picture is fetched {what}; download it and give its path")
    return folder / os.path.expanduser(source)  # noqa: PTH111  (unlike Path's, it never fails)


def path_of_url(rest: str, name: str) -> str:
    """What follows `file:` in a URL, as a path. DataError for a file of another machine.

    >>> path_of_url("///home/ada/my%20cat.png", "cat.png")
    '/home/ada/my cat.png'
    """
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise DataError(f"{name}: no picture is fetched from another machine; copy it and give its path")
        rest = slash + path
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), rest.encode("utf-8", "surrogateescape")))


def _is_base64(source: str) -> bool:
    return len(source) >= _SHORTEST_BASE64 and source.startswith(_BASE64_HEADS)


def _decoded(text: str, name: str) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{name}: its data is no valid base64") from error
    return check_length(content, name)


def other_kind(content: bytes) -> str:
    """What a file is that is no picture of ours; nothing, where its first bytes do not tell."""
    if not content:
        return "empty"
    box = content[4:12]
    if box in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "a picture of the kind HEIC"
    if box in (b"ftypavif", b"ftypavis"):
        return "a picture of the kind AVIF"
    known = {b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\xff\x0a": "JPEG XL", b"%PDF": "PDF", b"<svg": "SVG"}
    for head, kind in known.items():
        if content.startswith(head):
            return f"of the kind {kind}"
    return ""
