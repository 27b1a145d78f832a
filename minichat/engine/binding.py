"""llama-cpp-python's functions, without its classes.

`import llama_cpp` runs the whole package: the `Llama` class, chat formats, Jinja and numpy, 0.17 s on a laptop. The
engine calls C functions only, and they stand in the submodule `llama_cpp.llama_cpp`, which needs none of that and is
here in 0.03 s. So the package is entered into `sys.modules` as a bare namespace with its search path. That holds for a
whole process: only the engine's may do it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def load() -> Any:
    """The module of llama.cpp's C functions. Raises ImportError if llama-cpp-python is not installed or broken."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None and sys.flags.no_site:  # the engine is started without what some installations need
            import site

            site.main()
            spec = importlib.util.find_spec("llama_cpp")
        if spec is None:
            raise ImportError("llama-cpp-python is not installed")
        package = ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations or ())
        package.__spec__ = spec
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


def load_mtmd() -> Any:
    """The module of libmtmd's C functions, which read pictures. Raises ImportError as `load` does."""
    load()
    return importlib.import_module("llama_cpp.mtmd_cpp")
