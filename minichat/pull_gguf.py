"""Fetch a ready GGUF file from the hub, or take it from another program's folder on this disk."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from convert.digest import sha256_of
from convert.provenance import MRL, MRL_NAME, MRL_NOTICE
from minichat.gguf_names import quant_of
from minichat.licences import Licensed, terms_of
from minichat.machine import available_bytes, free_bytes
from minichat.making import Converted
from minichat.manifest import DEFAULT_TAG, Manifest, ModelName
from minichat.plan import Grid, Plan, PlannedFile
from minichat.store import home
from minichat.work import ShowWork
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader
    from minichat.hub.lookup import RemoteFile, Repo
    from minichat.hub.transfer import Hub
    from minichat.wanted import Wanted

_FILE = "model.gguf"


class GgufSource:
    """One GGUF file of a repo."""

    def __init__(self, hub: Hub, repo: Repo, file: str, wanted: Wanted) -> None:
        self._hub, self._repo, self._wanted = hub, repo, wanted
        self._file = next(f for f in repo.files if f.name == file)
        if self._file.sha256 is None:
            raise DataError(f"{repo.id}: {file} has no sha256 on the hub: it is no model")
        self._local = _on_this_disk(self._file)

    @property
    def target(self) -> str:
        return quant_of(self._file.name) or self._wanted.quant or DEFAULT_TAG

    @property
    def stamp(self) -> str:
        return self._file.sha256 or ""

    def licensed(self, name: str) -> Licensed:
        entry, repo = self._wanted.entry, self._repo
        return Licensed(name, entry.licence if entry else repo.licence, repo.licence_name, repo.id)

    def plan(self, name: str, partial: Path | None) -> Plan:
        part = partial / _FILE if partial else None
        begun = part.stat().st_size if part and part.is_file() else 0
        here = self._file.size_bytes if self._local else begun
        return Plan(
            name=name,
            repo=self._repo.id,
            revision=self._repo.commit,
            target=self.target,
            converts=False,
            files=(PlannedFile(self._file.name, self._file.size_bytes, min(here, self._file.size_bytes)),),
            model_bytes=self._file.size_bytes,
            licence=self.licensed(name).licence,
            written_bytes=here,
            available_bytes=available_bytes(),
            disk_free_bytes=free_bytes(home()),
        )

    def grid(self, name: str) -> Grid:
        raise UsageError(
            f"{name} is a ready file at {self.target}: there is nothing to choose (--plan is for checkpoints)"
        )

    def fetch(self, folder: Path, name: ModelName, source: str, show_work: ShowWork) -> tuple[Path, Converted]:
        from convert.gguf_file import read_header

        file = folder / _FILE
        if not (self._local and self._took(self._local, file, show_work)):
            self._download(file, name, show_work)
        header = read_header(file)
        return file, Converted(self._manifest(header, name, source))

    def _download(self, file: Path, name: ModelName, show_work: ShowWork) -> None:
        with show_work(f"fetching {name}") as work:
            done, total = 0, self._file.size_bytes

            def on_bytes(n_bytes: int) -> None:
                nonlocal done
                done += n_bytes
                work.update(done, total, "")

            self._hub.download(self._repo, self._file, file, on_bytes)

    def _took(self, local: Path, file: Path, show_work: ShowWork) -> bool:
        """Whether another program's file found its place here, and is what the hub has; else nothing is left of it."""
        from minichat.place import place

        try:
            file.unlink(missing_ok=True)
            with show_work(f"taking {local}") as work:
                done = 0

                def on_bytes(n_bytes: int) -> None:
                    nonlocal done
                    done += n_bytes
                    work.update(min(done, self._file.size_bytes), self._file.size_bytes, "")

                place(local, file)
                if sha256_of(file, on_bytes) == self._file.sha256:
                    return True
            show_work.note(f"{local} is not what it should be: fetching the file from the hub")
        except BrokenPipeError:
            raise
        except OSError as error:
            show_work.note(f"{local} cannot be used ({error.strerror}): fetching the file from the hub")
        file.unlink(missing_ok=True)
        return False

    def _manifest(self, header: GgufHeader, name: ModelName, source: str) -> Manifest:
        def text(key: str) -> str | None:
            value = header.metadata.get(key)
            return value if isinstance(value, str) and 0 < len(value) < 4096 else None

        entry = self._wanted.entry
        architecture = text("general.architecture") or "unknown"
        context = header.metadata.get(f"{architecture}.context_length")
        licensed = self.licensed(str(name))
        binds = terms_of(licensed.licence, licensed.licence_name) is not None
        return Manifest(
            name=name.name,
            tag=name.tag or self.target,
            blob=f"sha256-{self._file.sha256}",
            size_bytes=header.file_bytes,
            target=self.target,
            architecture=architecture,
            template=text("minichat.template") or (entry.template if entry else None),
            parameters=header.parameters,
            context_length=context if type(context) is int and 0 <= context < 1 << 40 else 0,
            source=source,
            source_stamp=self.stamp,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            repo=self._repo.id,
            revision=self._repo.commit,
            licence=MRL if binds else licensed.licence or text("general.license"),
            licence_name=MRL_NAME if binds else text("general.license.name"),
            notice=MRL_NOTICE if binds else text("minichat.notice"),
            temperature=entry.temperature if entry else None,
        )


def _on_this_disk(file: RemoteFile) -> Path | None:
    from minichat.elsewhere import find_blob

    return find_blob(file.sha256, file.size_bytes) if file.sha256 else None
