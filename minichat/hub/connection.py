"""Connections that are kept alive and notice a stall: http.client, with its sockets watched.

http.client and not the client that huggingface_hub brings: it copies each byte once (a file of 14 GB costs a few
seconds of CPU), and its sockets are at hand, so that another thread can end a transfer at once by shutting them down.
Proxies come from the environment or the system (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), certificates from the
system's store, or SSL_CERT_FILE and SSL_CERT_DIR.

A watched socket fails with TimeoutError when no byte came for `stall_s`, when the head of an answer takes longer than
that in all, or when the body came below `slow_bytes_per_s` for `slow_s`. Only the time spent waiting for the net
counts: whoever consumes slowly is not to blame the hub.
"""

import base64
import contextlib
import http.client
import io
import socket
import ssl
import string
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from minichat.hub.patience import Patience, TransientError
from minichat.terminal.sanitize import clean_line
from quant.errors import NetworkError

_IDLE_S = 15.0  # an older idle connection may have been dropped without a sign on the way
_MAX_IDLE = 16
_BUFFER_BYTES = 1 << 16
_MAX_REST_BYTES = 1 << 16  # of an answer that nobody wants: read, so that its connection can be used again

Headers = dict[str, str]  # by names in lower case


class Origin(tuple[str, str, int]):
    """Scheme, host and port: what a connection leads to, and what a token may be sent to."""

    __slots__ = ()

    @classmethod
    def of(cls, url: str) -> "Origin":
        """TransientError if `url` is no address of the web."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            if not parts.hostname or len(parts.hostname) > 255 or not parts.hostname.isascii():
                raise ValueError
        except (ValueError, KeyError):
            raise TransientError("the hub leads to an address that is none") from None
        return cls((parts.scheme, parts.hostname, port))

    @property
    def host(self) -> str:
        return self[1]

    def __str__(self) -> str:
        scheme, host, port = self
        return clean_line(host if port == {"http": 80, "https": 443}[scheme] else f"{host}:{port}")


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


class Answer:
    """A response whose head has arrived. Its body is read with `read`, and then the connection is given back."""

    def __init__(
        self, connection: "Connection", response: http.client.HTTPResponse, owner: "Connections", leash: "Leash"
    ) -> None:
        self.status = response.status
        self.headers: Headers = {}
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
            raise TransientError(_reason(error, self._connection.origin)) from error
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
        self._http, self._prefix, self._proxy_headers = _http_connection(origin, patience, tls)

    def ask(self, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Sends GET and awaits the head of the answer. Raises what http.client and sockets raise."""
        watched = self._watched or self._connect()
        self._http.request("GET", self._prefix + target, headers={**headers, **self._proxy_headers})
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
                    raise TransientError(_reason(error, origin)) from error
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
                self._tls = _tls_context()
        for connection in old:
            connection.close()
        return fit[-1] if fit else Connection(origin, self._patience, self._tls)


def _http_connection(
    origin: Origin, patience: Patience, tls: ssl.SSLContext | None
) -> tuple[http.client.HTTPConnection, str, Headers]:
    """The connection, what stands before each target (through a proxy, without TLS), and headers for the proxy."""
    scheme, host, port = origin
    proxy, sign_in = _proxy_for(origin)
    timeout_s = min(10.0, patience.stall_s)
    if scheme == "https":
        to_host, to_port = (proxy[1], proxy[2]) if proxy else (host, port)
        secure = http.client.HTTPSConnection(to_host, to_port, timeout=timeout_s, context=tls)
        if proxy:
            secure.set_tunnel(host, port, headers=sign_in)
        return secure, "", {}
    if proxy:
        return http.client.HTTPConnection(proxy[1], proxy[2], timeout=timeout_s), f"http://{host}:{port}", sign_in
    return http.client.HTTPConnection(host, port, timeout=timeout_s), "", {}


def _proxy_for(origin: Origin) -> tuple[Origin | None, Headers]:
    """The proxy on the way to `origin`, and the headers that it wants. NetworkError for a kind that is not known."""
    scheme, host, port = origin
    proxies = urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None, {}
    parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http":
        raise NetworkError(
            f"a proxy of the kind {clean_line(parts.scheme)} is not supported: set HTTPS_PROXY to one that begins with "
            "http://, or name the hub's host in NO_PROXY"
        )
    try:
        proxy = Origin.of(f"http://{parts.netloc.rpartition('@')[2]}")
    except TransientError:
        raise NetworkError("the proxy's address is none: check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY") from None
    if parts.username is None:
        return proxy, {}
    who = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
    return proxy, {"Proxy-Authorization": "Basic " + base64.b64encode(who.encode()).decode()}


def _tls_context() -> ssl.SSLContext:
    """The system's certificates; on macOS and Windows through truststore, where huggingface_hub has brought it."""
    paths = ssl.get_default_verify_paths()  # cafile and capath: of the environment first
    if sys.platform in ("darwin", "win32") and not (paths.cafile or paths.capath):
        with contextlib.suppress(ImportError):
            import truststore

            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _reason(error: Exception, origin: Origin) -> str:
    """What went wrong, for a person. NetworkError at once where another try cannot help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NetworkError(
            f"{origin} cannot be trusted, its certificate does not fit ({clean_line(error.verify_message)}): check the "
            "clock and the network, or set SSL_CERT_FILE to your company's certificates"
        ) from error
    if isinstance(error, TimeoutError):
        return f"{origin} sends nothing, or too slowly"
    if isinstance(error, socket.gaierror):
        return f"the address of {origin} cannot be found, check the network"
    if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed"):
        return f"the proxy refuses to connect to {origin} ({clean_line(str(error))[26:100].strip()})"
    if isinstance(error, ConnectionRefusedError):
        return f"{origin} refuses connections"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        return f"{origin} cannot be reached ({clean_line(error.strerror)[:100]})"
    return f"{origin} broke the connection"
