"""How the engine's process ended, in a few words: its signal or exit code, and the last thing that it said."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO

_DIAGNOSTICS_BYTES = 4096
_LONGEST = 300  # characters
_MEMORY_WORDS = ("bad_alloc", "MemoryError", "out of memory", "Cannot allocate")


def describe_end(code: int, diagnostics: IO[bytes], kills_before: int | None = None) -> str:
    """One line. code: the exit code, or minus a signal's number; diagnostics: what the process wrote to standard error.

    kills_before: `memory_kills` when the process began.
    """
    last = _last_line(diagnostics)
    how = _signal_name(-code) if code < 0 else f"exit code {code}"
    kills = memory_kills() if code == -signal.SIGKILL else None
    if (kills is not None and kills_before is not None and kills > kills_before) or _names_memory(last):
        how += ", the memory was full (a smaller --ctx or model needs less)"
    return f"{how}, {last}" if last else how


def memory_kills() -> int | None:
    """How many processes this system has killed because memory was full; None where it does not tell."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _last_line(diagnostics: IO[bytes]) -> str:
    diagnostics.seek(0, os.SEEK_END)
    diagnostics.seek(max(0, diagnostics.tell() - _DIAGNOSTICS_BYTES))
    said = diagnostics.read().decode(errors="replace").split("\n")
    lines = (" ".join(line.split()) for line in reversed(said) if line.strip() and not _is_trace(line))
    return next(lines, "")[:_LONGEST]


def _is_trace(line: str) -> bool:
    """Whether this line says where in the code the process was, not what was wrong."""
    return line.startswith(('  File "', "Thread 0x", "Current thread 0x"))


def _names_memory(line: str) -> bool:
    return any(words in line for words in _MEMORY_WORDS)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
