"""The boundary to huggingface_hub: a request with its client, ended in time, and its errors as ours.

Its requests have no end of their own when a hub trickles, and name look-ups cannot be interrupted; so they run in a
thread that is left behind after a time. Its errors become ours here: one line, without its texts.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from minichat.hub import environment
from minichat.hub.patience import Patience, TransientError, Tries, asked_wait_s
from minichat.hub.refusals import refusal
from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, MinichatError, NetworkError

_TRIES = 4
_WAIT_S = 0.1
_T = TypeVar("_T")


def asked(
    ask: Callable[[str | None], Any],
    what: str,
    endpoint: str,
    repo: str,
    revision: str | None,
    patience: Patience,
    seconds: float,
) -> Any:
    """What `ask`, which is given the token, learns from the hub within so many seconds; a few tries. `what`: its name.

    DataError if the hub refuses or answers nonsense, NetworkError if it cannot be reached.
    """
    environment.check_online()
    token = environment.token()
    until = time.monotonic() + seconds
    tries = Tries(replace(patience, tries=min(patience.tries, _TRIES)), what)

    def try_once() -> tuple[Any, TransientError | None]:
        try:
            return _within(until - time.monotonic(), lambda: ask(token), endpoint), None
        except MinichatError:
            raise
        except Exception as error:
            return None, _transient(error, endpoint, repo, revision, token is not None)

    while True:
        found, error = try_once()
        if error is None:
            return found
        wait_s = tries.failed(error, 0)
        if time.monotonic() + wait_s > until:
            raise NetworkError(f"{what} cannot be fetched: {error}; try again later") from error
        time.sleep(wait_s)


def _within(seconds: float, call: Callable[[], _T], endpoint: str) -> _T:
    """What `call` gives, or raises, in a thread of its own. NetworkError if it takes longer; Ctrl-C gets through."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _prepare()
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="minichat-look-up", daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < until:
        thread.join(_WAIT_S)
    if thread.is_alive():
        raise NetworkError(f"{clean_line(environment.host(endpoint))} does not answer in time: try again later")
    if errors:
        raise errors[0]
    return results[0]


def _prepare() -> None:
    """huggingface_hub logs what a hub warns of, as it is, and asks for lists of its own to describe its user.

    NetworkError if its client cannot be made of what the environment says of proxies and certificates.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        get_session()
    except Exception as error:  # a SOCKS proxy without its package, an odd address, certificates that are none
        raise NetworkError(
            f"the network cannot be used as it is set up ({type(error).__name__}): check HTTPS_PROXY, HTTP_PROXY, "
            "ALL_PROXY and SSL_CERT_FILE; a proxy's address should begin with http://"
        ) from None


def _transient(error: Exception, endpoint: str, repo: str, revision: str | None, has_token: bool) -> TransientError:
    """What may go away by itself. Raises what it means to the person if it will not."""
    from httpx2 import ConnectError, HTTPError, InvalidURL
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    host = clean_line(environment.host(endpoint))
    if isinstance(error, HfHubHTTPError):
        status, headers = error.response.status_code, {k.lower(): v for k, v in error.response.headers.items()}
        refused = refusal(status, headers, endpoint=endpoint, repo=repo, revision=revision, has_token=has_token)
        if refused is not None and repo:
            raise refused from None
        return TransientError(f"{host} answers with HTTP {status}", asked_wait_s(headers))
    if isinstance(error, OfflineModeIsEnabled):
        raise NetworkError("HF_HUB_OFFLINE is set, so nothing is fetched: unset it to reach the hub") from None
    if isinstance(error, ConnectError):  # no network, no such host, no trust: another try is in vain
        raise NetworkError(
            f"{host} cannot be reached ({_detail(error)}): check the network, HF_ENDPOINT and proxies"
        ) from None
    if isinstance(error, (HTTPError, InvalidURL, OSError)):
        return TransientError(f"{host} cannot be reached ({_detail(error)})")
    if isinstance(error, ImportError):  # a SOCKS proxy without its package
        raise NetworkError(
            f"the proxy cannot be used ({_detail(error)}): set HTTPS_PROXY to one with http://"
        ) from None
    if isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError":
        return TransientError(f"what {host} sends is no answer of a hub: perhaps a log-in page or a proxy in the way")
    about = f" about {clean_line(repo)}" if repo else ""
    raise DataError(
        f"the hub's answer{about} is damaged ({type(error).__name__}): try again, or use another hub"
    ) from error


def _detail(error: Exception) -> str:
    """What the system says, without addresses; the kind of the error where it says nothing."""
    text = clean_line(str(error)).strip()
    return text[:100] if text and "://" not in text else type(error).__name__
