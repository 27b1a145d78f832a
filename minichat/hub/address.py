"""What names a model on the hub: `org/repo`, with a quantization, or a link as copied from the browser.

    org/repo              org/repo:Q4_K_M
    hf:org/repo[:q]       hf.co/org/repo[:q]     huggingface.co/org/repo[:q]
    https://huggingface.co/org/repo[/tree/REV | /blob/REV/FILE | /resolve/REV/FILE][?...]

and the same links at HF_ENDPOINT's host. Pure: nothing is asked of anybody.
"""

import re
import urllib.parse
from dataclasses import dataclass

from minichat.hub import environment
from minichat.terminal.sanitize import clean_line
from quant.errors import UsageError

_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./+-]{0,199}", re.ASCII)
# First parts of a path on the hub that are no organization.
_NOT_MODELS = {
    "datasets",
    "spaces",
    "api",
    "docs",
    "models",
    "buckets",
    "papers",
    "collections",
    "blog",
    "join",
    "login",
}
_MAX_FILE = 1000  # characters


@dataclass(frozen=True)
class Address:
    """A repo of models on the hub. `revision`: branch, tag or commit; None for the main branch."""

    repo: str
    revision: str | None = None
    file: str | None = None
    quant: str | None = None


def is_repo(text: str) -> bool:
    """Whether the hub allows `text` as a repo: "org/name".

    >>> is_repo("mistralai/Mistral-Small-24B-Instruct-2501"), is_repo("a/b/c"), is_repo("../etc"), is_repo("a/b--c")
    (True, False, False, False)
    """
    parts = text.split("/")
    return (
        len(parts) == 2
        and all(_PART.fullmatch(part) for part in parts)
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
    )


def parse_address(text: str, endpoint: str | None = None) -> Address | None:
    """`text` as a place on the hub; None if it is nothing of the kind (a path, a name of the catalog).

    `endpoint`: the hub's address, HF_ENDPOINT's if None. UsageError for what means a hub but leads nowhere: a link to
    another host, a dataset or space, a malformed repo, revision or file.

    >>> parse_address("bartowski/Ministral-8B-GGUF:q4_k_m")
    Address(repo='bartowski/Ministral-8B-GGUF', revision=None, file=None, quant='q4_k_m')
    >>> parse_address("https://huggingface.co/org/repo/blob/main/sub/a.gguf", "https://huggingface.co").file
    'sub/a.gguf'
    >>> parse_address("mistral-small:24b") is None
    True
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return _parse_link(text, text, endpoint)
    head, slash, _ = text.partition("/")
    if slash and (head.lower() in _HOSTS or head.lower() == _own_host(endpoint)):
        return _parse_link("https://" + text, text, endpoint)
    if text[:3].lower() == "hf:":
        return _parse_repo(text[3:], text)
    repo, _, quant = text.partition(":")
    if not is_repo(repo) or (quant and not _QUANT.fullmatch(quant)) or text.endswith(":"):
        return None
    return Address(repo, quant=quant or None)


def _parse_repo(name: str, text: str) -> Address:
    repo, colon, quant = name.partition(":")
    if not is_repo(repo) or (colon and not _QUANT.fullmatch(quant)):
        raise UsageError(f"{_shown(text)} names no repo: write hf:ORG/REPO, or hf:ORG/REPO:Q4_K_M")
    return Address(repo, quant=quant or None)


def _parse_link(link: str, text: str, endpoint: str | None) -> Address:
    try:
        parts = urllib.parse.urlsplit(link)
        host, path = parts.netloc.lower(), urllib.parse.unquote(parts.path, errors="strict")
    except ValueError:  # a malformed host, or a path that is no UTF-8
        raise UsageError(f"{_shown(text)} is no link") from None
    base = ""
    if host == _own_host(endpoint):
        base = urllib.parse.urlsplit(endpoint or environment.endpoint()).path.strip("/")
    elif host not in _HOSTS:
        raise UsageError(
            f"{_shown(text)} is not on the hub: give a link to {environment.host(endpoint or environment.endpoint())}, "
            "or download the file and give its path"
        )
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{_shown(text)} is no web address: it should begin with https://")
    path = path.strip("/")
    if base and (path + "/").startswith(base + "/"):
        path = path[len(base) + 1 :]
    return _parse_path(path.split("/"), text)


def _parse_path(parts: list[str], text: str) -> Address:
    if parts[0].lower() in _NOT_MODELS and len(parts) > 1:
        raise UsageError(f"{_shown(text)} is no repo of a model: only those can be pulled")
    if len(parts) == 2:
        return _parse_repo("/".join(parts), text)
    repo, rest = "/".join(parts[:2]), parts[2:]
    if not is_repo(repo):
        raise UsageError(f"{_shown(text)} names no repo: a link should look like https://huggingface.co/ORG/REPO")
    if rest[0] == "tree" and len(rest) >= 2:  # branches may have slashes, folders too: all of it is the revision
        return Address(repo, _checked_revision("/".join(rest[1:]), text))
    if rest[0] in ("blob", "resolve", "raw") and len(rest) >= 3:
        begin = 4 if rest[1] == "refs" and len(rest) >= 5 else 2  # refs/pr/1/FILE
        file = "/".join(rest[begin:])
        if len(file) > _MAX_FILE or ".." in rest or "" in rest or "\\" in file or clean_line(file) != file:
            raise UsageError(f"{_shown(text)} names no file that a repo can have")
        return Address(repo, _checked_revision("/".join(rest[1:begin]), text), file)
    raise UsageError(f"{_shown(text)} leads to no model: give the link of the repo, or of one of its files")


def _checked_revision(revision: str, text: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{_shown(text)} names no revision that a repo can have")
    return revision


def _own_host(endpoint: str | None) -> str:
    return environment.host(endpoint or environment.endpoint()).lower()


def _shown(text: str) -> str:
    """The text for a message: one line, no more than needed, and without what a link may carry behind its "?"."""
    shown = clean_line(text.partition("?")[0].rpartition("@")[2])
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
