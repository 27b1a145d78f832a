"""Fetch a ready GGUF file from the hub, or take it from another program's folder on this disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convert.digest import sha256_of
from convert.gguf_file import LeadingKeys, read_header, read_leading_keys
from minichat.folders import read_plain
from minichat.gguf_model import TOKENS_KEY, Known, check_model, manifest_of_header, refuse_parts, target_of, told_target
from minichat.gguf_names import by_quant, quant_of
from minichat.home import home
from minichat.licences import Licensed
from minichat.machine import available_bytes, free_bytes
from minichat.making import Converted
from minichat.manifest import ModelName
from minichat.memory import Shape, default_context, needed, shape_of_metadata
from minichat.plan import Grid, Plan, PlannedFile
from minichat.store import Store
from minichat.work import ShowWork
from quant.errors import DataError, GgufError

if TYPE_CHECKING:
    from minichat.hub.lookup import RemoteFile, Repo
    from minichat.hub.transfer import Hub
    from minichat.wanted import Wanted

_FILE, _TAKEN = "model.gguf", "taken.gguf"
_HEAD_BYTES = 64 << 10  # what stands before a vocabulary takes some kilobytes
_UNTOLD = "gguf"  # the tag of a file that does not tell how it is quantized before it is here


class GgufSource:
    """One GGUF file of a repo."""

    def __init__(self, hub: Hub, repo: Repo, file: str, wanted: Wanted) -> None:
        self._hub, self._repo, self._wanted = hub, repo, wanted
        self._file = repo.file(file)
        self._what = f"{repo.id}/{file}"
        if self._file.sha256 is None:
            raise DataError(f"{self._what} has no sha256 on the hub, so that nobody could check it: it is no model")
        self._sha256 = self._file.sha256
        self._local = _on_this_disk(self._file, self._sha256)

    @cached_property
    def target(self) -> str:
        return quant_of(self._file.name) or told_target(self._head.metadata) or _UNTOLD

    @property
    def stamp(self) -> str:
        return self._sha256

    def licensed(self, name: str) -> Licensed:
        """By the catalog, else by what the hub has read out of the card."""
        entry, repo = self._wanted.entry, self._repo
        return Licensed(name, entry.licence if entry else repo.licence, repo.licence_name, repo.id)

    def plan(self, name: str, begun: Path | None) -> Plan:
        """GgufError if the file's first bytes show that it is no model."""
        size = self._file.size_bytes
        here = size if self._local else min(size, _size(begun / _FILE) if begun else 0)
        refuse_parts(self._head.metadata, self._what)
        shape = _shape(self._head)
        ctx = default_context(shape) if shape else None
        licensed = self.licensed(name)
        return Plan(
            name=name,
            repo=self._repo.id,
            revision=self._repo.commit,
            target=self.target,
            converts=False,
            files=(PlannedFile(self._file.name, size, here),),
            model_bytes=size,
            licence=licensed.licence_name or licensed.licence,
            written_bytes=here,
            ctx=ctx,
            memory=needed(shape, size, ctx) if shape and ctx else None,
            available_bytes=available_bytes(),
            disk_free_bytes=free_bytes(home()),
        )

    def fetch(self, folder: Path, name: ModelName, source: str, show_work: ShowWork) -> tuple[Path, Converted]:
        file = folder / _TAKEN
        if self._local is None or not self._took(self._local, file, show_work):
            file = folder / _FILE
            self._download(file, name, show_work)
        header = read_header(file, self._what)
        check_model(header, self._what)
        target = quant_of(self._file.name) or target_of(header, self._file.name)
        named = ModelName(name.name, name.tag or self.target)
        return file, Converted(manifest_of_header(header, named, target, self._sha256, source, self._known(str(name))))

    @cached_property
    def _head(self) -> LeadingKeys:
        return _read_head(self._hub, self._repo, self._file, self._local)

    def _download(self, file: Path, name: ModelName, show_work: ShowWork) -> None:
        with contextlib.suppress(OSError):
            if not file.is_symlink():
                file.chmod(0o644)  # a kill while it was put into the store has left it complete and read-only
        with show_work(f"fetching {name}") as work:
            begun, total = _size(file), self._file.size_bytes

            def on_bytes(done: int) -> None:
                (work.found if done <= begun else work.update)(done, total, "")

            self._hub.download(self._repo, self._file, file, on_bytes)

    def _took(self, local: Path, file: Path, show_work: ShowWork) -> bool:
        """Whether another program's file found its place here, and is what the hub has; else nothing is left of it."""
        from minichat.place import place

        done, total = 0, self._file.size_bytes
        try:
            file.unlink(missing_ok=True)
            with show_work(f"taking {local}") as work:

                def on_bytes(n_bytes: int) -> None:
                    nonlocal done
                    done += n_bytes
                    work.update(min(done, total), total, "")

                place(local, file)
                if sha256_of(file, on_bytes) == self._sha256:
                    return True
            show_work.note(f"{local} is not what it should be: fetching the file from the hub")
        except BrokenPipeError:  # whoever is told of the progress has left
            raise
        except OSError as error:
            show_work.note(f"{local} cannot be used ({error.strerror}): fetching the file from the hub")
        file.unlink(missing_ok=True)
        return False

    def _known(self, name: str) -> Known:
        entry, licensed = self._wanted.entry, self.licensed(name)
        return Known(
            repo=self._repo.id,
            revision=self._repo.commit,
            licence=licensed.licence,
            licence_name=licensed.licence_name,
            template=entry.template if entry else None,
            temperature=entry.temperature if entry else None,
        )


def compare(hub: Hub, repo: Repo, files: Iterable[str], name: str) -> Grid:
    """The quantizations among the GGUF files of a repo, the smallest first. All are of one model, as its head tells.

    DataError for several files at one quantization, and if there are only parts of files.
    """
    chosen = {quant: repo.file(file) for quant, file in by_quant(repo.id, files).items()}
    chosen = dict(sorted(chosen.items(), key=lambda pair: (pair[1].size_bytes, pair[0])))
    first = next(iter(chosen.values()))
    shape = _shape(_read_head(hub, repo, first, None))
    sizes = {quant: file.size_bytes for quant, file in chosen.items()}
    return Grid(name, shape, sizes, available_bytes(), free_bytes(home()))


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


def _shape(head: LeadingKeys) -> Shape | None:
    return shape_of_metadata(head.metadata, head.lengths.get(TOKENS_KEY))


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
    if (named := next((m for m in store.models() if m.blob == blob and store.has_file(m)), None)) is not None:
        return Path(store.linked(named) or store.path(named))
    if (found := elsewhere.find_blob(sha256, file.size_bytes)) is not None:
        return found
    name = file.name.rsplit("/", 1)[-1]
    return next((other.file for other in elsewhere.of_size(file.size_bytes) if other.path.name == name), None)
