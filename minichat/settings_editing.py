"""`minichat config --edit`: config.toml in the person's editor, checked when they leave it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from minichat.editor import open_editor
from minichat.folders import make_folder
from minichat.settings_file import load_settings
from quant.errors import StorageError

BEGINNING = """\
# minichat's settings. `minichat config` shows what holds, and where it comes from.

# model = "mistral-small"          # what `minichat run` without a MODEL talks to

# [defaults]                       # for every chat: the names of the options
# temperature = 0.3

# [models."mistral-small:24b"]     # for the chats with one model
# ctx = 16384

# [personas.coder]                 # minichat run --as coder
# system = "You write Python."
"""


def edit_settings(path: Path, environ: Mapping[str, str]) -> None:
    """Opens the file in $VISUAL or $EDITOR; made first, with hints in comments, if it is not there.

    Raises UsageError where there is no editor, StorageError for a file that cannot be made, DataError if there is a
    fault in it afterwards.
    """
    try:
        make_folder(path.parent)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(BEGINNING)
    except FileExistsError:
        if not path.exists():  # a link that leads nowhere
            raise StorageError(f"{path} is a link to a file that is not there") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot make it: {error.strerror or error}") from error
    open_editor(path, environ)
    load_settings(path)
