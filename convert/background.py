"""Work in order on a thread of its own, with a bounded queue: what is done with a chunk while the next one is made."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Calls `work` with each item that is `put`, in their order; at most `ahead` wait.

    A context manager: its end waits for all items, and raises what `work` raised; after an exception in its block the
    items that wait are dropped. `put` raises it, too, as soon as it is known.
    """

    def __init__(self, work: Callable[[T], object], ahead: int, name: str) -> None:
        self._work = work
        self._queue: queue.Queue[T | None] = queue.Queue(ahead)
        self._error: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "Background[T]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dropped = kind is not None
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Waits while the queue is full."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def settle(self) -> None:
        """Waits until all that was put is done."""
        self._queue.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if not self._dropped and self._error is None:  # else whoever puts must not wait for ever
                try:
                    self._work(item)
                except BaseException as error:  # carried over to the thread that puts
                    self._error = error
            self._queue.task_done()
