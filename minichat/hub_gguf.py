"""One GGUF file of a repo on the hub, or the same bytes out of another program's folder on this disk.

What it begins with can be looked at before the rest is fetched. Whatever comes is held against the hub's sha256.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convert.digest import sha256_of
from convert.gguf_file import LeadingKeys, read_leading_keys
from minichat.folders import read_plain
from minichat.store import Store
from minichat.work import ShowWork
from quant.errors import DataError, GgufError

if TYPE_CHECKING:
    from minichat.hub.lookup import RemoteFile, Repo
    from minichat.hub.transfer import Hub

_HEAD_BYTES = 64 << 10  # what stands before a vocabulary takes some kilobytes


class HubGguf:
    """A file of a repo. part: what to call it in the folder that it is fetched into. DataError without a hash."""

    def __init__(self, hub: Hub, repo: Repo, file: RemoteFile, part: str = "model") -> None:
        self._hub, self._repo, self._file = hub, repo, file
        self.name, self.size_bytes = file.name, file.size_bytes
        self.what = f"{repo.id}/{file.name}"
        if file.sha256 is None:
            raise DataError(f"{self.what} has no sha256 on the hub, so that nobody could check it: it is no model")
        self.sha256 = file.sha256
        self._local = _on_this_disk(file, file.sha256)
        self._part, self._taken = f"{part}.gguf", "taken.gguf" if part == "model" else f"taken-{part}.gguf"

    @cached_property
    def head(self) -> LeadingKeys:
        """GgufError if the file's first bytes show that it is no GGUF."""
        return _read_head(self._hub, self._repo, self._file, self._local)

    def here_bytes(self, begun: Path | None) -> int:
        """How much of it is on this machine already. begun: the folder of an earlier try."""
        if self._local is not None:
            return self.size_bytes
        return min(self.size_bytes, _size(begun / self._part) if begun else 0)

    def fetch(self, folder: Path, title: str, show_work: ShowWork) -> Path:
        """The whole file, in `folder`: goes on with what is there, takes it from this disk, or fetches it."""
        file = folder / self._taken
        if self._local is None or not self._took(self._local, file, show_work):
            file = folder / self._part
            self._download(file, title, show_work)
        return file

    def _download(self, file: Path, title: str, show_work: ShowWork) -> None:
        with contextlib.suppress(OSError):
            if not file.is_symlink():
                file.chmod(0o644)  # a kill while it was put into the store has left it complete and read-only
        with show_work(title) as work:
            begun, total = _size(file), self.size_bytes

            def on_bytes(done: int) -> None:
                (work.found if done <= begun else work.update)(done, total, "")

            self._hub.download(self._repo, self._file, file, on_bytes)

    def _took(self, local: Path, file: Path, show_work: ShowWork) -> bool:
        """Whether another program's file found its place here, and is what the hub has; else nothing is left of it."""
        from minichat.place import place

        done, total = 0, self.size_bytes
        try:
            file.unlink(missing_ok=True)
            with show_work(f"taking {local}") as work:

                def on_bytes(n_bytes: int) -> None:
                    nonlocal done
                    done += n_bytes
                    work.update(min(done, total), total, "")

                place(local, file)
                if sha256_of(file, on_bytes) == self.sha256:
                    return True
            show_work.note(f"{local} is not what it should be: fetching the file from the hub")
        except BrokenPipeError:  # whoever is told of the progress has left
            raise
        except OSError as error:
            show_work.note(f"{local} cannot be used ({error.strerror}): fetching the file from the hub")
        file.unlink(missing_ok=True)
        return False


def _read_head(hub: Hub, repo: Repo, file: RemoteFile, local: Path | None) -> LeadingKeys:
    """The keys that a file begins with. They are not held against its hash yet, so that they are good for plans only.

    GgufError if it is no GGUF.
    """
    what, n_bytes = f"{repo.id}/{file.name}", min(_HEAD_BYTES, file.size_bytes)
    if local is not None:
        try:
            return read_leading_keys(read_plain(local, n_bytes), file.size_bytes, str(local))
        except (OSError, GgufError):
            pass  # damaged: the hub has it whole
    return read_leading_keys(hub.read(repo, file, 0, n_bytes), file.size_bytes, what)


def _size(path: Path) -> int:
    """Bytes of a file that was begun; 0 if there is none."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _on_this_disk(file: RemoteFile, sha256: str) -> Path | None:
    """The file in the store under another name, or in another program's folder: by its hash, else by name and size.

    Nothing is looked at; `fetch` checks it.
    """
    from minichat import elsewhere

    store, blob = Store.default(), f"sha256-{sha256}"
    if (here := store.file_of(blob)) is not None:
        return here
    if (found := elsewhere.find_blob(sha256, file.size_bytes)) is not None:
        return found
    name = file.name.rsplit("/", 1)[-1]
    return next((other.file for other in elsewhere.of_size(file.size_bytes) if other.path.name == name), None)
