"""How much memory this machine has left for a model, and how much room its disks have.

Linux: MemAvailable of /proc/meminfo, or less where a control group (a container, a service) allows less.
macOS: free and inactive pages. Windows: what GlobalMemoryStatusEx calls available. MINICHAT_MEMORY ("12G") in the
environment says how much a model may take, whatever the system tells.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from quant.errors import UsageError

_MAX_TEXT_BYTES = 1 << 20
_HOST_VM_INFO64 = 4
_VM_INFO_INTS = 64  # more than any version of vm_statistics64 has
_BUDGET = "MINICHAT_MEMORY"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def budget_bytes(text: str | None = None) -> int | None:
    """What a model may take in all, as the environment says; None if it does not. UsageError for what is no size.

    >>> budget_bytes("12G"), budget_bytes("1.5 gb"), budget_bytes("")
    (12000000000, 1500000000, None)
    """
    told = (os.environ.get(_BUDGET, "") if text is None else text).strip()
    if not told:
        return None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?)B?", told.upper(), re.ASCII)
    if match is None:
        raise UsageError(f"{_BUDGET} is {told[:40]!r}: give a size, such as 12G")
    return int(float(match[1]) * _UNITS[match[2]])


def available_bytes() -> int | None:
    """Bytes that new processes can take without pushing others out; None if the system does not tell."""
    if (budget := budget_bytes()) is not None:
        return budget
    try:
        if sys.platform == "darwin":
            return _macos()
        return _windows() if sys.platform == "win32" else _linux(Path("/"))
    except (OSError, AttributeError, ValueError):
        return None


def free_bytes(folder: Path) -> int | None:
    """Free space on the disk of a folder, or of the nearest one above it that is there; None if it cannot be told."""
    try:
        return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free
    except (OSError, StopIteration):
        return None


def _linux(root: Path) -> int | None:
    """`root` is where /proc and /sys are."""
    lines = _text(root / "proc" / "meminfo").splitlines()
    told = [_int(line.split()[1]) for line in lines if line.startswith("MemAvailable:") and len(line.split()) > 1]
    free = [1024 * kib for kib in told if kib is not None]
    free += [left for folder, names in _groups(root) if (left := _left_in_group(folder, names)) is not None]
    return min(free, default=None)


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The control groups that this process is in, up to the root, with the names of their files: limit and use,
    and how those of the numbers of its statistics begin.

    A group's path, as a container sees it, may be one that it cannot see: then the root's own files tell.
    """
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            top, names = mounted, ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            top, names = mounted / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for count in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:count]), names


def _left_in_group(folder: Path, names: tuple[str, str, str]) -> int | None:
    """What a control group may still take; None where nothing bounds it. Cached files give way."""
    limit, used = _int(_text(folder / names[0])), _int(_text(folder / names[1]))
    if limit is None or used is None:
        return None
    pairs = (line.split() for line in _text(folder / "memory.stat").splitlines())
    files = {f"{names[2]}{kind}_file" for kind in ("active", "inactive")}  # a model that was read before, too
    cached = sum(_int(pair[1]) or 0 for pair in pairs if len(pair) == 2 and pair[0] in files)
    return max(0, limit - used + min(cached, used))


def _macos() -> int | None:
    """host_statistics64 of <mach/mach_host.h>; its record begins with the pages that are free, active and inactive."""
    lib = ctypes.CDLL(None)
    lib.mach_host_self.restype = ctypes.c_uint
    values, count, page = (ctypes.c_uint * _VM_INFO_INTS)(), ctypes.c_uint(_VM_INFO_INTS), ctypes.c_ulong()
    host = ctypes.c_uint(lib.mach_host_self())
    if lib.host_page_size(host, ctypes.byref(page)):
        return None
    if lib.host_statistics64(host, ctypes.c_int(_HOST_VM_INFO64), values, ctypes.byref(count)):
        return None
    return int(page.value) * (values[0] + values[2])


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of <sysinfoapi.h>."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load_percent", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _windows() -> int | None:
    if sys.platform != "win32":  # so that type checkers elsewhere pass over what only Windows has
        return None
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    told = ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available) if told else None


def _text(path: Path) -> str:
    """A small file's text; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT_BYTES).decode("ascii", "replace")
    except OSError:
        return ""


def _int(text: str) -> int | None:
    """
    >>> _int(" 4096\\n"), _int("max")
    (4096, None)
    """
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
