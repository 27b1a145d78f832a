"""What is on the hub: one repo's files at a commit, or a search. Through huggingface_hub, one request each.

Its requests have no end of their own when a hub trickles, and name look-ups cannot be interrupted; so they run in a
thread that is left behind after a time. Its errors become ours here: one line, without its texts.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from minichat.hub import environment
from minichat.hub.address import is_repo
from minichat.hub.listing import (
    RemoteFile,
    Repo,
    checked_commit,
    checked_files,
    checked_id,
    text_or_none,
)
from minichat.hub.patience import DEFAULT_PATIENCE, Patience, TransientError, Tries, asked_wait_s
from minichat.hub.refusals import refusal
from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, MinichatError, NetworkError, UsageError

__all__ = ["Found", "RemoteFile", "Repo", "look_up", "search"]

_TRIES = 4
_LOOK_UP_S = 60.0
_SEARCH_S = 20.0
_WAIT_S = 0.1
_SEARCHED = ["downloads", "gated", "tags", "safetensors", "gguf"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Found:
    """A repo that a search has found. `parameters`: how many, if the hub knows."""

    id: str
    downloads: int
    licence: str | None
    gated: bool
    has_gguf: bool
    has_safetensors: bool
    parameters: int | None


def look_up(
    repo: str,
    revision: str | None = None,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    endpoint: str | None = None,
) -> Repo:
    """The repo at its main branch, or at `revision` (a branch, tag or commit), with all its files.

    UsageError if `repo` cannot be one; DataError if there is no such repo or revision, if a login is needed, or if the
    listing is damaged; NetworkError if the hub cannot be reached.
    """
    endpoint = endpoint or environment.endpoint()
    if not is_repo(repo):
        raise UsageError(f"{clean_line(repo)[:100]} is no name of a repo: write ORG/REPO")

    def ask(token: str | None) -> Any:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=endpoint, token=token or False)
        return api.model_info(repo, revision=revision, files_metadata=True, timeout=patience.stall_s)

    info = _asked(ask, f"the listing of {clean_line(repo)}", endpoint, repo, revision, patience, _LOOK_UP_S)
    card = info.card_data.to_dict() if hasattr(info.card_data, "to_dict") else {}
    return Repo(
        id=checked_id(info.id),
        commit=checked_commit(info.sha),
        gated=bool(info.gated),
        licence=text_or_none(card.get("license")) or _tagged(info.tags, "license:"),
        files=checked_files(info.siblings),
        licence_name=text_or_none(card.get("license_name")),
        licence_link=text_or_none(card.get("license_link")),
    )


def search(
    word: str, limit: int = 20, *, patience: Patience = DEFAULT_PATIENCE, endpoint: str | None = None
) -> list[Found]:
    """The repos of models that the hub finds for `word`, the most fetched first. NetworkError if it cannot be asked.

    One page and one try: a search is repeated by whoever searches.
    """
    endpoint = endpoint or environment.endpoint()

    def ask(token: str | None) -> Any:
        # HfApi.list_models would try again for half a minute, with a line on stderr for each try.
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        params: dict[str, Any] = {"search": word, "limit": limit, "sort": "downloads", "expand": _SEARCHED}
        headers = build_hf_headers(token=token or False)
        address = f"{endpoint}/api/models"
        response = get_session().get(address, params=params, headers=headers, timeout=patience.stall_s)
        hf_raise_for_status(response)
        return response.json()

    once = Patience(stall_s=patience.stall_s, tries=1)
    listed = _asked(ask, "the search", endpoint, "", None, once, _SEARCH_S)
    if not isinstance(listed, list):
        raise DataError("the hub's answer to the search is damaged: try again, or use another hub")
    return [_found(entry) for entry in listed[:limit]]


def _found(entry: Any) -> Found:
    if not isinstance(entry, dict):
        raise DataError("the hub's answer to the search is damaged: try again, or use another hub")
    tags, safetensors, gguf = entry.get("tags"), entry.get("safetensors"), entry.get("gguf")
    known = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    parameters = [part.get("total") for part in (safetensors, gguf) if isinstance(part, dict)]
    return Found(
        id=checked_id(entry.get("id")),
        downloads=_count(entry.get("downloads")) or 0,
        licence=_tagged(known, "license:"),
        gated=bool(entry.get("gated")),
        has_gguf="gguf" in known or isinstance(gguf, dict),
        has_safetensors="safetensors" in known or isinstance(safetensors, dict),
        parameters=next((n for n in map(_count, parameters) if n), None),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else None


def _tagged(tags: object, prefix: str) -> str | None:
    """
    >>> _tagged(["gguf", "license:apache-2.0"], "license:")
    'apache-2.0'
    """
    texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return text_or_none(next((tag.removeprefix(prefix) for tag in texts if tag.startswith(prefix)), None))


# The boundary to huggingface_hub.


def _asked(
    ask: Callable[[str | None], Any],
    what: str,
    endpoint: str,
    repo: str,
    revision: str | None,
    patience: Patience,
    seconds: float,
) -> Any:
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
