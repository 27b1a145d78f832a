"""How much memory this process holds, held at most, and can have besides.

Linux: VmRSS and VmHWM of /proc/self/status; weights that are mapped count as far as they have been read. macOS: what
the kernel tells of the task, and getrusage's peak. Elsewhere nothing is told.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import sys
from pathlib import Path

from minichat.machine import available_bytes, budget_bytes

_PROC_PIDTASKINFO, _TASK_INFO_BYTES = 4, 96  # of macOS's sys/proc_info.h; the resident size is the second uint64
_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r--. \S+ \S+ \d+ +(/.*)$", re.MULTILINE)
_LINE = re.compile(r"^(VmRSS|VmHWM|RssFile):\s*(\d+) kB$", re.MULTILINE)


def memory() -> tuple[int, int]:
    """(resident, at most) in bytes; zeros where the system does not tell."""
    try:
        return _macos() if sys.platform == "darwin" else in_status(_status())
    except (OSError, AttributeError):
        return 0, 0


def spare_bytes() -> int | None:
    """What this process can take besides what it has; None where the system does not tell.

    Linux counts the pages of a mapped file as free, for it could drop them. The weights are such pages: what takes
    their place is paid for with reading them from the disk again, for every token.
    """
    if (budget := budget_bytes()) is not None:
        return max(0, budget - memory()[0])
    free = available_bytes()
    if free is None or not sys.platform.startswith("linux"):
        return free
    try:
        return max(0, free - mapped_in(_status()))
    except OSError:
        return free


def let_go(path: Path) -> None:
    """Takes the pages of a mapped file out of this process, for those to come back that are used (Linux).

    llama.cpp maps the whole file and reads it once. Of what it then rearranges for this CPU's kernels it has a copy,
    and the pages behind that are never looked at again: for a model in q4_K_M, half the file. They would count as
    weights that have to stay. What is needed again comes from the system's cache, without the disk.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL(None)
        for begin, end in mapped_at(Path("/proc/self/maps").read_text(errors="replace"), os.path.realpath(path)):
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
    except (OSError, AttributeError):
        pass


def mapped_at(maps: str, path: str) -> list[tuple[int, int]]:
    """Where a file is mapped to be read: addresses, from and to.

    >>> lines = "7f00-7f80 r--s 00000000 fe:00 12 /a model.gguf\\n7f80-7f90 rw-p 00000000 00:00 0 \\n"
    >>> mapped_at(lines, "/a model.gguf"), mapped_at(lines, "/model.gguf")
    ([(32512, 32640)], [])
    """
    return [(int(begin, 16), int(end, 16)) for begin, end, mapped in _MAPPED.findall(maps) if mapped == path]


def in_status(text: str) -> tuple[int, int]:
    """
    >>> in_status("Name:\\tx\\nVmHWM:\\t    20 kB\\nVmRSS:\\t    10 kB\\n")
    (10240, 20480)
    """
    found = _sizes(text)
    return found.get("VmRSS", 0), found.get("VmHWM", 0)


def mapped_in(text: str) -> int:
    """Bytes of mapped files that are in memory.

    >>> mapped_in("RssAnon:\\t    20 kB\\nRssFile:\\t    10 kB\\n")
    10240
    """
    return _sizes(text).get("RssFile", 0)


def _sizes(text: str) -> dict[str, int]:
    return {name: 1024 * int(kib) for name, kib in _LINE.findall(text)}


def _status() -> str:
    return Path("/proc/self/status").read_text()


def _macos() -> tuple[int, int]:
    import resource

    info = (ctypes.c_uint64 * (_TASK_INFO_BYTES // 8))()
    libc = ctypes.CDLL(None)
    read = libc.proc_pidinfo(os.getpid(), _PROC_PIDTASKINFO, ctypes.c_uint64(0), info, _TASK_INFO_BYTES)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(info[1]) if read == _TASK_INFO_BYTES else 0, most
