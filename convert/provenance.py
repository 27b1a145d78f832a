"""Where a checkpoint came from, and under which licence: what the folder itself tells, without a network.

Hugging Face's tools leave three traces. Its cache names repo and revision in the path, and each blob by its hash:

    models--mistralai--Ministral-8B-Instruct-2410/
        snapshots/4847e87e5975a573a2a190399ca62cd266c899ad/model.safetensors -> ../../blobs/<hash>

`hf download --local-dir` writes .cache/huggingface/download/NAME.metadata: commit, hash and time, one on a line. A hash
of 64 hex digits is the sha256 of a large file; one of 40 is git's, and says nothing of the content alone. The model
card, README.md, opens with YAML that names the licence.

Whatever is missing, unreadable or odd is left out: nothing here raises. Texts are made fit for a line of a terminal.
Standard library only.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MRL = "mrl"
MRL_NAME = "Mistral AI Research License"
# The line that the licence asks for in a Notice file beside every copy.
MRL_NOTICE = "Licensed by Mistral AI under the Mistral AI Research License"
_MRL_MODELS = {
    "ministral-8b-instruct-2410",
    "mistral-large-instruct-2407",
    "mistral-large-instruct-2411",
    "mistral-small-instruct-2409",
}

_MAX_TEXT_BYTES = 256 << 10  # Mistral's cards carry the whole licence in their front matter
_MAX_LINE = 200  # characters
_MAX_FILES = 10_000
LICENCE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "MRL.md", "MRL.txt", "MRL")
_METADATA = Path(".cache", "huggingface", "download")
_CLOCK_S = 1.0  # a file may be this much younger than its metadata say: huggingface_hub's own tolerance

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_FIELD = re.compile(r"([a-z_]+):(?:[ \t]+(.*))?")
_SHORT_FOR_MRL = re.compile(r"\bmrl\b", re.IGNORECASE)  # "mrl", ".../licenses/MRL-0.1.md"
_NAMES_MRL = re.compile(r"\bmistral (ai )?research licen[sc]e\b", re.IGNORECASE)
_NAMES_APACHE = re.compile(r"\bapache license,? version 2\.0\b", re.IGNORECASE)


@dataclass(frozen=True)
class Provenance:
    """What is known of a checkpoint's origin; None for what is not. All texts are single, printable lines."""

    repo: str | None  # "mistralai/Ministral-8B-Instruct-2410"
    revision: str | None  # the commit, 40 hex digits
    licence: str | None  # as the hub names it: "apache-2.0", "other"; "mrl" for Mistral's research licence
    licence_name: str | None
    licence_link: str | None
    notice: str | None  # the line that must travel with every copy
    hub_sha256: Mapping[str, str]  # name of a file directly in the folder -> the sha256 that the hub told


def find_provenance(folder: Path) -> Provenance:
    """Everything that a checkpoint's folder tells of its origin. Never raises."""
    repo, revision = _cache_place(folder)
    hashes, commits = _told_by_links(folder), set[str]()
    for file, commit, digest in _told_by_downloads(folder):
        commits.add(commit)
        if digest is not None:
            hashes[file] = digest
    if revision is None and len(commits) == 1:
        revision = commits.pop()
    card = _front_matter(_text(folder / "README.md"))
    licence, name, link = (_first_line(card, key) for key in ("license", "license_name", "license_link"))
    licence_text = _words(" ".join(_text(folder / file) for file in LICENCE_FILES))
    if _is_mrl(folder, repo, card, licence_text):
        return Provenance(repo, revision, MRL, MRL_NAME, link, MRL_NOTICE, hashes)
    if licence is None and _NAMES_APACHE.search(licence_text):
        licence = "apache-2.0"
    return Provenance(repo, revision, licence, name, link, None, hashes)


def folder_name(folder: Path) -> str:
    """What to call the model in a folder: by its repo, where the hub's cache tells; else as the folder is called.

    A printable line, even of a folder whose name is no UTF-8.

    >>> folder_name(Path("/hub/models--mistralai--Ministral-8B-Instruct-2410/snapshots/4847e87e5975a573"))
    'Ministral-8B-Instruct-2410'
    """
    repo, _ = _cache_place(folder)
    return repo.rsplit("/", 1)[-1] if repo else clean(folder.absolute().name)


def clean(text: str) -> str:
    r"""One printable line of bounded length: runs of white space become a blank, what cannot be seen is dropped.

    >>> clean(" a\tb\n\x1b[31mc\u202e ")
    'a b [31mc'
    """
    words = " ".join(text[: 16 * _MAX_LINE].split())
    return "".join(c for c in words if unicodedata.category(c)[0] != "C")[:_MAX_LINE].strip()


# The hub's traces.


def _cache_place(folder: Path) -> tuple[str | None, str | None]:
    """Repo and revision from a path of the hub's cache."""
    try:
        real = folder.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links is a RuntimeError before Python 3.13
        return None, None
    if real.parent.name != "snapshots" or not real.parent.parent.name.startswith("models--"):
        return None, None
    repo = real.parent.parent.name.removeprefix("models--").replace("--", "/")
    revision = real.name if _COMMIT.fullmatch(real.name) else None
    return (repo if _REPO.fullmatch(repo) else None), revision


def _told_by_links(folder: Path) -> dict[str, str]:
    """File names whose link into the cache's blobs names their sha256."""
    hashes = {}
    for entry in _entries(folder):
        try:
            target = Path(entry.path).readlink() if entry.is_symlink() else None
        except OSError:
            continue
        if target is not None and target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
            hashes[entry.name] = target.name
    return hashes


def _told_by_downloads(folder: Path) -> Iterator[tuple[str, str, str | None]]:
    """(file name, commit, sha256 or None) of the files that `hf download --local-dir` put into the folder.

    A file that was changed after its download is left out, as huggingface_hub does it.
    """
    for entry in _entries(folder / _METADATA):
        name = entry.name.removesuffix(".metadata")
        lines = _text(Path(entry.path)).split("\n") if name != entry.name else []
        try:
            commit, digest, time_s = lines[0].strip(), lines[1].strip(), float(lines[2])
            is_current = (folder / name).is_file() and (folder / name).stat().st_mtime <= time_s + _CLOCK_S
        except (OSError, ValueError, IndexError):
            continue
        if is_current and _COMMIT.fullmatch(commit):
            yield name, commit, digest if _SHA256.fullmatch(digest) else None


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry, _ in zip(entries, range(_MAX_FILES), strict=False)]
    except (OSError, ValueError):
        return []


# The licence.


def _is_mrl(folder: Path, repo: str | None, card: Mapping[str, list[str]], licence_text: str) -> bool:
    """Whether a file names Mistral's research licence, or if none names any, the model is known to be under it."""
    told = " ".join(value for key in ("license", "license_name", "license_link") for value in card.get(key, []))
    if _SHORT_FOR_MRL.search(_words(told)) or _NAMES_MRL.search(f"{_words(told)} {licence_text}"):
        return True
    if told not in ("", "other") or licence_text:
        return False
    models = [repo or folder.name, *card.get("base_model", [])]
    return any(model.rsplit("/", 1)[-1].lower() in _MRL_MODELS for model in models)


def _words(text: str) -> str:
    """
    >>> _words("Mistral AI\\n  Research_License, MRL-0.1.md")
    'Mistral AI Research License, MRL 0.1.md'
    """
    return " ".join(re.sub("[-_*#]", " ", text).split())


def _front_matter(text: str) -> dict[str, list[str]]:
    """The top-level keys of a model card's YAML with their plain values: one, or the items of a list.

    Not YAML, only as much as cards use for the keys that matter here; nested and folded values are passed over.

    >>> _front_matter("---\\nlicense: 'mrl' # x\\nbase_model:\\n- a/b\\n- c/d\\ntext: >-\\n  license: x\\n---\\nCard")
    {'license': ['mrl'], 'base_model': ['a/b', 'c/d'], 'text': []}
    """
    fields: dict[str, list[str]] = {}
    lines = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return fields
    values: list[str] = []
    for line in lines[1:]:
        if line.rstrip() == "---":
            return fields
        if match := _FIELD.fullmatch(line):
            values = fields.setdefault(match[1], [])
            values += _scalars(match[2] or "")
        elif match := re.fullmatch(r" {0,2}- +(\S.*)", line):
            values += _scalars(match[1])
    return {}  # it never ended: a ruler, not front matter


def _scalars(text: str) -> list[str]:
    """
    >>> _scalars("[a, 'b']"), _scalars('"apache-2.0"'), _scalars(">-"), _scalars("other  # see below")
    (['a', 'b'], ['apache-2.0'], [], ['other'])
    """
    text = re.sub(r"(^|\s)#.*", "", text).strip()
    parts = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    values = (clean(part.strip().strip("'\"")) for part in parts)
    return [value for value in values if value and value[0] not in "|>&*!{["]


def _first_line(card: Mapping[str, list[str]], key: str) -> str | None:
    return next(iter(card.get(key, [])), None)


def _text(path: Path) -> str:
    """The start of a regular file as text; "" if there is none. A pipe or a device would block, or never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ""
            return file.read(_MAX_TEXT_BYTES).decode(errors="replace")
    except (OSError, ValueError):
        return ""
