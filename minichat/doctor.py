"""`minichat doctor`: versions, what llama.cpp was built with, devices, memory, folders; and what would be quicker."""

from __future__ import annotations

import platform
import re
import sys
from typing import TYPE_CHECKING, Any

from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minichat.hardware import Gpu

_PACKAGES = ("minichat", "llama-cpp-python", "numpy", "numba", "tiktoken", "rich", "prompt-toolkit", "typer")
_FEATURE = re.compile(r"(\w+) = 1\b")


def show_doctor(as_json: bool) -> None:
    """Prints it all. An engine that cannot be started is one of the facts."""
    facts = _facts()
    if as_json:
        print_json(facts)
        return
    tables.print_fields(_rows(facts), sys.stdout)
    for line in facts["advice"]:
        say(line)


def advice(gpus: Sequence[Gpu], engine: Mapping[str, Any], version: str | None) -> list[str]:
    """How to have llama.cpp use a GPU that is here and that it was not built for; empty where there is nothing to gain.

    engine: what `minichat.engine.devices.describe` tells.
    """
    from minichat.hardware import build_command, missing_tool

    if not gpus or engine.get("error") or engine.get("gpu_offload"):
        return []
    gpu = gpus[0]
    missing = missing_tool(gpu.kind)
    first = f", once {missing} and a C++ compiler are installed" if missing else ""
    return [
        f"There is {clean_line(gpu.name)}, and this build of llama.cpp computes on the CPU. To build it for "
        f"{gpu.kind}{first}:",
        f"  {build_command(gpu.kind, version)}",
    ]


def cpu_features(system: str) -> list[str]:
    """The instructions that llama.cpp was built for and this processor has, of what llama.cpp says of its system.

    >>> cpu_features("CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | OPENMP = 1 | ")
    ['SSE3', 'AVX2', 'OPENMP']
    """
    return _FEATURE.findall(system)


def _facts() -> dict[str, Any]:
    from dataclasses import asdict

    from minichat.engine.client import Engine
    from minichat.hardware import gpus
    from minichat.home import home
    from minichat.housekeeping import du
    from minichat.machine import available_bytes, free_bytes
    from minichat.settings_file import config_path
    from minichat.store import Store
    from quant.errors import EngineError

    engine: dict[str, Any] = {"devices": [], "backends": [], "gpu_offload": False}
    try:
        with Engine(None) as started:
            engine = started.describe()
    except EngineError as error:
        engine["error"] = str(error)
    usage, found = du(Store.default()), gpus()
    packages = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages,
        "engine": {**engine, "cpu_features": cpu_features(engine.get("system", ""))},
        "gpus": [asdict(gpu) for gpu in found],
        "memory_free_bytes": available_bytes(),
        "folder": str(home()),
        "settings": str(config_path()),
        "settings_exist": config_path().exists(),
        "disk_free_bytes": free_bytes(home()),
        "models": len(usage.models),
        "models_bytes": usage.models_bytes,
        "advice": advice(found, engine, packages["llama-cpp-python"]),
    }


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    engine = facts["engine"]
    rows = [("python", f"{facts['python']} on {facts['system']}")]
    rows += [(name, version or "not installed") for name, version in facts["packages"].items()]
    if "error" in engine:
        rows.append(("engine", engine["error"]))
    rows.append(("backends", ", ".join(map(clean_line, engine["backends"])) or "none"))
    rows.append(("cpu features", ", ".join(engine["cpu_features"]) or "none told"))
    for device in engine["devices"]:
        free = f"{format_bytes(device['free_bytes'])} free of " if device["kind"] != "CPU" else ""  # "memory" tells
        memory = f"{free}{format_bytes(device['total_bytes'])}"
        rows.append(("device", f"{device['name']}: {device['description']} ({device['kind']}), {memory}"))
    rows += [("gpu", f"{clean_line(gpu['name'])} ({gpu['kind']})") for gpu in facts["gpus"]]
    rows += [
        ("gpu offload", "yes" if engine["gpu_offload"] else "no: this build of llama.cpp computes on the CPU"),
        ("memory", _free(facts["memory_free_bytes"], " for a model")),
        ("folder", f"{facts['folder']}, {_free(facts['disk_free_bytes'])}"),
        ("models", f"{facts['models']}, {format_bytes(facts['models_bytes'])}"),
        ("settings", facts["settings"] + ("" if facts["settings_exist"] else ", not there yet")),
    ]
    return rows


def _free(count: int | None, what: str = "") -> str:
    return f"{format_bytes(count)} free{what}" if count is not None else "not told by the system"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
