"""`minichat search WORD`: the catalog's models first, then the hub's.

Without a network, or with a hub that refuses, the catalog's are shown, and one line on stderr says why there are no
others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from minichat.catalog import Catalog, Entry
from minichat.template import VERSIONS
from minichat.terminal import tables
from minichat.terminal.output import print_error, print_json, say
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_parameters
from quant.errors import DataError, NetworkError, UsageError

_LIMIT = 20  # repos of the hub
_MAX_CELL = 96  # characters: as long as the hub lets a repo's name be


class Found(Protocol):
    """A repo that the hub names: `minichat.hub.lookup.Found`."""

    @property
    def id(self) -> str: ...
    @property
    def downloads(self) -> int: ...
    @property
    def licence(self) -> str | None: ...
    @property
    def gated(self) -> bool: ...
    @property
    def has_gguf(self) -> bool: ...
    @property
    def has_safetensors(self) -> bool: ...
    @property
    def parameters(self) -> int | None: ...


_FIELDS = ("id", "downloads", "licence", "gated", "has_gguf", "has_safetensors", "parameters")
AskHub = Callable[[str, int], Sequence[Found]]


@dataclass(frozen=True)
class Results:
    """What was found. `problem`: why the hub did not answer; None if it did, or was not asked."""

    entries: list[Entry]
    repos: list[Found]
    problem: str | None = None


def find(word: str, catalog: Catalog, ask_hub: AskHub) -> Results:
    """Looks for models by any part of their names. A blank `word` means the whole catalog, and nothing else.

    ask_hub: (word, limit) -> repos, `minichat.hub.lookup.search`. Of its repos, those that the catalog names, and those
    without weights that minichat reads, are left out.
    """
    entries = catalog.search(word)
    if not word.strip():
        return Results(entries, [])
    try:
        found = ask_hub(word.strip(), _LIMIT)
    except (NetworkError, DataError, UsageError) as error:
        return Results(entries, [], str(error))
    known = {entry.repo.lower() for entry in entries}
    usable = (repo for repo in found if repo.has_gguf or repo.has_safetensors)
    return Results(entries, [repo for repo in usable if repo.id.lower() not in known])


def show(word: str, results: Results, as_json: bool) -> None:
    """The results on standard output; that there are none, and what was wrong, on stderr."""
    rows = [*map(_entry_row, results.entries), *map(_repo_row, results.repos)]
    if as_json:
        print_json(_facts(results))
    elif rows:
        tables.print_table(
            ("NAME", "PARAMETERS", "CONTEXT", "LICENCE", "WHAT IT IS"),
            rows,
            sys.stdout,
            right=(1, 2),
            wraps=(4,),
            drop=(2, 1),
        )
    if results.problem is not None:
        print_error(f"the hub was not searched: {results.problem}")
    elif not as_json and not rows:
        say(f"no model has {clean_line(word)[:_MAX_CELL]!r} in its name, here or on the hub", stream=sys.stderr)


def _entry_row(entry: Entry) -> tuple[str, ...]:
    unknown = "" if entry.template in (None, *VERSIONS) else "`run` is still to learn its template"
    sees = "it reads pictures" if entry.sees_images else ""
    told = "; ".join(filter(None, (entry.description, sees, unknown)))
    context = f"{entry.context_length // 1024}k" if entry.context_length >= 1024 else str(entry.context_length)
    return (entry.short_name, format_parameters(entry.parameters), context, entry.licence, told)


def _repo_row(repo: Found) -> tuple[str, ...]:
    kinds = [kind for has, kind in ((repo.has_gguf, "GGUF files"), (repo.has_safetensors, "checkpoint")) if has]
    told = ", ".join([*kinds, f"{repo.downloads:,} downloads", *(["asks for a login"] if repo.gated else [])])
    parameters = format_parameters(repo.parameters) if repo.parameters else ""
    return (repo.id[:_MAX_CELL], parameters, "", (repo.licence or "unknown")[:_MAX_CELL], told)


def _facts(results: Results) -> dict[str, Any]:
    return {
        "catalog": [asdict(entry) | {"name": entry.short_name} for entry in results.entries],
        "hub": [{key: getattr(repo, key) for key in _FIELDS} for repo in results.repos],
        "problem": results.problem,
    }
