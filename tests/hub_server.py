"""A hub on this machine: the routes of Hugging Face's that minichat uses, with every way to misbehave.

    with HubServer() as hub:
        hub.add("org/model", {"config.json": b"{}", "model.safetensors": data})
        look_up("org/model", endpoint=hub.url)

Two hosts: the hub (127.0.0.1), and another one (localhost, another port) that large files are redirected to, by links
that are signed and expire. `hub.log` has every request, with how many bytes of body were sent. Faults are named by
`FAULTS` and come from `hub.faults`, an iterator that is asked once for each request of a file's bytes: a list's
iterator, or `seeded(seed, n)`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import random
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".gguf", ".bin", ".pt", ".pth", "tekken.json")
_SECRET = b"known to both hosts"
_PIECE = 64 << 10

# What can happen to a request of bytes. Those that never heal by another try are not among the seeded ones.
FAULTS = (
    "drop_head",  # the connection ends before an answer
    "drop",  # ... in the middle of the body, which has its full length announced
    "stall",  # nothing more comes after a part of the body
    "slow",  # a few bytes a second
    "corrupt",  # one byte is another one
    "whole",  # the range is ignored
    "wrong_range",  # another range, and the answer says so
    "no_range",  # 206 without Content-Range
    "shorter",  # a part of the range, and the answer says so
    "longer",  # more bytes than announced, which lie before the next answer
    "chunked",  # no fault at all, but rarely seen
    "500",
    "503",  # with Retry-After
    "429",  # with Retry-After
    "408",
    "garbage",  # no HTTP
    "encoded",  # Content-Encoding: gzip
    "expired",  # the link is refused (at the other host; else 503)
    "loop",  # a redirect to itself
    "nowhere",  # a redirect without a place
    "page",  # 200 with a log-in page
)


@dataclass
class Request:
    host: str  # "hub", or "cdn": the other host
    method: str
    path: str
    range: str | None
    headers: Mapping[str, str]  # by names in lower case
    connection: int  # the client's port
    status: int = 0
    sent: int = 0  # bytes of body
    fault: str | None = None


@dataclass
class _Content:
    data: bytes | Path
    size: int
    sha256: str
    git_oid: str
    is_large: bool

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        if isinstance(self.data, bytes):
            for at in range(begin, end, _PIECE):
                yield self.data[at : min(at + _PIECE, end)]
            return
        with self.data.open("rb") as file:
            file.seek(begin)
            while begin < end and (piece := file.read(min(_PIECE, end - begin))):
                yield piece
                begin += len(piece)


@dataclass
class _Repo:
    id: str
    commit: str
    files: dict[str, _Content]
    gated: str | bool
    licence: str | None
    is_private: bool
    card: dict[str, Any] = field(default_factory=dict)


def seeded(seed: int, n: int, kinds: Iterable[str] = FAULTS, chance: float = 0.6) -> Iterator[str | None]:
    """`n` faults of these kinds, each request having one by `chance`; then none."""
    draw = random.Random(seed)
    kinds = tuple(kinds)
    while n:
        if draw.random() < chance:
            n -= 1
            yield draw.choice(kinds)
        else:
            yield None


class HubServer:
    """A hub with repos, tokens and faults. `url`: its endpoint; `cdn_url`: where large files are."""

    def __init__(
        self,
        faults: Iterator[str | None] = iter(()),  # noqa: B008
        *,
        link_s: float = 600,
        relative: bool = False,
        slow_s: float = 0.05,
        stall_s: float = 5,
        retry_after: str = "0",
        tls: Path | None = None,
    ) -> None:
        self.faults = faults
        self.link_s = link_s  # how long a link lives
        self.relative = relative  # small files by a redirect on the hub itself
        self.slow_s = slow_s  # between two bytes
        self.stall_s = stall_s
        self.retry_after = retry_after
        self.tokens: set[str] = set()
        self.granted: set[tuple[str, str]] = set()  # (token, repo)
        self.log: list[Request] = []
        self.raw: dict[str, bytes | Callable[[], bytes]] = {}  # path of the API -> what is answered instead
        self.redirects: dict[str, str] = {}  # path with query -> where it leads
        self.cdn_redirects: dict[str, str] = {}  # the same, at the other host
        self.more_headers: dict[str, str] = {}  # with every answer
        self.before: Callable[[Request], None] = lambda _request: None  # called before a request is answered
        self.after: Callable[[Request], None] = lambda _request: None  # called when a request is done
        self.repos: dict[str, list[_Repo]] = {}  # newest last
        self.blobs: dict[str, _Content] = {}
        self.hub_host, self.cdn_host = _Host(self, "hub", "127.0.0.1"), _Host(self, "cdn", "127.0.0.1")
        self.url = f"http://127.0.0.1:{self.hub_host.server_address[1]}"
        self.cdn_url = f"http://localhost:{self.cdn_host.server_address[1]}"
        if tls is not None:  # both by one certificate, of localhost
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            for host in (self.hub_host, self.cdn_host):
                host.socket = context.wrap_socket(host.socket, server_side=True)
            self.url = f"https://localhost:{self.hub_host.server_address[1]}"
            self.cdn_url = self.cdn_url.replace("http:", "https:")
        self._lock = threading.Lock()

    def __enter__(self) -> HubServer:
        for host in (self.hub_host, self.cdn_host):
            threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.hub_host, self.cdn_host):
            host.shutdown()
            host.server_close()
            host.end_connections()

    def add(
        self,
        repo: str,
        files: Path | Mapping[str, bytes | Path],
        *,
        gated: str | bool = False,
        licence: str | None = "apache-2.0",
        private: bool = False,
        **card: Any,
    ) -> str:
        """A new commit of `repo`, with all files of a folder or of a mapping. The commit's hash."""
        if isinstance(files, Path):
            paths = sorted(p for p in files.rglob("*") if p.is_file())
            files = {p.relative_to(files).as_posix(): p for p in paths}
        contents = {name: _content(name, data) for name, data in files.items()}
        listed = [(name, content.sha256) for name, content in contents.items()]
        commit = hashlib.sha1(json.dumps([listed, len(self.repos.get(repo, []))]).encode()).hexdigest()  # noqa: S324
        self.blobs.update({content.sha256: content for content in contents.values()})
        self.repos.setdefault(repo, []).append(_Repo(repo, commit, contents, gated, licence, private, card))
        return commit

    def requests(self, host: str | None = None, part: str = "") -> list[Request]:
        with self._lock:
            return [r for r in self.log if host in (None, r.host) and part in r.path]

    def sent(self, name: str) -> int:
        """Bytes of a file that were sent, by either host."""
        hashes = {c.sha256 for repos in self.repos.values() for r in repos for n, c in r.files.items() if n == name}
        paths = [f"/{name}", *(f"/blobs/{digest}" for digest in hashes)]
        bodies = [r for r in self.requests() if r.status in (200, 206)]
        return sum(r.sent for r in bodies if any(urllib.parse.urlsplit(r.path).path.endswith(p) for p in paths))

    def next_fault(self) -> str | None:
        with self._lock:
            return next(self.faults, None)

    def note(self, request: Request) -> None:
        with self._lock:
            self.log.append(request)

    def link(self, digest: str) -> str:
        expires = f"{time.time() + self.link_s:.3f}"
        return f"{self.cdn_url}/blobs/{digest}?expires={expires}&signature={_signature(digest, expires)}"


def _content(name: str, data: bytes | Path) -> _Content:
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    whole, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)  # noqa: S324
    for piece in _Content(data, size, "", "", False).read(0, size):
        whole.update(piece)
        git.update(piece)
    return _Content(data, size, whole.hexdigest(), git.hexdigest(), name.endswith(LARGE))


def _signature(digest: str, expires: str) -> str:
    return hmac.new(_SECRET, f"{digest} {expires}".encode(), "sha256").hexdigest()


class _Host(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, hub: HubServer, name: str, address: str) -> None:
        self.hub, self.name = hub, name
        self._open: set[socket.socket] = set()
        super().__init__((address, 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that has left is no error
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Host
    headers: Message

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub = self.server.hub
        self.request_ = Request(
            self.server.name,
            self.command,
            self.path,
            self.headers.get("Range"),
            {name.lower(): value for name, value in self.headers.items()},
            self.client_address[1],
        )
        self.hub.note(self.request_)
        self.hub.before(self.request_)
        parts = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(parts.path), dict(urllib.parse.parse_qsl(parts.query))
        try:
            redirects = self.hub.cdn_redirects if self.server.name == "cdn" else self.hub.redirects
            if self.path in redirects:
                self._answer(302, b"", {"Location": redirects[self.path]})
            elif self.server.name == "cdn":
                self._blob(path, query)
            elif (raw := self.hub.raw.get(path)) is not None:
                self._answer(200, raw() if callable(raw) else raw, {"Content-Type": "application/json"})
            elif path == "/api/models":
                self._search(query)
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self._listing(found[1], found[2])
            elif found := re.fullmatch(r"/(?:api/resolve-cache/models/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(found[1], found[2], found[3])
            else:
                self._refuse(404, "", "Sorry, we can't find the page you are looking for.")
        except OSError:
            self.close_connection = True
        finally:
            self.hub.after(self.request_)

    # The hub.

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _repo(self, name: str, revision: str | None) -> _Repo | None:
        """None if a refusal was sent."""
        token, commits = self._token(), self.hub.repos.get(name, [])
        if token is not None and token not in self.hub.tokens:
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if not commits or (commits[-1].is_private and (token, name) not in self.hub.granted):
            if token is None:
                return self._refuse(401, "", "Invalid username or password.")
            return self._refuse(404, "RepoNotFound", "Repository not found")
        if revision in (None, "main"):
            return commits[-1]
        for repo in commits:
            if repo.commit == revision:
                return repo
        return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _listing(self, name: str, revision: str | None) -> None:
        if (repo := self._repo(name, revision)) is not None:
            self._answer(200, json.dumps(listing(repo)).encode(), {"Content-Type": "application/json"})

    def _search(self, query: Mapping[str, str]) -> None:
        word = query.get("search", "").lower()
        found = [listing(commits[-1]) for name, commits in self.hub.repos.items() if word in name.lower()]
        for entry in found:
            del entry["siblings"]
        self._answer(
            200, json.dumps(found[: int(query.get("limit", "100"))]).encode(), {"Content-Type": "application/json"}
        )

    def _resolve(self, name: str, revision: str, file: str) -> None:
        if (repo := self._repo(name, revision)) is None:
            return
        content = repo.files.get(file)
        if content is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        if repo.gated and (self._token(), name) not in self.hub.granted:
            said = f"Access to model {name} is restricted"
            if self._token() is None:
                self._refuse(401, "GatedRepo", f"{said}. You must be authenticated to access it. Please log in.")
            else:
                self._refuse(403, "GatedRepo", f"{said} and you are not in the authorized list.")
            return
        told = {"X-Repo-Commit": repo.commit, "ETag": f'"{content.git_oid}"'}
        if content.is_large:
            told |= {"X-Linked-Etag": f'"{content.sha256}"', "X-Linked-Size": str(content.size)}
            fault = self.hub.next_fault() if self.hub.requests("cdn") else None  # most are for the bytes themselves
            if not self._misbehaves(fault, None):
                self._answer(302, b"Found", told | {"Location": self.hub.link(content.sha256)})
        elif self.hub.relative and not self.path.startswith("/api/"):
            self._answer(307, b"", told | {"Location": f"/api/resolve-cache/models{self.path}"})
        else:
            self._send(content, told)

    # The other host.

    def _blob(self, path: str, query: Mapping[str, str]) -> None:
        digest, expires = path.removeprefix("/blobs/"), query.get("expires", "0")
        content = self.hub.blobs.get(digest)
        if content is None or query.get("signature") != _signature(digest, expires) or float(expires) < time.time():
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        self._send(content, {"ETag": f'"{digest[:32]}-8"'})

    # Bytes, and faults.

    def _send(self, content: _Content, headers: dict[str, str]) -> None:
        """The range that was asked for, or all."""
        begin, end, status = 0, content.size, 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            begin, end, status = int(asked[1]), min(int(asked[2] or content.size) + 1, content.size), 206
            if begin >= end:
                self._answer(416, b"", {"Content-Range": f"bytes */{content.size}"})
                return
        fault = self.request_.fault = self.hub.next_fault()
        if self._misbehaves(fault, content):
            return
        if fault == "whole":
            begin, end, status = 0, content.size, 200
        elif fault == "shorter" and status == 206:
            end = begin + max(1, (end - begin) // 2)
        elif fault == "wrong_range" and status == 206:
            begin, end = (begin - 1, end - 1) if begin else (begin + 1, end + 1)
            end = min(end, content.size)
        if status == 206 and fault != "no_range":
            total = content.size + (fault == "other_size")
            headers = headers | {"Content-Range": f"bytes {begin}-{end - 1}/{total}"}
        if fault == "encoded":
            headers = headers | {"Content-Encoding": "gzip"}
        if fault == "changed":
            headers = headers | {"ETag": f'"{"0" * 40}"', "X-Repo-Commit": "0" * 40}
        self._start(status, None if fault == "chunked" else end - begin, headers)
        if self.command != "HEAD":
            self._body(content, begin, end, fault)

    def _misbehaves(self, fault: str | None, content: _Content | None) -> bool:
        """Whether the fault took the place of an answer."""
        if fault == "drop_head":
            self.close_connection = True
        elif fault == "garbage":
            self.wfile.write(b"\x00\xffSSH-2.0\r\n\r\n")
            self.close_connection = True
        elif fault in ("500", "408"):
            self._answer(int(fault), b"oh")
        elif fault in ("503", "429") or (fault == "expired" and self.server.name != "cdn"):
            self._answer(int(fault.replace("expired", "503")), b"", {"Retry-After": self.hub.retry_after})
        elif fault == "expired":
            self._answer(403, b"expired")
        elif fault == "loop":
            self._answer(302, b"", {"Location": self.path})
        elif fault == "nowhere":
            self._answer(302, b"")
        elif fault == "page":
            self._answer(200, b"<html>please log in</html>")
        else:
            return False
        self.request_.fault = fault
        return True

    def _body(self, content: _Content, begin: int, end: int, fault: str | None) -> None:
        middle = begin + (end - begin) // 2
        for piece in content.read(begin, end):
            at = begin
            begin += len(piece)
            if fault == "corrupt" and at <= middle < begin:
                piece = piece[: middle - at] + bytes([piece[middle - at] ^ 1]) + piece[middle - at + 1 :]
            if fault in ("drop", "stall", "slow") and begin > middle:
                self._write(piece[: middle - at])
                self._end_badly(fault, piece[middle - at :])
                return
            self._write(b"%x\r\n%s\r\n" % (len(piece), piece) if fault == "chunked" else piece)
        if fault == "chunked":
            self._write(b"0\r\n\r\n")
        elif fault == "longer":
            self._write(b"more than was told")

    def _end_badly(self, fault: str, rest: bytes) -> None:
        self.close_connection = True
        if fault == "stall":
            self.connection.settimeout(self.hub.stall_s)
            with contextlib.suppress(OSError):
                self.rfile.read(1)  # until the client gives up
        elif fault == "slow":
            for byte in rest:
                self._write(bytes([byte]))
                time.sleep(self.hub.slow_s)

    def _write(self, data: bytes) -> None:
        self.request_.sent += len(data)  # before a client can have it, and look here
        self.wfile.write(data)

    def _start(self, status: int, length: int | None, headers: Mapping[str, str]) -> None:
        self.request_.status = status
        self.send_response(status)
        for name, value in {**headers, **self.hub.more_headers}.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self._start(status, len(body), headers)
        if self.command != "HEAD":
            self._write(body)

    def _refuse(self, status: int, code: str, said: str) -> None:
        headers = {"X-Error-Message": said, "Content-Type": "application/json"}
        if code:
            headers["X-Error-Code"] = code
        self._answer(status, json.dumps({"error": said}).encode(), headers)


def listing(repo: _Repo) -> dict[str, Any]:
    """A repo as the API lists it."""
    files: list[dict[str, Any]] = []
    for name, content in repo.files.items():
        entry: dict[str, Any] = {"rfilename": name, "size": content.size, "blobId": content.git_oid}
        if content.is_large:
            entry["lfs"] = {"sha256": content.sha256, "size": content.size, "pointerSize": 134}
        files.append(entry)
    kinds = {name.rpartition(".")[2] for name in repo.files}
    return {
        "id": repo.id,
        "modelId": repo.id,
        "sha": repo.commit,
        "gated": repo.gated,
        "private": repo.is_private,
        "downloads": 1234,
        "tags": [*sorted(kinds & {"gguf", "safetensors"}), f"license:{repo.licence}"],
        "cardData": {"license": repo.licence} | repo.card,
        "siblings": files,
    }
