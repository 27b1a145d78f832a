"""How much memory this process holds, and held at most.

Linux: VmRSS and VmHWM of /proc/self/status; weights that are mapped count as far as they have been read. macOS: what
the kernel tells of the task, and getrusage's peak. Elsewhere nothing is told.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

_PROC_PIDTASKINFO, _TASK_INFO_BYTES = 4, 96  # of macOS's sys/proc_info.h; the resident size is the second uint64
_LINE = re.compile(r"^(VmRSS|VmHWM):\s*(\d+) kB$", re.MULTILINE)


def memory() -> tuple[int, int]:
    """(resident, at most) in bytes; zeros where the system does not tell."""
    try:
        return _macos() if sys.platform == "darwin" else in_status(Path("/proc/self/status").read_text())
    except (OSError, AttributeError):
        return 0, 0


def in_status(text: str) -> tuple[int, int]:
    """
    >>> in_status("Name:\\tx\\nVmHWM:\\t    20 kB\\nVmRSS:\\t    10 kB\\n")
    (10240, 20480)
    """
    found = {name: 1024 * int(kib) for name, kib in _LINE.findall(text)}
    return found.get("VmRSS", 0), found.get("VmHWM", 0)


def _macos() -> tuple[int, int]:
    import resource

    info = (ctypes.c_uint64 * (_TASK_INFO_BYTES // 8))()
    libc = ctypes.CDLL(None)
    read = libc.proc_pidinfo(os.getpid(), _PROC_PIDTASKINFO, ctypes.c_uint64(0), info, _TASK_INFO_BYTES)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(info[1]) if read == _TASK_INFO_BYTES else 0, most
