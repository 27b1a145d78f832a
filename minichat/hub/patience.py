"""How long to wait for a hub, and how often to try again.

A try that brought bytes at a fair rate starts the count anew: what matters is not how often a transfer breaks, but
whether it gets on. Between tries the wait doubles, with jitter, so that a thousand clients that a hub has dropped do
not come back at once; a hub that names a time (Retry-After, RateLimit) is taken at its word.
"""

import email.utils
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from quant.errors import NetworkError


@dataclass(frozen=True)
class Patience:
    """stall_s: without a byte, or until an answer has begun. tries: in a row without progress. base_s, cap_s: the first
    wait between two tries, and the longest. slow_s, slow_bytes_per_s: a connection that was slower than that for so
    long is given up. longest_s: what a hub may ask to wait; more is an error."""

    stall_s: float = 20
    tries: int = 8
    base_s: float = 0.5
    cap_s: float = 30
    slow_s: float = 30
    slow_bytes_per_s: float = 1000
    longest_s: float = 330  # the hub counts requests over windows of five minutes


DEFAULT_PATIENCE = Patience()


class TransientError(Exception):
    """A try that failed and may be repeated. The text says why, on one line, and `wait_s` what the hub asked for."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Tries:
    """The tries at one thing, one after the other."""

    def __init__(self, patience: Patience, what: str) -> None:
        self._patience = patience
        self._what = what
        self._in_vain = 0
        self._began = time.monotonic()

    def begin(self) -> None:
        """A try begins now."""
        self._began = time.monotonic()

    def failed(self, error: TransientError, n_bytes: int) -> float:
        """Seconds to wait before the next try, after one that brought `n_bytes`. NetworkError if it was the last."""
        patience = self._patience
        took_s = time.monotonic() - self._began
        if n_bytes > 0 and n_bytes >= patience.slow_bytes_per_s * min(took_s, patience.slow_s):
            self._in_vain = 0
        else:
            self._in_vain += 1
        if self._in_vain >= patience.tries:
            raise NetworkError(
                f"{self._what} cannot be fetched: {error}; tried {self._in_vain} times, try again later"
            ) from error
        if error.wait_s is not None and error.wait_s > patience.longest_s:
            raise NetworkError(
                f"{self._what} cannot be fetched: {error}, and asks to wait {error.wait_s:,.0f} s; try again then"
            ) from error
        wait_s = min(patience.cap_s, patience.base_s * 2.0 ** max(0, self._in_vain - 1))
        return max(wait_s * random.uniform(0.5, 1), error.wait_s or 0)  # noqa: S311


class Pause:
    """Until when a hub has asked not to be asked: one thread is told, all hold back."""

    def __init__(self) -> None:
        self._until = 0.0

    def add(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic() + seconds)

    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())


def asked_wait_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The wait in seconds that an answer's headers ask for: Retry-After (RFC 9110, 10.2.3), or RateLimit's time.

    >>> asked_wait_s({"retry-after": "7"}), asked_wait_s({"ratelimit": '"api";r=0;t=44'}), asked_wait_s({})
    (7.0, 44.0, None)
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    if value:
        try:
            then = email.utils.parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError, TypeError):
            return None
        return max(0.0, then - (time.time() if now is None else now))
    limit = headers.get("ratelimit", "")
    if re.search(r";\s*r=0\b", limit) and (reset := re.search(r";\s*t=([0-9]{1,9})\b", limit)):
        return float(reset[1])
    return None
