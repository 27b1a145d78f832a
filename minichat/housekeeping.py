"""What the store takes on the disk, and what of it nobody needs: `minichat du`, `minichat prune`.

Three things are left over: partial work, which somebody may still take up; folders and manifests that a killed process
was writing; files that no name stands for. What a process is at now is never removed. While there is a manifest that
cannot be read, files without a name are kept, for it may be theirs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convert.publish import storage_errors
from minichat.folders import disk_bytes, newest_change_s, unlink
from minichat.store import Store
from minichat.working import Partial, partials, remove_unheld

Kind = Literal["partial work", "half-written", "without a name"]


@dataclass(frozen=True)
class Kept:
    """What a model takes. size_bytes: the file's; own_bytes: of them, on the store's disk, 0 if it is used in place.

    shared_with: other names that stand for the same file. linked: where another program keeps it. problem: what is
    wrong with the file, None if nothing is.
    """

    name: str
    size_bytes: int
    own_bytes: int
    shared_with: tuple[str, ...]
    linked: str | None
    problem: str | None


@dataclass(frozen=True)
class Leftover:
    """What nobody needs. changed_s: when it was last changed, since 1970. in_use: whether somebody is at it now."""

    kind: Kind
    name: str
    path: Path
    size_bytes: int
    changed_s: float
    in_use: bool = False


@dataclass(frozen=True)
class Usage:
    """What is in a store. models_bytes counts a shared file once; n_damaged: manifests that cannot be read."""

    root: Path
    models: tuple[Kept, ...]
    models_bytes: int
    leftovers: tuple[Leftover, ...]
    n_damaged: int

    @property
    def leftovers_bytes(self) -> int:
        return sum(leftover.size_bytes for leftover in self.leftovers)


def du(store: Store) -> Usage:
    """Nothing is changed, and nothing made."""
    models, kept = store.models(), []
    for m in models:
        shared = tuple(other.full_name for other in models if other.blob == m.blob and other != m)
        own = disk_bytes(store.blob(m))
        kept.append(Kept(m.full_name, m.size_bytes, own, shared, store.linked(m), store.problem(m)))
    own_bytes = {m.blob: one.own_bytes for m, one in zip(models, kept, strict=True)}
    return Usage(store.root, tuple(kept), sum(own_bytes.values()), tuple(leftovers(store)), len(store.damaged()))


def leftovers(store: Store) -> list[Leftover]:
    """All that is left over, what is in use too; partial work first."""
    found = [_working("partial work", work) for work in partials(store.root / "partial")]
    found += [_working("half-written", work) for work in partials(store.root / "incoming")]
    found += [_file("half-written", path) for path in store.half_written()]
    return found + [_file("without a name", path) for path in store.unnamed()]


def prune(store: Store, *, dry_run: bool = False) -> list[Leftover]:
    """Removes what is left over and in nobody's use. What was removed, or with `dry_run` what would be.

    Raises StorageError if the store cannot be written.
    """
    doomed = [leftover for leftover in leftovers(store) if not leftover.in_use]
    if dry_run or not doomed:
        return doomed
    with storage_errors(store.root):
        for kind in ("partial", "incoming"):
            if (store.root / kind).is_dir():
                remove_unheld(store.root / kind)
    with store.changing():
        for path in (*store.half_written(), *store.unnamed()):  # looked for again: they may have got a name
            unlink(path)
    return [leftover for leftover in doomed if not os.path.lexists(leftover.path)]


def _working(kind: Kind, work: Partial) -> Leftover:
    return Leftover(kind, work.name, work.path, work.size_bytes, work.changed_s, work.in_use)


def _file(kind: Kind, path: Path) -> Leftover:
    return Leftover(kind, path.name, path, disk_bytes(path), newest_change_s(path))
