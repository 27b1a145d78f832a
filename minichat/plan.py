"""What a pull would do, told before the first byte: what is fetched, what lies on the disk then, what memory it takes.

Data in, text out. `show_plan` tells of one pull, `show_grid` compares quantizations and contexts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

from minichat.memory import Needed, Shape, needed
from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_bytes

_LINE_BYTES_PER_S = 100e6 / 8  # a line of 100 Mbit/s, by which a person may reckon
_CONTEXTS = (4096, 8192, 32768, 131072)
_SHORT_REVISION = 12
_MARK = " *"


@dataclass(frozen=True)
class PlannedFile:
    """A file that is wanted from the hub. here_bytes of it are on this machine already."""

    name: str
    size_bytes: int
    here_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """One pull. All sizes in bytes, ctx in tokens; None for what is not known.

    target: the quantization, "q4_K_M". converts: whether a checkpoint is quantized as it arrives; else the file that
    is fetched is the model. model_bytes: the model's files when all is done. written_bytes: what of that is written
    already by a pull that was interrupted. memory: what the model takes with a context of ctx tokens. licence: as it
    is to be shown. sees: whether it comes with what it reads pictures with.
    """

    name: str
    repo: str
    revision: str | None
    target: str
    converts: bool
    files: tuple[PlannedFile, ...]
    model_bytes: int
    licence: str | None = None
    written_bytes: int = 0
    ctx: int | None = None
    memory: Needed | None = None
    available_bytes: int | None = None
    disk_free_bytes: int | None = None
    sees: bool = False

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def fetch_bytes(self) -> int:
        """What is yet to come."""
        return sum(max(0, file.size_bytes - file.here_bytes) for file in self.files)

    @property
    def fits_memory(self) -> bool | None:
        """Whether the memory that is free now is enough; None if either is not known."""
        if self.memory is None or self.available_bytes is None:
            return None
        return self.memory.total <= self.available_bytes

    @property
    def fits_disk(self) -> bool | None:
        if self.disk_free_bytes is None:
            return None
        return self.model_bytes - self.written_bytes <= self.disk_free_bytes


@dataclass(frozen=True)
class Grid:
    """The quantizations of a model over contexts. sizes: of the file in bytes, by target ("q4_K_M").

    shape: None where nothing is known of it; then only sizes are compared.
    """

    name: str
    shape: Shape | None
    sizes: Mapping[str, int]
    available_bytes: int | None = None
    disk_free_bytes: int | None = None

    @property
    def contexts(self) -> tuple[int, ...]:
        """The contexts to compare, in tokens: the usual ones, and the longest that the model was trained for."""
        if self.shape is None:
            return ()
        longest = self.shape.context_length
        return (*(ctx for ctx in _CONTEXTS if ctx < longest), longest)

    def memory(self, target: str, ctx: int) -> int:
        """Bytes that the model takes in all, with one of `contexts`."""
        if self.shape is None:
            raise ValueError("there are no contexts without a shape")
        return needed(self.shape, self.sizes[target], ctx).total


def show_plan(plan: Plan, as_json: bool, stream: IO[str] | None = None) -> None:
    """The plan of a pull: on standard output, if nothing else is said."""
    stream = stream or sys.stdout
    if as_json:
        print_json(_plan_facts(plan), stream)
        return
    revision = (plan.revision or "")[:_SHORT_REVISION]
    lines = {
        "model": plan.name,
        "source": " @ ".join(filter(None, (plan.repo, revision))),
        "licence": plan.licence,
        "pictures": "it reads them" if plan.sees else None,
        "fetch": _fetching(plan),
        "disk": _disk(plan),
        "memory": _memory(plan),
    }
    tables.print_fields([(name, value) for name, value in lines.items() if value], stream)


def show_grid(grid: Grid, as_json: bool, stream: IO[str] | None = None) -> None:
    """What each quantization takes on the disk, and in memory at several contexts; what fits is marked."""
    stream = stream or sys.stdout
    if as_json:
        print_json(_grid_facts(grid), stream)
        return
    rows = []
    for target, size in grid.sizes.items():
        disk = format_bytes(size) + _mark(size, grid.disk_free_bytes)
        needs = (grid.memory(target, ctx) for ctx in grid.contexts)
        rows.append((target, disk, *(format_bytes(need) + _mark(need, grid.available_bytes) for need in needs)))
    blank = " " * len(_MARK)  # so that titles stand above numbers, not above marks
    titles = ("QUANT", f"DISK{blank}", *(f"{ctx:,}{blank}" for ctx in grid.contexts))
    memory = ", and memory at contexts of so many tokens" if grid.contexts else "; the files do not tell of memory"
    say(f"{clean_line(grid.name)}: disk{memory}", stream=stream)
    tables.print_table(titles, rows, stream, right=range(1, len(titles)))
    free = [(grid.disk_free_bytes, "disk"), (grid.available_bytes if grid.contexts else None, "memory")]
    if told := " and ".join(f"{format_bytes(count)} of {what}" for count, what in free if count is not None):
        say(f"{_MARK.strip()} fits into what is free now: {told}", stream=stream)


def _fetching(plan: Plan) -> str:
    """How much comes, how long it takes, and what becomes of it."""
    count = len(plan.files)
    here = plan.total_bytes - plan.fetch_bytes
    parts = [f"{count} file{'s' * (count != 1)}, {format_bytes(plan.total_bytes)}"]
    if here:
        parts.append(f"of them {format_bytes(here)} are here" if plan.fetch_bytes else "all here")
    if plan.fetch_bytes:
        parts.append(f"{in_words(plan.fetch_bytes / _LINE_BYTES_PER_S)} at 100 Mbit/s")
    if plan.converts:
        parts.append(f"quantized to {plan.target} as they arrive")
    return ", ".join(parts)


def _disk(plan: Plan) -> str:
    taken = format_bytes(plan.model_bytes)
    if plan.disk_free_bytes is None:
        return taken
    verdict = "fits" if plan.fits_disk else "does not fit"
    return f"{taken} when done, {format_bytes(plan.disk_free_bytes)} free: {verdict}"


def _memory(plan: Plan) -> str | None:
    if plan.memory is None:
        return None
    context = f" with a context of {plan.ctx:,} tokens" if plan.ctx else ""
    text = f"{format_bytes(plan.memory.total)}{context}"
    if plan.available_bytes is None:
        return text
    verdict = "fits" if plan.fits_memory else "does not fit (`--plan` compares quantizations)"
    return f"{text}, {format_bytes(plan.available_bytes)} free: {verdict}"


def _mark(size: int, free: int | None) -> str:
    return _MARK if free is not None and size <= free else " " * len(_MARK)


def _plan_facts(plan: Plan) -> dict[str, Any]:
    memory = asdict(plan.memory) | {"total": plan.memory.total} if plan.memory else None
    return asdict(plan) | {
        "memory": memory,
        "total_bytes": plan.total_bytes,
        "fetch_bytes": plan.fetch_bytes,
        "fits_disk": plan.fits_disk,
        "fits_memory": plan.fits_memory,
    }


def _grid_facts(grid: Grid) -> dict[str, Any]:
    def fits(size: int, free: int | None) -> bool | None:
        return None if free is None else size <= free

    def cell(target: str, ctx: int) -> dict[str, Any]:
        need = grid.memory(target, ctx)
        return {"ctx": ctx, "memory_bytes": need, "fits": fits(need, grid.available_bytes)}

    return {
        "name": grid.name,
        "available_bytes": grid.available_bytes,
        "disk_free_bytes": grid.disk_free_bytes,
        "quantizations": [
            {
                "target": target,
                "model_bytes": size,
                "fits_disk": fits(size, grid.disk_free_bytes),
                "contexts": [cell(target, ctx) for ctx in grid.contexts],
            }
            for target, size in grid.sizes.items()
        ],
    }


def in_words(duration_s: float) -> str:
    """A time to come, as roughly as it can be foretold.

    >>> in_words(20), in_words(75), in_words(1140), in_words(3900)
    ('less than a minute', '1 minute', '19 minutes', '1 h 5 min')
    """
    minutes = round(duration_s / 60)
    if duration_s < 60:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{minutes // 60} h {minutes % 60} min"
