"""Make a model of a checkpoint on the hub: its weights are quantized as they arrive, and never lie on this disk.

What describes the checkpoint (config, index, card, and at last the tokenizer) is fetched whole. The weights are read by
ranges, from front to back, straight into the converter (`convert.pipeline`); what another program's cache holds is read
from there. The work survives interruptions: the next try goes on with the next rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convert.checkpoint import open_checkpoint, wanted_files
from convert.config import read_config
from convert.pipeline import convert, projector_bytes, sizes
from convert.provenance import MRL, MRL_NAME, MRL_NOTICE, find_provenance
from convert.publish import storage_errors
from convert.report import CHECKING
from convert.resume import on_disk, written
from convert.sources import SourceMismatch
from minichat.folders import remove_tree
from minichat.home import home
from minichat.hub.transfer import discard
from minichat.hub.weights import RemoteWeights
from minichat.licences import Licensed, terms_of
from minichat.machine import available_bytes, free_bytes
from minichat.making import NO_PROJECTOR, Converted, ConvertOptions, manifest_of, remarks
from minichat.manifest import ModelName
from minichat.memory import default_context, needed, shape_of_config
from minichat.plan import Grid, Plan, PlannedFile
from minichat.wanted import Wanted, refuse_unmade
from minichat.work import Progress as Shown
from minichat.work import ShowWork
from quant.errors import CheckpointError, DataError, NetworkError
from quant.types import PROJECTOR_NAMES

if TYPE_CHECKING:
    from convert.provenance import Provenance
    from convert.report import Progress, Report
    from minichat.hub.lookup import RemoteFile, Repo
    from minichat.hub.transfer import Hub

_FILE, _PROJECTOR = "model.gguf", "projector.gguf"
_COMPARED = ("q4_K_M", "q5_K_M", "q6_K", "q8_0", "fp16")  # by `--plan`
_TRIES = 3  # of a file whose bytes are not those that the hub promised


class Work:
    """How far a pull is, in bytes that came from the hub, or from another place that has them."""

    def __init__(self, shown: Shown, files: Sequence[RemoteFile]) -> None:
        self._shown, self._total = shown, sum(file.size_bytes for file in files)
        self._before: dict[str, int] = {}  # bytes of the files that are fetched whole

    def fetching(self, file: RemoteFile, done_bytes: int) -> None:
        others = sum(size for name, size in self._before.items() if name != file.name)
        self._shown.update(others + done_bytes, self._total, file.name)

    def fetched(self, file: RemoteFile) -> None:
        self._before[file.name] = file.size_bytes

    def converting(self, at: Progress) -> None:
        show = self._shown.found if at.tensor == CHECKING else self._shown.update
        show(sum(self._before.values()) + at.source_done_bytes, self._total, at.hint or at.tensor)


class CheckpointSource:
    """A checkpoint in a repo. Its description is fetched when this is made: some hundred kilobytes."""

    def __init__(self, hub: Hub, repo: Repo, wanted: Wanted, options: ConvertOptions) -> None:
        from minichat.elsewhere import find_blob

        self._hub, self._repo, self._wanted, self._options = hub, repo, wanted, options
        self.target = refuse_unmade(wanted)
        try:
            small, weights = wanted_files(file.name for file in repo.files)
        except CheckpointError as error:
            raise CheckpointError(f"{repo.id} cannot be converted: {error}") from error
        self._tokenizers = [repo.file(name) for name in small if _is_tokenizer(name)]
        self._weights = [repo.file(name) for name in weights]
        if unknown := [file.name for file in self._weights if file.sha256 is None]:
            raise DataError(f"{repo.id}: {unknown[0]} has no sha256 on the hub: nobody could check it")
        self._described = {name: hub.fetch(repo, repo.file(name)) for name in small if not _is_tokenizer(name)}
        found = ((file.name, find_blob(file.sha256, file.size_bytes)) for file in self._weights if file.sha256)
        self._local = {name: path for name, path in found if path is not None}
        with tempfile.TemporaryDirectory() as scratch, _told_of(repo, Path(scratch)):
            folder = Path(scratch) / self._described_in
            self._describe(folder)
            for file in self._tokenizers:
                (folder / file.name).touch()  # that there is one is all that a plan asks
            self._provenance = self._find_provenance(folder)
            with self._remote(folder) as files:
                checkpoint = open_checkpoint(folder, files)
                config = read_config(checkpoint.config, checkpoint.params, checkpoint.native)
                self._projector_bytes = projector_bytes(checkpoint, self._projector_type) if self._may_see else 0
                targets = dict.fromkeys((*_COMPARED, self.target))
                self._sizes = {t: size + self._projector_bytes for t, size in sizes(checkpoint, targets).items()}
                self._shape = shape_of_config(config)

    @property
    def _may_see(self) -> bool:
        return self._options.projector != NO_PROJECTOR

    @property
    def _projector_type(self) -> str:
        return self._options.projector or PROJECTOR_NAMES[0]

    @property
    def stamp(self) -> str:
        """The card and the licence may change without another model; so may the converter, for a pull is dear."""
        files = (*map(self._repo.file, self._described), *self._tokenizers, *self._weights)
        matter = [file for file in files if file.name.endswith((".json", ".safetensors")) or _is_tokenizer(file.name)]
        parts = [self.target, self._options.search, self._options.template]
        parts += [f"mmproj {self._projector_type}"] if self.sees else []
        parts += sorted(f"{file.name} {file.sha256 or file.git_oid}" for file in matter)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def sees(self) -> bool:
        return self._projector_bytes > 0

    @property
    def remarks(self) -> Sequence[str]:
        return ()

    def licensed(self, name: str) -> Licensed:
        """By the model's own files, else by the catalog, else by what the hub has read out of the card."""
        told, entry, repo = self._provenance, self._wanted.entry, self._repo
        licence = told.licence or (entry.licence if entry else repo.licence)
        return Licensed(name, licence, told.licence_name or repo.licence_name, repo.id)

    def plan(self, name: str, begun: Path | None) -> Plan:
        made = [begun / _FILE, begun / _PROJECTOR][: 1 + self.sees] if begun else []
        held, done = (on_disk(*made), written(*made)) if made else (0, 0)
        model_bytes = self._sizes[self.target]
        consumed = int(sum(file.size_bytes for file in self._weights) * min(1.0, done / model_bytes))
        described = begun / self._described_in if begun else None
        files = [
            PlannedFile(
                file.name,
                file.size_bytes,
                file.size_bytes if described and _is_whole(described / file.name, file) else 0,
            )
            for file in self._tokenizers
        ]
        for file in self._weights:
            here = min(consumed, file.size_bytes)
            consumed -= here
            files.append(PlannedFile(file.name, file.size_bytes, file.size_bytes if file.name in self._local else here))
        ctx = default_context(self._shape)
        return Plan(
            name=name,
            repo=self._repo.id,
            revision=self._repo.commit,
            target=self.target,
            converts=True,
            files=tuple(files),
            model_bytes=model_bytes,
            licence=self.licensed(name).licence_name or self.licensed(name).licence,
            written_bytes=held,
            ctx=ctx,
            memory=needed(self._shape, model_bytes, ctx),
            available_bytes=available_bytes(),
            disk_free_bytes=free_bytes(home()),
            sees=self.sees,
        )

    def grid(self, name: str) -> Grid:
        return Grid(name, self._shape, self._sizes, available_bytes(), free_bytes(home()))

    def fetch(
        self, folder: Path, name: ModelName, source: str, show_work: ShowWork
    ) -> tuple[Path, Path | None, Converted]:
        report = self.convert(folder, folder / _FILE, folder / _PROJECTOR, f"fetching {name}", show_work)
        licensed = self.licensed(str(name))
        manifest = replace(
            manifest_of(report, name, source, self.stamp),
            repo=self._repo.id,
            revision=self._repo.commit,
            licence=licensed.licence,
            licence_name=licensed.licence_name,
            temperature=self._wanted.entry.temperature if self._wanted.entry else None,
        )
        return report.path, report.projector, Converted(manifest, report)

    def convert(
        self,
        folder: Path,
        destination: Path,
        projector: Path,
        title: str,
        show_work: ShowWork,
        *,
        resumable: bool = True,
    ) -> Report:
        """Makes the GGUF file `destination`, and of a model that sees `projector`, if that is wanted; what describes
        the checkpoint is put into `folder`.

        resumable: go on with what an earlier try left beside the destination, and leave there what this one made.
        """
        described = folder / self._described_in
        self._describe(described)
        with show_work(title) as shown:
            work = Work(shown, [*self._tokenizers, *self._weights])
            report = self._converted(described, destination, projector if self._may_see else None, work, resumable)
        for remark in remarks(report):
            show_work.note(remark)
        return report

    @property
    def _described_in(self) -> Path:
        """Of one commit alone; then as if the repo had been fetched into a folder of its name, which is the model's."""
        return Path(self._repo.commit, self._repo.id.rsplit("/", 1)[-1])

    def _converted(self, described: Path, file: Path, projector: Path | None, work: Work, resumable: bool) -> Report:
        """Converts, and tries again where a file came damaged: from the hub, if it was another program's."""
        entry, options = self._wanted.entry, self._options
        is_base = entry is not None and entry.template is None and options.template == "auto"
        damaged = ""
        for _ in range(_TRIES):
            self._fetch_tokenizers(described, work)
            with self._remote(described) as files:
                try:
                    return convert(
                        described,
                        file,
                        self.target,
                        template="none" if is_base else options.template,
                        threads=options.threads,
                        search=options.search,
                        measure=options.measure,
                        on_progress=work.converting,
                        files=files,
                        provenance=self._provenance,
                        resumable=resumable,
                        projector=projector,
                        projector_type=self._projector_type if self._may_see else PROJECTOR_NAMES[0],
                    )
                except SourceMismatch as error:
                    damaged = error.path.name
                    self._local.pop(damaged, None)
                    error.path.unlink(missing_ok=True)  # a tokenizer; weights are not here
        raise NetworkError(f"{self._repo.id}: {damaged} came {_TRIES} times with another sha256 than the hub tells")

    def _describe(self, folder: Path) -> None:
        with storage_errors(folder):
            for other in folder.parent.parent.iterdir() if folder.parent.parent.is_dir() else ():
                if other.is_dir() and other != folder.parent:  # of another commit
                    remove_tree(other)
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in self._described.items():
                (folder / name).write_bytes(data)

    def _fetch_tokenizers(self, folder: Path, work: Work) -> None:
        """What tells the vocabulary: fetched whole, as large files are, and renamed when it is."""
        for file in self._tokenizers:
            path, part = folder / file.name, folder / f"{file.name}.part"
            if not _is_whole(path, file):
                self._hub.download(self._repo, file, part, partial(work.fetching, file))
                with storage_errors(path):
                    part.replace(path)
                discard(part)
            work.fetched(file)

    @contextlib.contextmanager
    def _remote(self, folder: Path) -> Iterator[RemoteWeights]:
        files = RemoteWeights(self._hub, self._repo, folder, self._local)
        try:
            yield files
        finally:
            files.close()

    def _find_provenance(self, folder: Path) -> Provenance:
        told = {file.name: file.sha256 for file in (*self._weights, *self._tokenizers) if file.sha256}
        found = replace(find_provenance(folder), repo=self._repo.id, revision=self._repo.commit, hub_sha256=told)
        if found.licence is not None:
            return found
        if terms_of(self._repo.licence, self._repo.licence_name) is not None:
            return replace(found, licence=MRL, licence_name=MRL_NAME, notice=MRL_NOTICE)
        return replace(found, licence=self._repo.licence, licence_name=self._repo.licence_name)


@contextlib.contextmanager
def _told_of(repo: Repo, scratch: Path) -> Iterator[None]:
    """Inside, errors of what was fetched into `scratch` name the repo, and not a folder that is gone."""
    try:
        yield
    except CheckpointError as error:
        folder = f"{scratch / repo.id.rsplit('/', 1)[-1]}"
        told = str(error).replace(folder, repo.id)
        raise CheckpointError(told if repo.id in told else f"{repo.id}: {told}") from error


def _is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether a file that got its name when it was complete is there, and is still of that size."""
    try:
        return path.stat().st_size == file.size_bytes
    except OSError:
        return False


def _is_tokenizer(name: str) -> bool:
    return name == "tekken.json" or name.endswith(".model") or ".model.v" in name
