"""The lines that licences want to travel with every copy, beside the models: ROOT/NOTICE.

It is written anew at each change of names, by whoever may change them. Each file carries its notice, too, so that a
NOTICE that cannot be written is no obstacle: the next change writes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from convert.publish import published
from minichat.folders import read_plain
from minichat.manifest import Manifest
from minichat.names import Names
from minichat.terminal.sanitize import clean_line
from quant.errors import StorageError

_FILE = "NOTICE"


def write_notices(root: Path, names: Names) -> None:
    """Writes ROOT/NOTICE: the notices, each with the models that it is of; no file if no model has one.

    root: the store's folder. Only inside `Store.changing`. Never raises: what was changed is changed all the same.
    """
    path = root / _FILE
    with contextlib.suppress(OSError, StorageError):
        text = notice_text(names.models()).encode()
        if not text:
            path.unlink(missing_ok=True)
        elif not _holds(path, text):
            with published(path) as out:
                out.write(text)


def notice_text(models: Iterable[Manifest]) -> str:
    """What the file says; nothing if no model has a notice."""
    by_notice: dict[str, list[str]] = {}
    for model in models:
        if model.notice:
            by_notice.setdefault(clean_line(model.notice), []).append(f"    {model.full_name}  blobs/{model.blob}\n")
    return "\n".join("".join((f"{notice}\n\n", *sorted(names))) for notice, names in sorted(by_notice.items()))


def _holds(path: Path, text: bytes) -> bool:
    try:
        return read_plain(path, len(text) + 1) == text
    except OSError:
        return False
