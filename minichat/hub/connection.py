"""Connections that are kept alive, and can be ended from another thread: http.client, with its sockets watched.

http.client and not the client that huggingface_hub brings: it does less work for each byte, and its sockets are at
hand, so that they can be watched, and so that another thread can end a transfer at once by shutting them down.
"""

import contextlib
import http.client
import socket
import ssl
import string
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from minichat.hub.patience import Patience, TransientError
from minichat.hub.route import Headers, Origin, route_to, tls_context
from minichat.hub.watch import WatchedSocket
from minichat.terminal.sanitize import clean_line
from quant.errors import NetworkError

_IDLE_S = 15.0  # an older idle connection may have been dropped without a sign on the way
_MAX_IDLE = 16
_MAX_REST_BYTES = 1 << 16  # of an answer that nobody wants: read, so that its connection can be used again


class Answer:
    """A response whose head has arrived. Its body is read with `read`, and then the connection is given back."""

    def __init__(
        self, connection: "Connection", response: http.client.HTTPResponse, owner: "Connections", leash: "Leash"
    ) -> None:
        self.status = response.status
        self.headers: Headers = {}  # by names in lower case
        for name, value in response.getheaders():
            self.headers.setdefault(name.lower(), value)
        self.length = response.length  # None if it is not told
        self._connection, self._response, self._owner, self._leash = connection, response, owner, leash
        self._n_read = 0

    def read(self, n_bytes: int) -> bytes:
        """Up to `n_bytes`, as they come; b"" at the end. TransientError if the net fails."""
        try:
            piece = self._response.read1(n_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransientError(_reason(error, self._connection)) from error
        self._n_read += len(piece)
        return piece

    def finish(self) -> None:
        """Gives the connection back, if the rest of the body is small; else closes it."""
        with contextlib.suppress(TransientError):
            while self.length is not None and self._n_read < self.length <= _MAX_REST_BYTES:
                if not self.read(_MAX_REST_BYTES):
                    break
        whole = self._n_read == self.length and not self._response.will_close
        self._response.close()
        self._owner.put(self._connection, self._leash, reusable=whole)

    def drop(self) -> None:
        """Closes the connection."""
        self._response.close()
        self._owner.put(self._connection, self._leash, reusable=False)


class Connection:
    """One connection to an origin, perhaps through a proxy. Used by one thread at a time; `end` may come from any."""

    def __init__(self, origin: Origin, patience: Patience, tls: ssl.SSLContext | None) -> None:
        self.origin = origin
        self.since = time.monotonic()  # idle, if it is
        self.is_fresh = True
        self._patience = patience
        self._is_ended = False
        self._watched: WatchedSocket | None = None
        self._route = route_to(origin, patience.stall_s, tls)
        self._http = self._route.http

    def ask(self, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Sends GET and awaits the head of the answer. Raises what http.client and sockets raise."""
        watched = self._watched or self._connect()
        self._http.request("GET", self._route.prefix + target, headers={**headers, **self._route.headers})
        watched.expect_head()
        response = self._http.getresponse()
        watched.expect_body()
        return response

    def _connect(self) -> WatchedSocket:
        self._http.connect()
        wire: Any = self._http.sock
        self._watched = WatchedSocket(wire, self._patience)
        setattr(self._http, "sock", self._watched)  # noqa: B010  (no socket, but all that http.client calls is there)
        if self._is_ended:
            self._watched.end()
        return self._watched

    def __str__(self) -> str:
        return self._route.shown

    def end(self) -> None:
        self._is_ended = True
        if self._watched is not None:
            self._watched.end()

    def close(self) -> None:
        self._http.close()


class Leash:
    """The connections that one piece of work uses, so that they can be ended together, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[Connection] = set()
        self.is_ended = False

    def hold(self, connection: Connection) -> None:
        """TransientError if the work was ended."""
        with self._lock:
            if self.is_ended:
                raise TransientError("the transfer was ended")
            self._held.add(connection)

    def release(self, connection: Connection) -> None:
        with self._lock:
            self._held.discard(connection)

    def end(self) -> None:
        with self._lock:
            self.is_ended = True
            for connection in self._held:
                connection.end()


class Connections:
    """The idle connections, to be used again."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False
        self._tls: ssl.SSLContext | None = None

    def ask(self, url: str, headers: Mapping[str, str], leash: Leash) -> Answer:
        """GET `url`, without following where it leads. TransientError if no head of an answer comes."""
        origin = Origin.of(url)
        parts = urllib.parse.urlsplit(url)
        target = urllib.parse.quote(parts.path or "/", safe=string.punctuation)
        if parts.query:
            target += "?" + urllib.parse.quote(parts.query, safe=string.punctuation)
        while True:
            connection = self._take(origin)
            was_fresh, connection.is_fresh = connection.is_fresh, False
            try:
                leash.hold(connection)
                return Answer(connection, connection.ask(target, headers), self, leash)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.put(connection, leash, reusable=False)
                if was_fresh or isinstance(error, TimeoutError) or leash.is_ended:
                    raise TransientError(_reason(error, connection)) from error
                # An idle connection that the other side had closed: not a try yet.
            except BaseException:
                self.put(connection, leash, reusable=False)
                raise

    def put(self, connection: Connection, leash: Leash, *, reusable: bool) -> None:
        """Takes a connection back."""
        leash.release(connection)
        with self._lock:
            if reusable and not self._is_closed and not leash.is_ended and len(self._idle) < _MAX_IDLE:
                connection.since = time.monotonic()
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes the idle ones, and those in use when they are given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self, origin: Origin) -> Connection:
        with self._lock:
            old = [c for c in self._idle if c.since < time.monotonic() - _IDLE_S]
            fit = [c for c in self._idle if c.origin == origin and c not in old]
            self._idle = [c for c in self._idle if c not in old and c not in fit[-1:]]
            if origin[0] == "https" and self._tls is None:
                self._tls = tls_context()
        for connection in old:
            connection.close()
        return fit[-1] if fit else Connection(origin, self._patience, self._tls)


def _reason(error: Exception, to: Connection) -> str:
    """What went wrong, for a person. NetworkError at once where another try cannot help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NetworkError(
            f"{to} cannot be trusted, its certificate does not fit ({clean_line(error.verify_message)}): check the "
            "clock and the network, or set SSL_CERT_FILE to your company's certificates"
        ) from error
    if isinstance(error, TimeoutError):
        return f"{to} sends nothing, or too slowly"
    if isinstance(error, socket.gaierror):
        return f"{to} cannot be found, check the network"
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return f"{to}: the proxy refuses ({clean_line(str(error)).partition(': ')[2][:80]})"
    if isinstance(error, ConnectionRefusedError):
        return f"{to} refuses connections"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        return f"{to} cannot be reached ({clean_line(error.strerror)[:100]})"
    return f"{to} broke the connection"
