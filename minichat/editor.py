"""A text in the person's own editor, $VISUAL or $EDITOR, and back."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from quant.errors import StorageError, UsageError

_USUAL = ("editor", "nano", "vim", "vi", "emacs", "notepad")  # where neither variable is set


def edit(text: str) -> str:
    """`text` as the person leaves it, without the newline that editors put at the end.

    The file is its owner's alone, and is removed. Raises as `open_editor`, and StorageError if there is no place for
    the file.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="minichat-") as folder:
            path = Path(folder) / "message.md"
            path.write_bytes(text.encode("utf-8", "replace"))
            open_editor(path)
            edited = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise StorageError(f"no file to edit: {error.strerror or error}") from error
    return edited.replace("\r\n", "\n").removesuffix("\n")


def open_editor(path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Blocks until the editor ends, which has the terminal for itself.

    Raises UsageError if there is no editor, or if it ends with an error.
    """
    command = _command(environ)
    try:
        code = subprocess.run([*command, os.fspath(path)], check=False).returncode
    except OSError as error:
        raise UsageError(f"the editor {command[0]} cannot be started: {error.strerror or error}") from error
    if code:
        raise UsageError(f"the editor {command[0]} ended with the exit code {code}")


def _command(environ: Mapping[str, str]) -> list[str]:
    """The editor and its arguments."""
    chosen = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        words = shlex.split(chosen, posix=sys.platform != "win32")
    except ValueError as error:
        raise UsageError(f"$VISUAL or $EDITOR is no command: {chosen}") from error
    if words:
        return words
    usual = next((found for name in _USUAL if (found := shutil.which(name))), None)
    if usual is None:
        raise UsageError("no editor was found: set $EDITOR to the one that you like")
    return [usual]
