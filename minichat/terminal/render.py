"""A prompt as the model sees it, control tokens told from text by their colour."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

from minichat.terminal.output import styled, write
from minichat.terminal.sanitize import clean


def print_rendering(spans: Sequence[tuple[str, bool]], stream: IO[str] | None = None) -> None:
    """`spans`: text, and whether it is a control token. In a pipe they are written one after the other.

    Control tokens are coloured on a terminal: an `[INST]` that a user typed stays plain.
    """
    stream = stream or sys.stdout
    texts = (
        styled(stream, clean(text), "bold", "magenta") if is_control else clean(text) for text, is_control in spans
    )
    write(stream, "".join(texts) + "\n")
