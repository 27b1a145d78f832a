"""What llama.cpp and libmtmd say went wrong: the last errors that they logged.

An `ErrorLog` is told through a C callback, which must stay referenced for as long as C may call it.
"""

from __future__ import annotations

from typing import Any

_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_LINES = 8
_LONGEST_REASON = 300  # characters


class ErrorLog:
    """The errors that were logged last. `heard` is what the C callback calls."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def heard(self, level: int, text: bytes, _: Any) -> None:
        """A line was logged, with its GGML_LOG_LEVEL."""
        if level == _ERROR:
            self._lines.append(text.decode(errors="replace").strip())
            del self._lines[:-_LINES]

    def clear(self) -> None:
        """Forgets what was logged."""
        self._lines.clear()

    @property
    def reason(self) -> str:
        """The first of the last errors, on one line: the later ones only say that this one happened.

        >>> log = ErrorLog()
        >>> log.heard(4, b"no such  tensor", None)
        >>> log.reason
        'no such tensor'
        """
        return " ".join(self._lines[0].split())[:_LONGEST_REASON] if self._lines else "it does not say why"
