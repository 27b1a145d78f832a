"""GPUs that the system tells of, and the advice to use one."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

from minichat import doctor, hardware
from minichat.hardware import Gpu, build_command, gpus

NVIDIA, AMD, INTEL, VIRTUAL = "0x10de", "0x1002", "0x8086", "0x1af4"
CPU_BUILD = {"gpu_offload": False, "backends": ["CPU"], "devices": []}


@pytest.fixture(autouse=True)
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(hardware, "_CUDA_FOLDER", Path("/nowhere"))


def machine(root: Path, *devices: tuple[str, str, str], models: tuple[str, ...] = ()) -> Path:
    """devices: (place on the bus, vendor, class)."""
    for place, vendor, kind in devices:
        folder = root / "sys" / "bus" / "pci" / "devices" / place
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    for number, model in enumerate(models):
        folder = root / "proc" / "driver" / "nvidia" / "gpus" / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 16\n")
    return root


def test_a_machine_without_one(tmp_path: Path) -> None:
    assert gpus(tmp_path) == []
    audio, screen = ("0000:00:1f.3", INTEL, "0x040300"), ("0000:00:02.0", VIRTUAL, "0x030000")
    assert gpus(machine(tmp_path, audio, screen, ("0000:00:03.0", INTEL, "0x030000"))) == []


def test_what_is_on_the_bus(tmp_path: Path) -> None:
    on_the_bus = [("0000:01:00.0", NVIDIA, "0x030200"), ("0000:02:00.0", AMD, "0x030000")]
    found = gpus(machine(tmp_path, *on_the_bus, ("0000:03:00.0", INTEL, "0x038000")))
    assert [(gpu.name, gpu.kind) for gpu in found] == [
        ("an NVIDIA GPU", "CUDA"),
        ("an AMD GPU", "Vulkan"),
        ("an Intel GPU", "Vulkan"),
    ]


def test_the_driver_knows_the_name(tmp_path: Path) -> None:
    found = gpus(machine(tmp_path, ("0000:01:00.0", NVIDIA, "0x030200"), models=("NVIDIA H200", "NVIDIA L4")))
    assert found == [Gpu("NVIDIA H200", "CUDA"), Gpu("NVIDIA L4", "CUDA")]


def test_other_signs_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "usr" / "lib" / "wsl" / "lib" / "libcuda.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    assert gpus(tmp_path) == [Gpu("an NVIDIA GPU", "CUDA")]
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else None)
    assert gpus(tmp_path / "nowhere") == [Gpu("an NVIDIA GPU", "CUDA")]


@pytest.mark.parametrize(("processor", "found"), [("arm64", [Gpu("Apple's GPU", "Metal")]), ("x86_64", [])])
def test_macs(monkeypatch: pytest.MonkeyPatch, processor: str, found: list[Gpu]) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: processor)
    assert gpus() == found


def test_advice_is_a_command_for_the_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Gpu("NVIDIA \x1b[31mH200", "CUDA")]
    said, command = doctor.advice(found, CPU_BUILD, "0.3.36")
    assert "\x1b" not in said
    assert said.endswith("To build it for CUDA, once the CUDA toolkit (nvcc) and a C++ compiler are installed:")
    assert command == f"  {build_command('CUDA', '0.3.36')}"
    assert "-DGGML_CUDA=on" in command
    assert command.endswith(" llama-cpp-python==0.3.36")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert doctor.advice(found, CPU_BUILD, None)[0].endswith("To build it for CUDA:")


def test_no_advice_where_none_is_needed() -> None:
    found = [Gpu("NVIDIA H200", "CUDA")]
    assert doctor.advice([], CPU_BUILD, "0.3.36") == []
    assert doctor.advice(found, {**CPU_BUILD, "gpu_offload": True}, "0.3.36") == []
    assert doctor.advice(found, {**CPU_BUILD, "error": "the engine died"}, "0.3.36") == []


def test_a_command_for_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_command("Metal", None, "darwin").startswith("CMAKE_ARGS=-DGGML_METAL=on ")
    assert build_command("Vulkan", "1", "win32").startswith('$env:CMAKE_ARGS="-DGGML_VULKAN=on"; ')
    monkeypatch.setattr("sys.executable", r"C:\Program Files\Python\python.exe")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    assert r'"; & "C:\Program Files\Python\python.exe" -m pip install ' in build_command("CUDA", None, "win32")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert r' uv pip install --python "C:\Program Files\Python\python.exe" ' in build_command("CUDA", None, "win32")
    assert build_command("CUDA", None).endswith(" llama-cpp-python")


def test_examples() -> None:
    assert doctest.testmod(hardware).failed == 0
    assert doctest.testmod(doctor).failed == 0
