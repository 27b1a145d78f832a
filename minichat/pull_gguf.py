"""Fetch a ready GGUF file from the hub, or take it from another program's folder on this disk.

What the model reads pictures with comes along, if the repo has it in a file beside: at float16 if nothing else is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.gguf_file import LeadingKeys, read_header
from minichat.gguf_model import TOKENS_KEY, Known, check_model, manifest_of_header, refuse_parts, target_of
from minichat.gguf_names import by_quant, choose_projector, is_projector, quant_of, told_target
from minichat.home import home
from minichat.hub_gguf import HubGguf
from minichat.licences import Licensed
from minichat.machine import available_bytes, free_bytes
from minichat.making import NO_PROJECTOR, Converted
from minichat.manifest import ModelName
from minichat.memory import Shape, default_context, needed, shape_of_metadata
from minichat.plan import Grid, Plan, PlannedFile
from minichat.projectors import check_fits, check_sound, projector_of
from minichat.work import ShowWork
from quant.errors import DataError

if TYPE_CHECKING:
    from minichat.hub.lookup import Repo
    from minichat.hub.transfer import Hub
    from minichat.wanted import Wanted

_UNTOLD = "gguf"  # the tag of a file that does not tell how it is quantized before it is here


class GgufSource:
    """One GGUF file of a repo, and what it reads pictures with. projector: at which quantization; None: at the best
    that there is, "none": without."""

    def __init__(self, hub: Hub, repo: Repo, file: str, wanted: Wanted, projector: str | None = None) -> None:
        self._hub, self._repo, self._wanted = hub, repo, wanted
        self._file = HubGguf(hub, repo, repo.file(file))
        self._asked = projector
        self._projector, remark = _find_projector(hub, repo, self._file, projector)
        self.remarks = [remark] if remark else []

    @cached_property
    def target(self) -> str:
        return quant_of(self._file.name) or told_target(self._file.head.metadata) or _UNTOLD

    @property
    def stamp(self) -> str:
        return self._file.sha256 + (f"+{self._projector.sha256}" if self._projector else "")

    @property
    def sees(self) -> bool:
        return self._projector is not None

    def licensed(self, name: str) -> Licensed:
        """By the catalog, else by what the hub has read out of the card."""
        entry, repo = self._wanted.entry, self._repo
        return Licensed(name, entry.licence if entry else repo.licence, repo.licence_name, repo.id)

    def plan(self, name: str, begun: Path | None) -> Plan:
        """GgufError if the file's first bytes show that it is no model."""
        refuse_parts(self._file.head.metadata, self._file.what)
        files = tuple(PlannedFile(file.name, file.size_bytes, file.here_bytes(begun)) for file in self._files)
        size = sum(file.size_bytes for file in files)
        shape = _shape(self._file.head)
        ctx = default_context(shape) if shape else None
        licensed = self.licensed(name)
        return Plan(
            name=name,
            repo=self._repo.id,
            revision=self._repo.commit,
            target=self.target,
            converts=False,
            files=files,
            model_bytes=size,
            licence=licensed.licence_name or licensed.licence,
            written_bytes=sum(file.here_bytes for file in files),
            ctx=ctx,
            memory=needed(shape, size, ctx) if shape and ctx else None,
            available_bytes=available_bytes(),
            disk_free_bytes=free_bytes(home()),
            sees=self.sees,
        )

    def fetch(
        self, folder: Path, name: ModelName, source: str, show_work: ShowWork
    ) -> tuple[Path, Path | None, Converted]:
        file = self._file.fetch(folder, f"fetching {name}", show_work)
        header = read_header(file, self._file.what)
        check_model(header, self._file.what)
        target = quant_of(self._file.name) or target_of(header, self._file.name)
        named = ModelName(name.name, name.tag or self.target)
        made = manifest_of_header(header, named, target, self._file.sha256, source, self._known(str(name)))
        made = replace(made, source_stamp=self.stamp)
        if self._projector is None:
            return file, None, Converted(made)
        projector = self._fetched_projector(self._projector, folder, header.metadata, show_work)
        if projector is not None:
            blob, size_bytes = f"sha256-{self._projector.sha256}", self._projector.size_bytes
            made = replace(made, projector=blob, projector_bytes=size_bytes)
        return file, projector, Converted(made)

    @property
    def _files(self) -> list[HubGguf]:
        return [self._file, *filter(None, (self._projector,))]

    def _fetched_projector(
        self, file: HubGguf, folder: Path, model: Mapping[str, Any], show_work: ShowWork
    ) -> Path | None:
        """What the model reads pictures with; None, with a remark, for a file that turns out to be of no use."""
        path = file.fetch(folder, f"fetching {file.name}", show_work)
        try:
            check_sound(path, model, self._file.name, file.what)
        except DataError as error:
            if self._asked is not None:
                raise
            show_work.note(f"text only: {error}")
            path.unlink()
            return None
        return path

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


def compare(hub: Hub, repo: Repo, files: Iterable[str], name: str, projector: str | None = None) -> Grid:
    """The quantizations among the GGUF files of a repo, the smallest first, with what reads pictures. All are of one
    model, as its head tells.

    DataError for several files at one quantization, and if there are only parts of files.
    """
    chosen = {quant: repo.file(file) for quant, file in by_quant(repo.id, files).items()}
    chosen = dict(sorted(chosen.items(), key=lambda pair: (pair[1].size_bytes, pair[0])))
    first = HubGguf(hub, repo, next(iter(chosen.values())))
    shape = _shape(first.head)
    besides, _ = _find_projector(hub, repo, first, projector)
    more = besides.size_bytes if besides is not None else 0
    sizes = {quant: file.size_bytes + more for quant, file in chosen.items()}
    return Grid(name, shape, sizes, available_bytes(), free_bytes(home()))


def _find_projector(hub: Hub, repo: Repo, model: HubGguf, quant: str | None) -> tuple[HubGguf | None, str | None]:
    """What a model reads pictures with, and a remark. DataError if it is not there as asked for.

    Without being asked for it is left out, with a remark, if it is not one that the model can be seen to go with.
    """
    names = [file.name for file in repo.files if file.name.lower().endswith(".gguf")]
    if quant == NO_PROJECTOR or not any(map(is_projector, names)):
        return None, None
    chosen = choose_projector(model.name, names, quant)
    if chosen is None:
        there = ", ".join(sorted(filter(is_projector, names)))
        if quant is not None:
            raise DataError(f"{repo.id} has nothing to read pictures with at {quant}; it has {there}")
        return None, f"text only: which of {there} belongs to {model.name} cannot be told"
    try:
        file = HubGguf(hub, repo, repo.file(chosen), "projector")
        check_fits(projector_of(file.head.metadata, file.what), file.what, model.head.metadata, model.name)
    except DataError as error:
        if quant is not None:
            raise
        return None, f"text only: {error}"
    return file, None


def _shape(head: LeadingKeys) -> Shape | None:
    return shape_of_metadata(head.metadata, head.lengths.get(TOKENS_KEY))
