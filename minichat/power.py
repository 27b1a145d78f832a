"""Whether this machine runs on its battery. What cannot be told counts as mains. Standard library only."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

_SUPPLIES = Path("/sys/class/power_supply")
_WAIT_S = 2.0


def is_on_battery() -> bool:
    """Whether it does, as the system tells: /sys on Linux, pmset on macOS, GetSystemPowerStatus on Windows."""
    try:
        if sys.platform == "darwin":
            told = subprocess.run(
                ["/usr/bin/pmset", "-g", "batt"], capture_output=True, timeout=_WAIT_S, check=False
            ).stdout
            return b"'Battery Power'" in told
        return _windows() if sys.platform == "win32" else _linux(_SUPPLIES)
    except (OSError, AttributeError, ValueError, subprocess.SubprocessError):
        return False


def _linux(folder: Path) -> bool:
    """No supply from outside is on, and a battery of the machine itself (not a mouse's) gives power."""
    supplies = [
        {name: _read(supply / name) for name in ("type", "online", "status", "scope")} for supply in _in(folder)
    ]
    batteries = [one for one in supplies if one["type"] == "Battery" and one["scope"] != "Device"]
    is_fed = any(one["type"] != "Battery" and one["online"] == "1" for one in supplies)
    return not is_fed and any(battery["status"] == "Discharging" for battery in batteries)


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _windows() -> bool:
    status = (ctypes.c_ubyte * 12)()  # SYSTEM_POWER_STATUS: ACLineStatus is its first byte
    windll = getattr(ctypes, "windll")  # noqa: B009  (elsewhere ctypes has none)
    return bool(windll.kernel32.GetSystemPowerStatus(status)) and status[0] == 0
