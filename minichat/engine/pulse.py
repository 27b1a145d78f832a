"""Whether the engine's process still lives, told without a clock that could run on while the machine sleeps.

Who waits for the engine asks once a second: a tick. It counts the ticks without a word from the process, so a laptop
that was suspended, or a front that was stopped itself, has waited one tick and no more. From the second one on the
process is pinged, and the thread that reads its requests answers whatever the other one computes. It is stuck if

    it is stopped (SIGSTOP, a debugger), or has answered before, and in ten ticks one after the other it used no
    processor at all, touched no new page, and did not wait for a disk: nothing that works slowly looks like that; or
    it did work, and answered nothing in five minutes: then something keeps Python's lock for ever.

Where the system tells nothing of a process (no /proc), only the second rule holds, after one minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TICK_S = 1.0
PING_AFTER = 2  # ticks
STILL_TICKS = 10
MUTE_TICKS = 300
UNKNOWN_TICKS = 60
_STOPPED, _WAITS_FOR_DISK = "Tt", "D"


@dataclass(frozen=True)
class Signs:
    """What the system tells of a process. state: its letter in `ps`; work: grows with processor time and page faults.

    work: (clock ticks of the processor, minor faults, major faults).
    """

    state: str
    work: tuple[int, int, int]

    @classmethod
    def parse(cls, stat: str) -> Signs:
        """The line of /proc/PID/stat, whose second field is a name in brackets that may hold anything.

        >>> Signs.parse("7 (a) b) T 1 7 7 0 -1 0 20 0 3 0 11 5 0 0 20 0 2 0 99")
        Signs(state='T', work=(16, 20, 3))
        """
        fields = stat.rpartition(")")[2].split()
        return cls(fields[0], (int(fields[11]) + int(fields[12]), int(fields[7]), int(fields[9])))


def read_signs(process: int) -> Signs | None:
    """None where the system does not tell, or there is no such process."""
    try:
        return Signs.parse(Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, IndexError):
        return None


class Pulse:
    """The ticks since the last word. `heard` may come from another thread."""

    def __init__(self) -> None:
        self._has_spoken = False
        self.quiet()

    def quiet(self) -> None:
        """A wait begins: what was before it does not count."""
        self.silent = self._still = 0  # ticks
        self._last: Signs | None = None

    def heard(self) -> None:
        """The process said something."""
        self._has_spoken = True
        self.silent = self._still = 0

    def tick(self, signs: Signs | None) -> str | None:
        """One more second of silence, with what the system tells of the process now; what is wrong if it is stuck."""
        self.silent += 1
        if signs is None:
            return _says_nothing(self.silent) if self.silent >= UNKNOWN_TICKS and self._has_spoken else None
        is_stopped = signs.state in _STOPPED
        may_be_still = is_stopped or (self._has_spoken and signs.state not in _WAITS_FOR_DISK)
        if may_be_still and self._last is not None and signs.work == self._last.work:
            self._still += 1
        else:
            self._still = 0
        self._last = signs
        if self._still >= STILL_TICKS:
            return f"it {'was stopped by a signal' if is_stopped else 'did nothing'} for {self._still} s"
        return _says_nothing(self.silent) if self.silent >= MUTE_TICKS else None


def _says_nothing(ticks: int) -> str:
    return f"it did not answer for {ticks} s"
