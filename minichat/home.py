"""Where minichat keeps what is the user's: models, settings, history."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of everything that minichat keeps for this user: MINICHAT_HOME, else the platform's own."""
    if chosen := os.environ.get("MINICHAT_HOME"):
        return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111  (unlike Path's, it never fails)
    import platformdirs

    return platformdirs.user_data_path("minichat", appauthor=False)
