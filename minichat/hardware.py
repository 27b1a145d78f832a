"""GPUs that the system knows of, whatever llama.cpp was built for, and how to build llama.cpp for one.

Linux: the PCI bus; inside Windows' subsystem and where a container hides the bus, NVIDIA's own files. macOS: Apple's
chips have one. Elsewhere only NVIDIA's program tells. Nothing is started, and what is read is bounded.
"""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["CUDA", "Vulkan", "Metal"]

_MAX_BYTES = 4096
_MAX_DEVICES = 256
_DISPLAY = "0x03"  # how the class of PCI devices begins that make pictures, or only compute as those do
_NVIDIA, _AMD, _INTEL = "0x10de", "0x1002", "0x8086"
_NEEDS = {"CUDA": ("nvcc", "the CUDA toolkit"), "Vulkan": ("glslc", "the Vulkan SDK")}
_CUDA_FOLDER = Path("/usr/local/cuda/bin")
_PACKAGE = "llama-cpp-python"


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine, and what llama.cpp is best built with for it."""

    name: str
    kind: Kind


def gpus(root: Path = Path("/")) -> list[Gpu]:
    """The GPUs that are worth computing on; of those that Intel builds into its processors llama.cpp gains nothing.

    root: where /proc, /sys and /dev are.
    """
    if sys.platform == "darwin":
        return [Gpu("Apple's GPU", "Metal")] if platform.machine() == "arm64" else []
    found = _nvidia(root) + _on_the_bus(root)
    if not any(gpu.kind == "CUDA" for gpu in found) and shutil.which("nvidia-smi"):
        found.append(Gpu("an NVIDIA GPU", "CUDA"))
    return found


def build_command(kind: Kind, version: str | None, system: str = sys.platform) -> str:
    """What to type to have llama.cpp built for a GPU, in the Python that runs this program.

    >>> build_command("CUDA", "0.3.36", "linux").partition(" ")[0]
    'CMAKE_ARGS=-DGGML_CUDA=on'
    """
    wanted = f"-DGGML_{kind.upper()}=on"
    has_pip = importlib.util.find_spec("pip") is not None
    python = f'"{sys.executable}"' if system == "win32" else shlex.quote(sys.executable)
    runs = f"& {python}" if system == "win32" else python  # PowerShell takes what is in quotes for a text
    install = f"{runs} -m pip install" if has_pip else f"uv pip install --python {python}"
    forced = "--force-reinstall --no-cache-dir" if has_pip else "--reinstall --no-cache"
    package = f"{_PACKAGE}=={version}" if version else _PACKAGE
    setting = f'$env:CMAKE_ARGS="{wanted}";' if system == "win32" else f"CMAKE_ARGS={wanted}"
    return f"{setting} {install} {forced} --no-deps --no-binary {_PACKAGE} {package}"


def missing_tool(kind: Kind) -> str | None:
    """What has to be installed before that works, in words; None if it is there. A compiler is needed in any case."""
    if kind not in _NEEDS:
        return None
    program, name = _NEEDS[kind]
    is_there = shutil.which(program) or (kind == "CUDA" and (_CUDA_FOLDER / program).exists())
    return None if is_there else f"{name} ({program})"


def _nvidia(root: Path) -> list[Gpu]:
    """The GPUs that NVIDIA's driver tells of."""
    folders = sorted(_entries(root / "proc" / "driver" / "nvidia" / "gpus"))
    names = [_field(_text(folder / "information"), "Model") or "an NVIDIA GPU" for folder in folders]
    if not names and (root / "usr" / "lib" / "wsl" / "lib" / "libcuda.so.1").exists():
        names = ["an NVIDIA GPU"]
    return [Gpu(name, "CUDA") for name in names]


def _on_the_bus(root: Path) -> list[Gpu]:
    has_driver = bool(_nvidia(root))
    found = []
    for device in sorted(_entries(root / "sys" / "bus" / "pci" / "devices")):
        if not _text(device / "class").startswith(_DISPLAY):
            continue
        vendor = _text(device / "vendor").strip()
        if vendor == _NVIDIA and not has_driver:
            found.append(Gpu("an NVIDIA GPU", "CUDA"))
        elif vendor == _AMD:
            found.append(Gpu("an AMD GPU", "Vulkan"))
        elif vendor == _INTEL and not device.name.startswith("0000:00:"):
            found.append(Gpu("an Intel GPU", "Vulkan"))
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())[:_MAX_DEVICES]
    except OSError:
        return []


def _field(text: str, name: str) -> str:
    r"""
    >>> _field("Model: \t NVIDIA H200\nIRQ: 5", "Model")
    'NVIDIA H200'
    """
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
