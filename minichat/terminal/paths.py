"""Names of files that go on from what was typed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from minichat.terminal.sanitize import clean_line

_MOST = 500  # that anybody would look through


def complete_path(typed: str, folder: str = ".") -> Iterator[str]:
    """Paths that begin with `typed`, as it was typed (`~` stays), folders with a slash at the end; sorted.

    Hidden ones only when a dot was typed. Names that a terminal would obey cannot be typed either and are left out.
    """
    start = typed.rpartition("/")[2]
    before = typed[: len(typed) - len(start)]
    place = os.path.expanduser(before) if before else ""  # noqa: PTH111
    try:
        with os.scandir(os.path.join(folder, place)) as entries:  # noqa: PTH118
            found = [entry for entry in entries if _fits(entry.name, start)]
    except (OSError, ValueError):
        return
    found.sort(key=lambda entry: entry.name.lower())
    for entry in found[:_MOST]:
        yield before + entry.name + ("/" if _is_folder(entry) else "")


def _fits(name: str, start: str) -> bool:
    return name.startswith(start) and (name[0] != "." or start[:1] == ".") and clean_line(name) == name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
