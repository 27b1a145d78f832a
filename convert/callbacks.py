"""What a caller's own function raises is the caller's: it passes through work that translates errors of its own.

    with passed_through():
        with storage_errors(destination):
            work(on_progress=calling(on_progress))

An OSError of `on_progress`, of a terminal that went away perhaps, says nothing of the destination.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


class _RaisedError(Exception):
    """Carries an error of the caller's past whoever would take it for one of the work's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def calling(function: Callable[[_T], object]) -> Callable[[_T], None]:
    """The function, for use inside `passed_through`."""

    def call(value: _T) -> None:
        try:
            function(value)
        except Exception as error:
            raise _RaisedError(error) from error

    return call


@contextlib.contextmanager
def passed_through() -> Iterator[None]:
    """What a `calling` function raises in the block leaves it as it was raised.

    >>> with passed_through():
    ...     calling(int)("seven")
    Traceback (most recent call last):
    ValueError: invalid literal for int() with base 10: 'seven'
    """
    try:
        yield
        return
    except _RaisedError as raised:
        error = raised.error
    raise error
