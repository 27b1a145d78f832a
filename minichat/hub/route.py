"""The way to a host: directly or through a proxy, with or without TLS.

Proxies come from the environment or the system (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), certificates from the
system's store, or SSL_CERT_FILE and SSL_CERT_DIR.
"""

import base64
import contextlib
import http.client
import ssl
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

from minichat.hub.patience import TransientError
from minichat.terminal.sanitize import clean_line
from quant.errors import NetworkError

_CONNECT_S = 10.0

Headers = dict[str, str]


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

    def __str__(self) -> str:
        scheme, host, port = self
        return clean_line(host if port == {"http": 80, "https": 443}[scheme] else f"{host}:{port}")


@dataclass(frozen=True)
class Route:
    """A connection that is still to be made. `shown`: what it leads to, for a person."""

    http: http.client.HTTPConnection
    shown: str
    prefix: str = ""  # before each target, through a proxy without TLS
    headers: Headers = field(default_factory=dict)  # for the proxy, with each request


def route_to(origin: Origin, timeout_s: float, tls: ssl.SSLContext | None) -> Route:
    """The way that the environment tells. NetworkError if it is none that can be gone."""
    scheme, host, port = origin
    proxy, login = _proxy_for(origin)
    timeout_s = min(_CONNECT_S, timeout_s)
    shown = f"{origin} through the proxy {proxy}" if proxy else str(origin)
    _, to_host, to_port = proxy or origin
    if scheme == "https":
        secure = http.client.HTTPSConnection(to_host, to_port, timeout=timeout_s, context=tls)
        if proxy:
            secure.set_tunnel(host, port, headers=login)
        return Route(secure, shown)
    plain = http.client.HTTPConnection(to_host, to_port, timeout=timeout_s)
    if proxy:
        return Route(plain, shown, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", login)
    return Route(plain, shown)


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


def tls_context() -> ssl.SSLContext:
    """The system's certificates; on macOS and Windows through truststore, where huggingface_hub has brought it."""
    paths = ssl.get_default_verify_paths()  # cafile and capath: of the environment first
    if sys.platform in ("darwin", "win32") and not (paths.cafile or paths.capath):
        with contextlib.suppress(ImportError):
            import truststore

            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()
