"""A socket that notices a stall.

It fails with TimeoutError when no byte came for `stall_s`, when the head of an answer takes longer than that in all, or
when the body came below `slow_bytes_per_s` for `slow_s`. Only the time spent waiting for the net counts: whoever
consumes slowly is not to blame the hub.
"""

import contextlib
import io
import socket
import time
from typing import Any

from minichat.hub.patience import Patience

_BUFFER_BYTES = 1 << 16


class WatchedSocket:
    """What http.client needs of a socket, with a watch on what is received."""

    def __init__(self, wire: socket.socket, patience: Patience) -> None:
        self._wire = wire
        self._patience = patience
        self._readers = 0
        self._is_closed = False
        self.expect_head()

    def expect_head(self) -> None:
        """From now on an answer's head is awaited."""
        self._head_until: float | None = time.monotonic() + self._patience.stall_s
        self._waited_s, self._received = 0.0, 0

    def expect_body(self) -> None:
        self._head_until = None
        self._wire.settimeout(self._patience.stall_s)

    def sendall(self, data: Any) -> None:
        self._wire.settimeout(self._patience.stall_s)
        self._wire.sendall(data)

    def makefile(self, _mode: str = "rb", *_: Any, **__: Any) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self), _BUFFER_BYTES)

    def receive_into(self, buffer: Any) -> int:
        began = time.monotonic()
        if self._head_until is not None:
            if began >= self._head_until:
                raise TimeoutError("no answer came in time")
            self._wire.settimeout(self._head_until - began)
            return self._wire.recv_into(buffer)
        n_bytes = self._wire.recv_into(buffer)
        self._waited_s += time.monotonic() - began
        self._received += n_bytes
        if self._waited_s >= self._patience.slow_s:
            if self._received < self._patience.slow_bytes_per_s * self._waited_s:
                raise TimeoutError("too few bytes came")
            self._waited_s, self._received = 0.0, 0
        return n_bytes

    def reader_closed(self) -> None:
        self._readers -= 1
        if self._is_closed and not self._readers:
            self._wire.close()

    def close(self) -> None:
        """As a socket does it: what is being read from stays open until that is closed as well."""
        self._is_closed = True
        if not self._readers:
            self._wire.close()

    def end(self) -> None:
        """Ends everything at once, from any thread: whoever waits for bytes gets an error, or an early end."""
        with contextlib.suppress(OSError):  # not SSLSocket's own shutdown, which is not made for two threads
            socket.socket.shutdown(self._wire, socket.SHUT_RDWR)


class _Reader(io.RawIOBase):
    def __init__(self, owner: WatchedSocket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.reader_closed()
