"""Which hub to ask, as whom, and whether at all: read from the environment at each call.

huggingface_hub reads HF_ENDPOINT and HF_HUB_OFFLINE when it is imported; here what counts is what is set now. The token
is found as its tools find it: HF_TOKEN, else the one that `hf auth login` has stored.
"""

import os
import string
import urllib.parse

from quant.errors import NetworkError, UsageError

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}
_TOKEN_CHARACTERS = set(string.ascii_letters + string.digits + string.punctuation)


def endpoint() -> str:
    """The hub's address, without a slash at the end. UsageError if HF_ENDPOINT is no address."""
    address = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or DEFAULT_ENDPOINT
    try:
        parts = urllib.parse.urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment or not address.isascii() or " " in address:
        raise UsageError("HF_ENDPOINT is not the address of a hub: it should look like https://huggingface.co")
    return address


def host(address: str) -> str:
    """
    >>> host("https://hub.example:8443/mirror")
    'hub.example:8443'
    """
    return urllib.parse.urlsplit(address).netloc.rpartition("@")[2]


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids every request."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def check_online() -> None:
    """NetworkError if HF_HUB_OFFLINE is set."""
    if is_offline():
        raise NetworkError("HF_HUB_OFFLINE is set, so nothing is fetched: unset it to reach the hub")


def token() -> str | None:
    """The person's token, or None. UsageError if it cannot be one: it would break, or show up in, a request."""
    if os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _TRUE:
        return None
    from huggingface_hub import get_token

    try:
        found = get_token()
    except Exception as error:  # a renewal over the net that failed, a file that cannot be read, ...
        raise NetworkError(
            f"the stored login cannot be used ({type(error).__name__}): log in with `hf auth login`, or set HF_TOKEN"
        ) from None
    if found and not set(found) <= _TOKEN_CHARACTERS:
        raise UsageError(
            "the token has characters that no token has: set HF_TOKEN anew, or log in with `hf auth login`"
        )
    return found or None
