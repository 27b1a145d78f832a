"""What a hub says of a repo, checked before anything is believed, asked for or written.

A name may become a path on this machine, a size a reservation of disk, a hash the name of a blob. Whatever cannot be
one is refused as damaged, and with it the whole listing: who sends one such entry is not to be trusted with the rest.
"""

import re
from dataclasses import dataclass

from minichat.hub.address import is_repo
from minichat.terminal.sanitize import UNSAFE, clean_line
from quant.errors import DataError

_MAX_NAME = 1000  # characters
_MAX_PART_BYTES = 255  # of one folder's or file's name, on the file systems in use
_MAX_FILES = 100_000
_MAX_BYTES = 1 << 50
_MAX_TEXT = 200
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repo. sha256: of its content, for large files; git_oid: git's hash of the others' content."""

    name: str  # "sub/folder/file", relative to the repo
    size_bytes: int
    sha256: str | None
    git_oid: str | None


@dataclass(frozen=True)
class Repo:
    """A repo at one commit (40 hex digits), which never changes."""

    id: str
    commit: str
    gated: bool
    licence: str | None  # as the hub names it: "apache-2.0", "other"
    files: tuple[RemoteFile, ...]
    licence_name: str | None = None  # for "other": "mrl"
    licence_link: str | None = None

    def file(self, name: str) -> RemoteFile:
        """The file of that name. DataError if there is none."""
        for file in self.files:
            if file.name == name:
                return file
        raise DataError(f"{self.id} has no file {clean_line(name)}: see its page for the files that it has")


def checked_id(value: object) -> str:
    """A repo's id as the hub spells it, or DataError."""
    if not isinstance(value, str) or not is_repo(value):
        raise _damaged("a repo's name is none")
    return value


def checked_commit(value: object) -> str:
    """40 hex digits, or DataError."""
    if not isinstance(value, str) or not _SHA1.fullmatch(value):
        raise _damaged("the commit is none")
    return value


def checked_files(siblings: object) -> tuple[RemoteFile, ...]:
    """The files of huggingface_hub's RepoSibling objects, in their order. DataError if one of them cannot be."""
    if not isinstance(siblings, list) or len(siblings) > _MAX_FILES:
        raise _damaged("it lists no files")
    files = tuple(_checked_file(entry) for entry in siblings)
    if len({file.name for file in files}) < len(files):
        raise _damaged("it names a file twice")
    return files


def text_or_none(value: object) -> str | None:
    """A short printable text that a hub sent for a person to read; the first one of several.

    >>> text_or_none(["mit", "gpl"]), text_or_none(7)
    ('mit', None)
    """
    if isinstance(value, list) and value:
        value = value[0]
    return clean_line(value[:_MAX_TEXT]).strip() or None if isinstance(value, str) else None


def fault_in_name(name: object) -> str | None:
    r"""Why a file's name is refused; None for a name that may stand.

    >>> fault_in_name("consolidated/params.json"), fault_in_name("../../.bashrc"), fault_in_name("C:\\autoexec.bat")
    (None, 'leads out of the repo', 'has a backslash')
    """
    if not isinstance(name, str) or not name:
        return "is none"
    if len(name) > _MAX_NAME:
        return f"is longer than {_MAX_NAME:,} characters"
    if UNSAFE.search(name) or "\n" in name or "\t" in name:
        return "has control characters"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or ":" in name:
        return "is absolute"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return "leads out of the repo"
        if _RESERVED.fullmatch(part.partition(".")[0].rstrip()) or part[-1] in ". ":
            return "is reserved on Windows"
        if len(part.encode()) > _MAX_PART_BYTES:
            return "is too long for a file system"
    return None


def _checked_file(entry: object) -> RemoteFile:
    name = _checked_name(getattr(entry, "rfilename", None))
    size, oid, lfs = (getattr(entry, key, None) for key in ("size", "blob_id", "lfs"))
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_BYTES:
        raise _damaged(f"{_shown(name)} has no size that a file can have")
    if oid is not None and (not isinstance(oid, str) or not _SHA1.fullmatch(oid)):
        raise _damaged(f"{_shown(name)} has a hash that is none")
    sha256 = None
    if lfs is not None:
        sha256 = getattr(lfs, "sha256", None)
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise _damaged(f"{_shown(name)} has a sha256 that is none")
        if getattr(lfs, "size", None) != size:
            raise _damaged(f"{_shown(name)} has two sizes")
    return RemoteFile(name, size, sha256, oid if sha256 is None else None)


def _checked_name(name: object) -> str:
    fault = fault_in_name(name)
    if fault is not None or not isinstance(name, str):
        raise _damaged(f"a file's name {fault}: {_shown(name)}")
    return name


def _shown(name: object) -> str:
    shown = clean_line(str(name)[:80])
    return shown + "..." if len(str(name)) > 80 else shown


def _damaged(what: str) -> DataError:
    return DataError(f"the hub's listing is damaged, {what}: nothing is fetched; try again, or use another hub")
