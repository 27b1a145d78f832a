"""What models and sessions take on the disk, and what of it nobody needs: `minichat du`, `minichat prune`.

Four things are left over: partial work, which somebody may still take up; folders, manifests, states and pictures that
a killed process was writing; files that no name stands for; states and pictures of sessions that are gone. What a
process is at now is never removed. While there is a manifest that cannot be read, files without a name are kept, for it
may be theirs; and so are pictures, while there is a session that cannot be read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convert.publish import storage_errors
from minichat.folders import disk_bytes, newest_change_s, unlink
from minichat.store import Store
from minichat.working import Partial, partials, remove_unheld

if TYPE_CHECKING:
    from minichat.sessions import Sessions
    from minichat.warm import State

Kind = Literal["partial work", "half-written", "without a name", "without a session", "state of a session"]


@dataclass(frozen=True)
class Kept:
    """What a model takes. size_bytes: of its files; own_bytes: of them, on the store's disk, 0 if it is used in place.

    shared_with: other names that stand for the same file. linked: where another program keeps it. problem: what is
    wrong with the files, None if nothing is. projector_bytes: of size_bytes, what it reads pictures with.
    """

    name: str
    size_bytes: int
    own_bytes: int
    shared_with: tuple[str, ...]
    linked: str | None
    problem: str | None
    projector_bytes: int = 0


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
    """What is in a store, and beside the sessions. models_bytes counts a shared file once.

    n_damaged: manifests that cannot be read. n_states: sessions that need not be read again, thanks to states_bytes.
    n_pictures: that are in sessions, of pictures_bytes.
    """

    root: Path
    models: tuple[Kept, ...]
    models_bytes: int
    leftovers: tuple[Leftover, ...]
    n_damaged: int
    n_states: int = 0
    states_bytes: int = 0
    n_pictures: int = 0
    pictures_bytes: int = 0

    @property
    def leftovers_bytes(self) -> int:
        return sum(leftover.size_bytes for leftover in self.leftovers)


def du(store: Store, sessions: Sessions | None = None) -> Usage:
    """Nothing is changed, and nothing made."""
    models, kept = store.models(), []
    for m in models:
        shared = tuple(other.full_name for other in models if other.blob == m.blob and other != m)
        own = sum(disk_bytes(store.blob(file)) for file in m.files)
        problem = store.problem(m)
        kept.append(Kept(m.full_name, m.total_bytes, own, shared, store.linked(m), problem, m.projector_bytes))
    own_bytes = {path: disk_bytes(path) for m in models for path in map(store.blob, m.files)}
    left, models_bytes, n_damaged = tuple(leftovers(store, sessions)), sum(own_bytes.values()), len(store.damaged())
    states = _needed(sessions) if sessions is not None else []
    gone = {leftover.path for leftover in left}
    pictures = [one for one in sessions.pictures.all() if one.path not in gone] if sessions is not None else []
    return Usage(
        store.root,
        tuple(kept),
        models_bytes,
        left,
        n_damaged,
        n_states=len(states),
        states_bytes=sum(state.size_bytes for state in states),
        n_pictures=len(pictures),
        pictures_bytes=sum(picture.size_bytes for picture in pictures),
    )


def leftovers(store: Store, sessions: Sessions | None = None) -> list[Leftover]:
    """All that is left over, what is in use too; partial work first, what is beside the sessions last."""
    found = [_working("partial work", work) for work in partials(store.root / "partial")]
    found += [_working("half-written", work) for work in partials(store.root / "incoming")]
    found += [_file("half-written", path) for path in store.half_written()]
    found += [_file("without a name", path) for path in store.unnamed()]
    return found + ([*_states_left(sessions), *_pictures_left(sessions)] if sessions is not None else [])


def prune(
    store: Store, sessions: Sessions | None = None, *, all_states: bool = False, dry_run: bool = False
) -> list[Leftover]:
    """Removes what is left over and in nobody's use. What was removed, or with `dry_run` what would be.

    all_states: also those of sessions that are there. Raises StorageError if the store cannot be written.
    """
    doomed = [leftover for leftover in leftovers(store, sessions) if not leftover.in_use]
    if sessions is not None and all_states:
        doomed += [_state("state of a session", state) for state in _needed(sessions)]
    if dry_run or not doomed:
        return doomed
    with storage_errors(store.root):
        for state in doomed:
            if sessions is not None and state.path.parent in (sessions.warm.folder, sessions.pictures.folder):
                unlink(state.path)
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


def _needed(sessions: Sessions) -> list[State]:
    """The states of sessions that are there."""
    names = set(sessions.names())
    return [state for state in sessions.warm.states() if state.name in names and not state.is_part]


def _states_left(sessions: Sessions) -> list[Leftover]:
    names, warm = set(sessions.names()), sessions.warm
    found = [_state("half-written", state, warm.is_at_work(state)) for state in warm.states() if state.is_part]
    gone = [state for state in warm.states() if state.name not in names and not state.is_part]
    return found + [_state("without a session", state) for state in gone]


def _pictures_left(sessions: Sessions) -> list[Leftover]:
    """Pictures that no session has. One that was kept a moment ago may be that of a session yet to be written."""
    pictures = sessions.pictures.all()
    try:
        named = sessions.pictures_named() if pictures else set()
    except OSError:
        return []
    return [
        Leftover(
            "without a session" if picture.digest else "half-written",
            picture.path.name,
            picture.path,
            picture.size_bytes,
            picture.changed_s,
            picture.is_young,
        )
        for picture in pictures
        if picture.digest not in named
    ]


def _state(kind: Kind, state: State, in_use: bool = False) -> Leftover:
    return Leftover(kind, state.path.name, state.path, state.size_bytes, state.used_s, in_use)
