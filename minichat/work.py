"""How long work is shown: what the makers of models need of the terminal, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """What shows long work to a person."""

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None: ...

    def found(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        """So much was there before: it tells nothing of how fast the work is."""
        ...


class ShowWork(Protocol):
    """Begins to show a work of this title; `note` is a remark on the way to it."""

    def __call__(self, title: str) -> AbstractContextManager[Progress]: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Shows nothing of the work."""

    @contextmanager
    def __call__(self, title: str) -> Iterator[Silent]:  # noqa: ARG002
        yield self

    def note(self, text: str) -> None: ...

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None: ...

    def found(self, done_bytes: int, total_bytes: int, detail: str) -> None: ...
