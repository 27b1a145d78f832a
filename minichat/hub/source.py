"""One file of a repo: where its bytes are, and whether an answer is what was asked for.

The hub's own address of a file (`/{repo}/resolve/{commit}/{file}`, always by commit) answers with the bytes, or leads
to a link on another host that is signed and expires. The link is kept, and asked for again when it does not work any
more. The token goes to the hub's own scheme, host and port; once a redirect has left them, no request carries it.

No answer is believed: a range must begin where it was asked to, within a file of the size that was looked up; what the
hub says of commit and hash must be what it said at the look-up, and all answers of another host must be of the same
ETag. Else the content was changed in between, and nothing of it is used.
"""

import re
import threading
import urllib.parse

from minichat.hub.body import Body
from minichat.hub.connection import Answer, Connections, Leash
from minichat.hub.listing import RemoteFile, Repo
from minichat.hub.patience import TransientError, asked_wait_s
from minichat.hub.refusals import refusal
from minichat.hub.route import Origin
from minichat.terminal.sanitize import clean_line
from quant.errors import NetworkError

_MAX_REDIRECTS = 6
_MAX_SKIP_BYTES = 256 << 10  # what is read in vain, rather than asked for again
_TRIES_FOR_RANGES = 2
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Source:
    """A file at a hub. May be used by several threads.

    ignores_ranges: the server sends the whole file whatever is asked for: it is to be read once, from the front.
    """

    def __init__(
        self, connections: Connections, repo: Repo, file: RemoteFile, *, endpoint: str, token: str | None
    ) -> None:
        self.file = file
        self.what = clean_line(file.name)
        self.ignores_ranges = False
        self._connections = connections
        self._repo = repo
        self._endpoint = endpoint
        self._hub = Origin.of(endpoint)
        self._token = token
        self._url = f"{endpoint}/{repo.id}/resolve/{repo.commit}/{urllib.parse.quote(file.name)}"
        self._lock = threading.Lock()
        self._link: str | None = None  # where the hub leads to
        self._is_direct = False  # the hub sends the bytes itself
        self._whole_answers = 0
        self._tags: dict[Origin, str] = {}

    def open(self, begin: int, end: int, leash: Leash) -> Body:
        """Asks for the bytes from `begin` up to `end`; the answer may have fewer, at least one.

        TransientError if trying again may help; NetworkError if the file was changed; DataError if the hub refuses.
        """
        link = self._link
        if link is None and not self._is_direct:
            with self._lock:  # one thread asks the hub where the file is, the others wait for what it learns
                link = self._link
                if link is None and not self._is_direct:
                    return self._open_at_hub(begin, end, leash)
        if link is None:
            return self._open_at_hub(begin, end, leash)
        return self._body(self._ask_elsewhere(link, begin, end, leash), begin, end)

    # Asking.

    def _open_at_hub(self, begin: int, end: int, leash: Leash) -> Body:
        url = self._url
        for _ in range(_MAX_REDIRECTS):
            answer = self._ask(url, begin, end, leash, token=self._token)
            if answer.status >= 400:
                answer.finish()
                self._refused(answer)
            self._check_told(answer)
            if answer.status in (200, 206):
                self._is_direct = True
                return self._body(answer, begin, end)
            url = self._next(answer, url)
            if Origin.of(url) != self._hub:
                self._link, self._is_direct = url, False
                return self._body(self._ask_elsewhere(url, begin, end, leash), begin, end)
        raise TransientError(f"{self._hub} leads around in a circle")

    def _ask_elsewhere(self, link: str, begin: int, end: int, leash: Leash) -> Answer:
        url = link
        for _ in range(_MAX_REDIRECTS):
            answer = self._ask(url, begin, end, leash, token=None)
            if answer.status in (200, 206):
                self._check_tag(answer, Origin.of(url))
                return answer
            if answer.status < 400:
                url = self._next(answer, url)
                continue
            answer.finish()
            if answer.status in (400, 401, 403, 404, 410):
                if self._link == link:  # nobody has asked for another one yet
                    self._link = None
                raise TransientError(f"the hub's link to {Origin.of(url)} has expired (HTTP {answer.status})")
            raise _fault_of(answer, Origin.of(url))
        raise TransientError(f"{Origin.of(link)} leads around in a circle")

    def _ask(self, url: str, begin: int, end: int, leash: Leash, *, token: str | None) -> Answer:
        headers = {"Accept-Encoding": "identity", "User-Agent": "minichat"}
        if (begin, end) != (0, self.file.size_bytes):
            headers["Range"] = f"bytes={begin}-{end - 1}"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = self._connections.ask(url, headers, leash)
        if answer.status == 407:
            answer.drop()
            raise NetworkError("the proxy asks for a login: give it in HTTPS_PROXY, as http://USER:PASSWORD@HOST:PORT")
        return answer

    def _next(self, answer: Answer, url: str) -> str:
        answer.finish()
        if answer.status not in (301, 302, 303, 307, 308) or not answer.headers.get("location"):
            raise _fault_of(answer, Origin.of(url))
        try:
            led_to = urllib.parse.urljoin(url, answer.headers["location"])
        except ValueError:
            raise TransientError("the hub leads to an address that is none") from None
        if Origin.of(url)[0] == "https" and Origin.of(led_to)[0] != "https":
            raise NetworkError(f"{Origin.of(url)} leads from https to http: {self.what} is not fetched from there")
        return led_to

    def _refused(self, answer: Answer) -> None:
        error = refusal(
            answer.status,
            answer.headers,
            endpoint=self._endpoint,
            repo=self._repo.id,
            revision=self._repo.commit,
            file=self.file.name,
            has_token=self._token is not None,
        )
        raise error if error is not None else _fault_of(answer, self._hub)

    # Checking.

    def _check_told(self, answer: Answer) -> None:
        """What the hub itself says of the file must be what it said at the look-up."""
        headers, file = answer.headers, self.file
        tag = _strong(headers.get("x-linked-etag") or headers.get("etag") or "")
        known = {40: file.git_oid, 64: file.sha256}.get(len(tag)) if _HASH.fullmatch(tag) else None
        if (
            headers.get("x-repo-commit", self._repo.commit) != self._repo.commit
            or headers.get("x-linked-size", str(file.size_bytes)) != str(file.size_bytes)
            or (known is not None and tag != known)
        ):
            answer.drop()
            raise self._changed()

    def _check_tag(self, answer: Answer, origin: Origin) -> None:
        """All answers of one host must be of the same content."""
        tag = _strong(answer.headers.get("etag", ""))
        if tag and self._tags.setdefault(origin, tag) != tag:
            answer.drop()
            raise self._changed()

    def _body(self, answer: Answer, begin: int, end: int) -> Body:
        """The answer as the bytes that were asked for. TransientError if it is something else."""
        try:
            first, last = self._checked_range(answer, begin, end)
        except BaseException:
            answer.drop()
            raise
        if answer.status == 200 and begin > _MAX_SKIP_BYTES:
            self._whole_answers += 1
            if not self.ignores_ranges:
                self.ignores_ranges = self._whole_answers >= _TRIES_FOR_RANGES
                answer.drop()
                raise TransientError("the server sends whole files only")
        elif answer.status == 206:
            self._whole_answers, self.ignores_ranges = 0, False
        return Body(answer, begin, min(end, last + 1), begin - first, self.what)

    def _checked_range(self, answer: Answer, begin: int, end: int) -> tuple[int, int]:
        """First and last byte of what the answer brings."""
        if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise TransientError("the server sends the file encoded, which was not asked for")
        if answer.status == 200:
            if answer.length not in (None, self.file.size_bytes):
                raise TransientError(
                    "the server sends something of another length: perhaps a log-in page is in the way"
                )
            return 0, self.file.size_bytes - 1
        told = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
        if told is None:
            raise TransientError("the server does not say which range it sends")
        first, last = int(told[1]), int(told[2])
        if told[3] not in ("*", str(self.file.size_bytes)):
            raise self._changed()
        if first != begin or not begin <= last < end or answer.length not in (None, last - first + 1):
            raise TransientError("the server sends another range than it was asked for")
        return first, last

    def _changed(self) -> NetworkError:
        return NetworkError(f"{self.what} of {self._repo.id} was changed while it was fetched: try again")


def _fault_of(answer: Answer, origin: Origin) -> TransientError:
    if answer.status == 429:
        return TransientError(f"{origin} has been asked too often (HTTP 429)", asked_wait_s(answer.headers))
    return TransientError(f"{origin} answers with HTTP {answer.status}", asked_wait_s(answer.headers))


def _strong(tag: str) -> str:
    """An ETag without quotes; empty for a weak one, which says little of the bytes.

    >>> _strong('"abc"'), _strong('W/"abc"')
    ('abc', '')
    """
    return "" if tag.startswith("W/") else tag.strip().strip('"')
