"""What llama.cpp was built with and what it finds on this machine, for `minichat doctor` and for what fits."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from minichat.engine import binding

if TYPE_CHECKING:
    from minichat.fit import Device

_KINDS = ("CPU", "GPU", "integrated GPU", "accelerator")
_METAL = ("Metal", "MTL")


def describe() -> dict[str, Any]:
    """{"llama-cpp-python": version, "system": features, "gpu_offload": bool, "devices": [...]}; memory in bytes."""
    import importlib.metadata

    c = binding.load()
    c.llama_backend_init()
    return {
        "llama-cpp-python": importlib.metadata.version("llama-cpp-python"),
        "system": c.llama_print_system_info().decode(errors="replace").strip(),
        "gpu_offload": bool(c.llama_supports_gpu_offload()),
        "backends": _backends(c),
        "devices": _devices(c),
    }


def gpus(c: Any) -> list[Device]:
    """The GPUs that llama.cpp would put layers on, with what is free of their memory now."""
    from minichat.fit import Device

    if not c.llama_supports_gpu_offload():
        return []
    found = [device for device in _devices(c) if "GPU" in device["kind"]]
    own = [device for device in found if device["kind"] == "GPU"]  # llama.cpp leaves integrated ones out beside these
    return [
        Device(
            name=device["name"],
            free_bytes=device["free_bytes"],
            is_unified=device["kind"] != "GPU" or device["name"].startswith(_METAL),
        )
        for device in own or found
    ]


def _backends(c: Any) -> list[str]:
    """The names of what this build can compute with: CPU, CUDA, Metal, Vulkan …"""
    lib = c._lib
    lib.ggml_backend_reg_count.restype = ctypes.c_size_t
    lib.ggml_backend_reg_get.argtypes, lib.ggml_backend_reg_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    lib.ggml_backend_reg_name.argtypes, lib.ggml_backend_reg_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    found = (lib.ggml_backend_reg_get(index) for index in range(lib.ggml_backend_reg_count()))
    return [lib.ggml_backend_reg_name(backend).decode(errors="replace") for backend in found]


def _devices(c: Any) -> list[dict[str, Any]]:
    """ggml's devices (ggml-backend.h). Their functions are not in the Python bindings, but in a library that libllama
    is linked with, where the same handle finds them."""
    lib = c._lib
    lib.ggml_backend_dev_count.restype = ctypes.c_size_t
    lib.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    lib.ggml_backend_dev_get.restype = ctypes.c_void_p
    for function in (lib.ggml_backend_dev_name, lib.ggml_backend_dev_description):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_char_p
    lib.ggml_backend_dev_type.argtypes, lib.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    size_p = ctypes.POINTER(ctypes.c_size_t)
    lib.ggml_backend_dev_memory.argtypes, lib.ggml_backend_dev_memory.restype = [ctypes.c_void_p, size_p, size_p], None
    found = []
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        lib.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = lib.ggml_backend_dev_type(device)
        found.append(
            {
                "name": lib.ggml_backend_dev_name(device).decode(errors="replace"),
                "description": lib.ggml_backend_dev_description(device).decode(errors="replace"),
                "kind": _KINDS[kind] if 0 <= kind < len(_KINDS) else "device",
                "free_bytes": free.value,
                "total_bytes": total.value,
            }
        )
    return found
