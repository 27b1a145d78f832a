"""The way to a hub: proxies, TLS and certificates. About 3 seconds."""

import base64
import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from minichat.hub.lookup import look_up
from minichat.hub.patience import Patience
from minichat.hub.transfer import Hub
from quant.errors import NetworkError

CERTIFICATE = Path(__file__).parent / "data" / "tls" / "localhost.pem"
QUICK = Patience(stall_s=2, tries=2, base_s=0.001, cap_s=0.01)
DATA = bytes(range(256)) * 2000
FILES = {"config.json": b"{}", "a.gguf": DATA}
TOKEN = "hf_SecretSecretSecretSecretSecret"


class Proxy(socketserver.ThreadingTCPServer):
    """Forwards GET with a whole address, and CONNECT. `seen`: first line and headers of every request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, login: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.seen: list[str] = []
        self.login = login
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Tunnel(socketserver.BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := self.request.recv(1)):
                return
            head += more
        text = head.decode()
        self.server.seen.append(text)
        wanted = base64.b64encode((self.server.login or "").encode()).decode()
        if self.server.login and f"Proxy-Authorization: Basic {wanted}" not in text:
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = text.split(" ", 2)
        host, _, port = target.removeprefix("http://").partition("/")[0].rpartition(":")
        with socket.create_connection((host, int(port))) as onward:
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # one request for each connection: the answer's end is the connection's
                path = target.removeprefix(f"http://{host}:{port}")
                lines = [line for line in text.split("\r\n")[1:] if not line.startswith("Proxy-")]
                onward.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Connection: close", *lines]).encode())
            self._pass_on(onward)

    def _pass_on(self, onward: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                for readable in select.select([self.request, onward], [], [], 5)[0]:
                    data = readable.recv(65536)
                    if not data:
                        return
                    (onward if readable is self.request else self.request).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def close_session() -> None:
    """huggingface_hub keeps one client, made of what the environment said first."""
    import huggingface_hub

    huggingface_hub.close_session()


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    close_session()
    yield
    close_session()


def fetch_all(url: str, token: str | None = None) -> None:
    repo = look_up("org/model", patience=QUICK, endpoint=url)
    with Hub(QUICK, endpoint=url, token=token, block_bytes=1 << 16) as hub:
        assert hub.fetch(repo, repo.file("config.json")) == b"{}"
        assert hub.read(repo, repo.file("a.gguf"), 1000, 300_000) == DATA[1000:301_000]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_are_honoured(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, proxy.url)
    with HubServer() as server:
        server.add("org/model", FILES)
        fetch_all(server.url)
        asked = [head.split(" ")[1] for head in proxy.seen]
        assert len(asked) == len(server.log)
        assert all(target.startswith((server.url, server.cdn_url)) for target in asked)


def test_no_proxy_is_honoured(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with HubServer() as server:
        server.add("org/model", FILES)
        fetch_all(server.url)
        assert len(proxy.seen) == len(server.requests("cdn"))  # which is "localhost"


def test_a_proxy_with_a_login(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.login = "me:p@ss"
    with HubServer() as server:
        server.add("org/model", FILES)
        repo = look_up("org/model", endpoint=server.url)
        server.log.clear()
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match="the proxy asks for a login"):
            hub.fetch(repo, repo.file("config.json"))
        assert not server.log
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:p%40ss@"))
        with Hub(QUICK, endpoint=server.url) as hub:
            assert hub.fetch(repo, repo.file("config.json")) == b"{}"
        assert not [r for r in server.log if "proxy-authorization" in r.headers]


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as server:
        server.add("org/model", FILES)
        repo = look_up("org/model", endpoint=server.url)
        close_session()
        monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
        with pytest.raises(NetworkError, match="cannot be reached") as looking:
            look_up("org/model", patience=QUICK, endpoint=server.url)
        refuses = "through the proxy 127.0.0.1:9 refuses connections"
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match=refuses) as fetching:
            hub.fetch(repo, repo.file("config.json"))
        assert "secret" not in str(looking.value) + str(fetching.value)
        assert len(server.log) == 1


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://", "http://a:b:c"])
def test_proxies_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with HubServer() as server:
        server.add("org/model", FILES)
        repo = look_up("org/model", endpoint=server.url)
        close_session()
        monkeypatch.setenv("HTTP_PROXY", address)
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match="HTTPS_PROXY"):
            hub.fetch(repo, repo.file("config.json"))
        with pytest.raises(NetworkError, match=r"HTTPS_PROXY|cannot be reached"):
            look_up("org/model", patience=QUICK, endpoint=server.url)


# TLS.


def test_a_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with HubServer(tls=CERTIFICATE) as server:
        server.add("org/model", FILES)
        with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
            look_up("org/model", patience=QUICK, endpoint=server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        close_session()
        fetch_all(server.url)
        repo = look_up("org/model", endpoint=server.url)
        monkeypatch.delenv("SSL_CERT_FILE")
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match="cannot be trusted"):
            hub.fetch(repo, repo.file("config.json"))
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        other_name = server.url.replace("localhost", "127.0.0.1")
        with Hub(QUICK, endpoint=other_name) as hub, pytest.raises(NetworkError, match="cannot be trusted"):
            hub.fetch(repo, repo.file("config.json"))


def test_tls_through_a_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.login = "me:secret"
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:secret@"))
    with HubServer(tls=CERTIFICATE) as server:
        server.tokens.add(TOKEN)
        server.add("org/model", FILES)
        fetch_all(server.url, TOKEN)
        assert {head.split(" ")[0] for head in proxy.seen} == {"CONNECT"}
        assert not [head for head in proxy.seen if TOKEN in head]
        repo = look_up("org/model", endpoint=server.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match="the proxy refuses"):
            hub.fetch(repo, repo.file("config.json"))


def test_from_https_nothing_leads_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with HubServer(tls=CERTIFICATE) as server:
        server.add("org/model", FILES)
        repo = look_up("org/model", endpoint=server.url)
        server.cdn_url = server.cdn_url.replace("https:", "http:")
        with Hub(QUICK, endpoint=server.url) as hub, pytest.raises(NetworkError, match="from https to http"):
            hub.read(repo, repo.file("a.gguf"), 0, 10)


def test_a_stall_under_tls_is_noticed_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with HubServer(iter(["stall", "drop"]), tls=CERTIFICATE) as server:
        server.add("org/model", FILES)
        repo = look_up("org/model", endpoint=server.url)
        with Hub(Patience(stall_s=0.3, base_s=0.001), endpoint=server.url) as hub:
            assert hub.read(repo, repo.file("a.gguf"), 0, 300_000) == DATA[:300_000]
            server.faults = iter(["stall"] * 10)
            with hub.stream(repo, [(repo.file("a.gguf"), 0, 300_000)], 1 << 20) as pieces:
                next(pieces)  # and closed while threads wait for more
