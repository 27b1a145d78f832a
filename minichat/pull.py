"""`pull`: a model from the hub into the store, whole or not at all.

    the hub's list of files -> which of them, a plan -> a person agrees -> the transfer -> the store

A ready GGUF file is fetched as it is (`minichat.pull_gguf`); a checkpoint is quantized while it arrives
(`minichat.pull_checkpoint`). What ends a pull in its middle, be it Ctrl-C, a kill or a dead line, leaves what has
arrived in the store's folder for partial work, and the next pull of that model goes on from there; a full disk, or
content that is no model, leaves nothing. One process at a time pulls a model; the others wait,
and take what it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minichat.gguf_names import choose_gguf, has_quant, is_gguf
from minichat.making import Converted, ConvertOptions, projector_beside
from minichat.manifest import Manifest, ModelName
from minichat.terminal.units import format_bytes
from minichat.wanted import Wanted, find_here, name_of_repo
from minichat.work import ShowWork
from quant.errors import CheckpointError, DataError, DiskFullError, GgufError, NetworkError, QuantError, StorageError

if TYPE_CHECKING:
    from convert.report import Report
    from minichat.hub.lookup import Repo
    from minichat.hub.transfer import Hub
    from minichat.licences import Licensed
    from minichat.plan import Grid, Plan
    from minichat.store import Store


class Source(Protocol):
    """What a pull fetches: a GGUF file, or a checkpoint. All is decided, and nothing fetched but what describes it."""

    @property
    def target(self) -> str:
        """The quantization of the result."""
        ...

    @property
    def stamp(self) -> str:
        """A fingerprint of the files on the hub that the model is made of."""
        ...

    @property
    def sees(self) -> bool:
        """Whether it comes with what the model reads pictures with."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a person is to be told beforehand."""
        ...

    def licensed(self, name: str) -> Licensed: ...

    def plan(self, name: str, begun: Path | None) -> Plan: ...

    def fetch(
        self, folder: Path, name: ModelName, source: str, show_work: ShowWork
    ) -> tuple[Path, Path | None, Converted]:
        """The GGUF file, made in `folder`, the one that it reads pictures with, and the model that it will be.

        Goes on from what `folder` holds of an earlier try. source: what the manifest is to say of its origin.
        """
        ...


Agree = Callable[["Source", "Plan"], None]


def pull(wanted: Wanted, store: Store, show_work: ShowWork, agree: Agree, options: ConvertOptions) -> Converted:
    """The model, fetched; with the conversion's report, if there was one. `agree` sees the plan before the first byte,
    and raises to stop.

    DataError, NetworkError, StorageError, UsageError; what was in the store before is untouched by all of them.
    """
    from minichat.hub.transfer import Hub

    with Hub() as hub:
        with show_work(f"asking the hub for {wanted.title}") as work:
            work.update(0, 0, "")
            source = find_source(hub, wanted, options)
        here = find_here(store, wanted)
        if here is not None and _is_current(here, source, options):
            _tidy(store, here, show_work)
            store.mend_notices()
            if wanted.name is not None and store.find(wanted.name) != here:
                here = store.copy(ModelName(here.name, here.tag), wanted.name)  # it is here by another name
            show_work.note(f"{here.full_name} is here already, as it is on the hub")
            return Converted(here)
        name = _name(wanted, source, store)
        plan = source.plan(str(name), _partial(store, name))
        _check_disk(plan)
        for remark in source.remarks:
            show_work.note(remark)
        agree(source, plan)
        made = None
        while made is None:
            made = _made(source, wanted, store, name, show_work, options)
            name = _name(wanted, source, store)
    return made


def _made(
    source: Source, wanted: Wanted, store: Store, name: ModelName, show_work: ShowWork, options: ConvertOptions
) -> Converted | None:
    """Fetches under `name`, once nobody else does; None if that is another model's name by then."""
    with store.partial(name, lambda: _note_waiting(name, show_work)) as folder:
        here = find_here(store, wanted)
        if here is not None and _is_current(here, source, options):
            store.discard(folder)
            return Converted(here)
        if _name(wanted, source, store) != name:
            return None
        return _fetched(source, wanted, store, folder, name, show_work)


def _is_current(here: Manifest, source: Source, options: ConvertOptions) -> bool:
    """Whether a model is what would be fetched. One that was found to be unable to see is, unless it is asked to."""
    is_asked = options.projector is not None
    return here.source_stamp == source.stamp and not options.measure and (here.sees or not (is_asked and source.sees))


def make_file(wanted: Wanted, output: Path, show_work: ShowWork, agree: Agree, options: ConvertOptions) -> Report:
    """Makes the GGUF file `output` of a checkpoint on the hub, and of one that sees mmproj-`output` beside it.

    An interruption leaves nothing.
    """
    import tempfile

    from convert.publish import check_place
    from minichat.hub.lookup import look_up
    from minichat.hub.transfer import Hub
    from minichat.pull_checkpoint import CheckpointSource

    check_place(output)
    with Hub() as hub, tempfile.TemporaryDirectory() as scratch:
        repo = look_up(wanted.address.repo, wanted.address.revision)
        source = CheckpointSource(hub, repo, wanted, options)
        agree(source, source.plan(wanted.title, None))
        title = f"converting {repo.id} to {source.target}"
        return source.convert(Path(scratch), output, projector_beside(output), title, show_work, resumable=False)


def find_source(hub: Hub, wanted: Wanted, options: ConvertOptions) -> Source:
    """What is to be fetched for a model: the hub's ready file if there is one, else the checkpoint."""
    from minichat.hub.lookup import look_up
    from minichat.pull_checkpoint import CheckpointSource
    from minichat.pull_gguf import GgufSource

    repo = look_up(wanted.address.repo, wanted.address.revision)
    ready = _ready_files(repo, wanted)
    if not has_quant(ready, wanted.quant) and _is_checkpoint(repo):
        return CheckpointSource(hub, repo, wanted, options)
    if (file := choose_gguf(repo.id, ready, wanted.quant)) is not None:
        return GgufSource(hub, repo, file, wanted, options.projector)
    return CheckpointSource(hub, repo, wanted, options)  # which says what is missing


def find_grid(hub: Hub, wanted: Wanted, options: ConvertOptions) -> Grid:
    """The quantizations that a model could be had at: the hub's ready files, else what could be made."""
    from minichat.hub.lookup import look_up
    from minichat.pull_checkpoint import CheckpointSource
    from minichat.pull_gguf import compare

    repo = look_up(wanted.address.repo, wanted.address.revision)
    if files := _ready_files(repo, wanted):
        return compare(hub, repo, files, wanted.title, options.projector)
    return CheckpointSource(hub, repo, wanted, options).grid(wanted.title)


def _ready_files(repo: Repo, wanted: Wanted) -> list[str]:
    """The GGUF files to choose from; one, if a link leads to it; none, where a model is to be made."""
    if wanted.make:
        return []
    chosen = wanted.address.file
    if chosen is not None and chosen.lower().endswith(".gguf"):
        if not is_gguf(repo.file(chosen).name):
            raise DataError(f"{chosen} is no model of its own, but what one reads images with: link to the model")
        return [chosen]
    return [file.name for file in repo.files if is_gguf(file.name)]


def _is_checkpoint(repo: Repo) -> bool:
    names = {file.name for file in repo.files}
    return not names.isdisjoint(("config.json", "params.json")) and any(name.endswith(".safetensors") for name in names)


def _check_disk(plan: Plan) -> None:
    """DiskFullError if the disk would be full before the model is there."""
    if plan.fits_disk is False:
        needed, free = format_bytes(plan.model_bytes - plan.written_bytes), format_bytes(plan.disk_free_bytes or 0)
        raise DiskFullError(
            f"{plan.name} takes {needed} more of the disk, and {free} are free: `minichat prune` and `minichat rm` "
            "make room, and MINICHAT_HOME names another place"
        )


def _name(wanted: Wanted, source: Source, store: Store) -> ModelName:
    """What the model will be called: the catalog's name, else the repo's; never that of another model here."""
    import hashlib

    if wanted.name is not None:
        return wanted.name
    name = name_of_repo(wanted.address.repo, source.target)
    taken = store.find(name)
    if taken is None or taken.source.lower() == wanted.source.lower():
        return name
    return ModelName(f"{name.name}-{hashlib.sha256(wanted.source.lower().encode()).hexdigest()[:8]}", name.tag)


def _tidy(store: Store, here: Manifest, show_work: ShowWork) -> None:
    """Removes what a pull left that was killed after its model was complete."""
    name = ModelName(here.name, here.tag)
    if _partial(store, name) is not None:
        with store.partial(name, lambda: _note_waiting(name, show_work)) as folder:
            store.discard(folder)


def _fetched(
    source: Source, wanted: Wanted, store: Store, folder: Path, name: ModelName, show_work: ShowWork
) -> Converted:
    """Fetches into `folder` and adds the result to the store; says what is kept of it if that ends too early."""
    before = store.find(name)
    try:
        file, projector, made = source.fetch(folder, name, wanted.source, show_work)
        store.add(file, made.manifest, projector)
        made = replace(made, manifest=store.find(name) or made.manifest)
        store.discard(folder)
    except DiskFullError:  # which nothing is kept of
        raise
    except (NetworkError, StorageError) as error:
        raise type(error)(f"{error}{_kept(folder)}") from error
    except KeyboardInterrupt:
        if told := _kept(folder):
            show_work.note(told.removeprefix("; "))
        raise
    except (CheckpointError, GgufError, QuantError):  # what has come is no model; a hub that refuses may relent
        store.discard(folder)
        raise
    if before is not None and before.source != made.manifest.source:
        show_work.note(f"{before.full_name} is replaced: it was {before.target}, made from {before.source}")
    return made


def _kept(folder: Path) -> str:
    kept = any(path.is_file() for path in folder.rglob("*"))
    return "; what has come is kept: the same command goes on from there" if kept else ""


def _partial(store: Store, name: ModelName) -> Path | None:
    """The folder of an earlier try, if there is one."""
    key = f"{name.name}:{name.tag}".lower()
    return next((partial.path for partial in store.partials() if partial.name.lower() == key), None)


def _note_waiting(name: ModelName, show_work: ShowWork) -> None:
    show_work.note(f"another minichat is pulling {name}: waiting for it (Ctrl-C leaves)")
