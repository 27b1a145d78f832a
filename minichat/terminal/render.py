"""A prompt as the model sees it, control tokens told from text by their colour."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import IO

from minichat.terminal.output import is_terminal, styled, write
from minichat.terminal.sanitize import clean

_PICTURE = re.compile(r"(?:\[IMG\]|\[IMG_BREAK\])+\[IMG_END\]")


def print_rendering(spans: Sequence[tuple[str, bool]], stream: IO[str] | None = None) -> None:
    """`spans`: text, and whether it is a control token. In a pipe they are written one after the other.

    Control tokens are coloured on a terminal: an `[INST]` that a user typed stays plain. A picture's thousands of them
    are counted there.
    """
    stream = stream or sys.stdout
    if is_terminal(stream):
        spans = [(counted(text) if is_control else text, is_control) for text, is_control in spans]
    texts = (
        styled(stream, clean(text), "bold", "magenta") if is_control else clean(text) for text, is_control in spans
    )
    write(stream, "".join(texts) + "\n")


def counted(controls: str) -> str:
    """Control tokens, with those of each picture counted.

    >>> counted("[INST][IMG][IMG][IMG][IMG_BREAK][IMG][IMG][IMG][IMG_END]")
    '[INST](2 × 3 [IMG], [IMG_BREAK] between rows, [IMG_END])'
    """
    return _PICTURE.sub(_in_words, controls)


def _in_words(match: re.Match[str]) -> str:
    picture = match[0]
    rows, tokens = picture.count("[IMG_BREAK]") + 1, picture.count("[IMG]")
    return f"({rows:,} × {tokens // rows:,} [IMG], {'[IMG_BREAK] between rows, ' if rows > 1 else ''}[IMG_END])"
