"""What the engine had read of a session when that was left: FOLDER/NAME.kv, beside the sessions.

With it a session goes on without being read again. All of it can be computed anew: a file that is missing, damaged or
of another model costs time and nothing else, so nothing here ever stops a chat. It tells as much as the session itself
does: the folder is the user's alone (0700), and so is each file (0600). All together keep to a quota; what was used
longest ago goes first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quant.errors import MinichatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minichat.engine.client import Engine

SUFFIX, PART = ".kv", ".kv.part"
QUOTA_BYTES = 8 * 10**9
_GIVEN_UP_S = 3600
_SHARE = 4  # at most this part of what the disk has to give


@dataclass(frozen=True)
class State:
    """One file. name: of its session; used_s: when it was last used, since 1970; is_part: it was never finished."""

    name: str
    path: Path
    size_bytes: int
    used_s: float
    is_part: bool = False


class Warm:
    """The states in one folder, which need not exist yet."""

    def __init__(self, folder: Path, quota_bytes: int = QUOTA_BYTES) -> None:
        self.folder = folder
        self._quota_bytes = quota_bytes

    @classmethod
    def among(cls, sessions: Path, quota_gb: int | None = None) -> Warm:
        """Those of the sessions in that folder. quota_gb: as somebody has chosen it."""
        return cls(sessions / "warm", QUOTA_BYTES if quota_gb is None else quota_gb * 10**9)

    def path_of(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def offer(self, engine: Engine, name: str) -> None:
        """Has the engine begin its next prompt with what is kept of a session, if anything is."""
        path = self.path_of(name)
        if self._quota_bytes and path.is_file():
            engine.restore(path)

    def keep(self, engine: Engine, name: str) -> None:
        """Keeps what the engine has read, for the session of that name. Never raises for what disk or engine do."""
        try:
            with contextlib.suppress(OSError, MinichatError):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if engine.save(self.path_of(name), self._limit_bytes()):
                    self._trim(spared=name)
        except BaseException:  # a Ctrl-C: the engine is about to be ended in the middle of the file
            with contextlib.suppress(OSError):
                (self.folder / f"{name}{PART}").unlink()
            raise

    def rename(self, old: str, new: str) -> None:
        """The session has another name now."""
        with contextlib.suppress(OSError):
            self.path_of(old).replace(self.path_of(new))

    def forget(self, name: str) -> None:
        """The session is gone."""
        with contextlib.suppress(OSError):
            self.path_of(name).unlink()

    def states(self) -> Sequence[State]:
        """What is kept, the one that was used last first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                suffix = next((end for end in (PART, SUFFIX) if entry.name.endswith(end)), None)
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if suffix is not None and stat.S_ISREG(status.st_mode):
                        name, path = entry.name.removesuffix(suffix), self.folder / entry.name
                        found.append(State(name, path, status.st_size, status.st_mtime, suffix == PART))
        return sorted(found, key=lambda state: state.used_s, reverse=True)

    def is_at_work(self, part: State) -> bool:
        """Whether an engine may still be writing a file that is not finished."""
        return part.used_s >= time.time() - _GIVEN_UP_S

    def _limit_bytes(self) -> int:
        """What all may take together: the quota, or less on a disk that has little to give."""
        taken = sum(state.size_bytes for state in self.states())
        return min(self._quota_bytes, (shutil.disk_usage(self.folder).free + taken) // _SHARE)

    def _trim(self, spared: str) -> None:
        """Removes what was used longest ago until the rest keeps to the quota, and parts given up. `spared` stays."""
        limit, taken = self._limit_bytes(), 0
        for state in sorted(self.states(), key=lambda state: state.name != spared):
            taken += state.size_bytes
            is_given_up = state.is_part and not self.is_at_work(state)
            if state.name != spared and (is_given_up or (taken > limit and not state.is_part)):
                state.path.unlink()
                taken -= state.size_bytes
