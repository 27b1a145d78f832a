"""What is pasted, or dropped onto the terminal, when it is the path of a picture: it is attached.

Terminals type the paths of files that are dragged onto them, each in its way: as they are, in quotes, with backslashes
before blanks, as file:// URLs; several with blanks between. Other files are left as they are typed: who pastes the path
of a text often means the path.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from minichat.attachments import is_picture
from minichat.pictures.sources import path_of_url
from minichat.worded import word_of
from quant.errors import DataError

_LONGEST = 8192  # characters of a paste that is looked at
_MOST = 20  # pictures in one
_LIKE_A_PATH = re.compile(r"/|\\|\.\w{3,4}\Z")  # a word alone is a word, though a file be called so


def attaching(pasted: str, before: str = "") -> str | None:
    """What attaches the pictures whose paths were pasted behind `before`; None where it is anything else.

    The paths are tried as one name first, then as words of a shell.
    """
    text = pasted.strip()
    if not text or len(text) > _LONGEST or before.startswith("/"):
        return None
    if before and not before[-1].isspace() and before[-1] not in "([{<":
        return None  # within a word, or behind an @ that was typed
    for paths in ([text], _words(text)):
        files = [_file(path) for path in paths]
        if 0 < len(files) <= _MOST and all(_is_attachable(file) for file in files):
            return "".join(f"{word_of(file)} " for file in files)
    return None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _file(path: str) -> str:
    """The path that a URL stands for; any other as it is."""
    try:
        return path_of_url(path.removeprefix("file:"), path) if path.startswith("file:") else path
    except DataError:
        return path


def _is_attachable(file: str) -> bool:
    if '"' in file or not file.isprintable() or not _LIKE_A_PATH.search(file):
        return False
    try:
        return is_picture(Path(file).expanduser())
    except RuntimeError:  # the home of nobody
        return False
