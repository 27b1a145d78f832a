"""One engine after another, for work that goes on when one of them dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from quant.errors import EngineDiedError

if TYPE_CHECKING:
    from minichat.engine.client import Engine

_TOO_MANY_DEATHS = 3  # in a row


class Engines:
    """A context manager, which closes the last of them. now: the one that answers.

    deaths: how many of them have died since there was an answer.
    """

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self.now, self.deaths = start(), 0

    def replace(self, death: EngineDiedError) -> None:
        """Starts another one in the place of one that died, and tells of it. Raises `death` if it was one too many."""
        from minichat.terminal.answer import wait_loaded
        from minichat.terminal.output import say
        from minichat.terminal.progress import StatusLine

        self.deaths += 1
        if self.deaths >= _TOO_MANY_DEATHS:
            raise death
        self.now.close()
        self.now = self._start()
        say(f"{death.what}; it starts again", stream=sys.stderr)
        wait_loaded(self.now, StatusLine(sys.stderr))

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *_: object) -> None:
        self.now.close()
