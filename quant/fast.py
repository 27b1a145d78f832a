"""The compiled kernels, made ready in the background while ggml's do the work.

numba compiles them once for a machine: 7 s of one core and 230 MB, done by a process of its own, which leaves the
code in numba's cache (beside the modules, or in the user's cache folder where that cannot be written) and which can
be ended at any moment. This process then loads the code: 0.4 s and 120 MB, most of it for importing numba.

Whatever goes wrong, ggml's kernels remain: they make the same bytes, six times (Q6_K: four times) more slowly.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from quant import ggml
from quant.types import by_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Kernel = Callable[[NDArray[np.float32], NDArray[np.uint8]], None]
    """weights (n,), n a multiple of 256, -> fills the blocks"""

_GGML_WEIGHTS_PER_S = 15_000_000  # of Q4_K, by one core
# How long ggml would have to work before the compiled kernels pay. Loading costs 0.5 s of a core, compiling 8 s more;
# on two cores, of which the pool uses both, the work that this delays was made up for after 0.8 s, or else after 13 s.
_LOADING_PAYS_S = 0.8
_COMPILING_PAYS_S = 15.0
_FOLDER = Path(__file__).parent
_CACHED = "__pycache__/*.nbi"
_PYTHON = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"  # as numba calls it
_CACHED_LAST = {
    False: f"__pycache__/fast_q6k._quantize-*.{_PYTHON}.nbi",
    True: f"__pycache__/fast_q4k_fine._quantize-*.{_PYTHON}.nbi",
}
_SOURCES = ("fast_q4k.py", "fast_q4k_fine.py", "fast_q6k.py", "lanes.py")


def installed() -> bool:
    """Whether numba is there, which is not imported for that."""
    return importlib.util.find_spec("numba") is not None


def pays(n_weights: int, cores: int) -> bool:
    """Whether so many weights of Q4_K, Q5_K and Q6_K are made sooner with the compiled kernels."""
    ggml_s = n_weights / (_GGML_WEIGHTS_PER_S * cores)
    return ggml_s > (_LOADING_PAYS_S if _is_compiled(False) else _COMPILING_PAYS_S)


class FastKernels:
    """Compiled kernels by name of type ("q4_K"): none at first, all of them once the background is done.

    `fine`: those of Q4_K are the ones that search further than ggml; all others make ggml's bytes.

    The interpreter's exit waits for the background, which notices it, ends the compiling process and stops.
    """

    def __init__(self, fine: bool = False) -> None:
        self._fine = fine
        self.compiled = _is_compiled(fine)
        """Whether they have only to be loaded, and are ready soon."""
        self._ready: Mapping[str, Kernel] = {}
        self._thread = threading.Thread(target=self._prepare, name="fast-kernels")
        self._thread.start()

    def get(self, name: str) -> "Kernel | None":
        return self._ready.get(name)

    @property
    def ready(self) -> bool:
        return bool(self._ready)

    def wait(self) -> None:
        """Until the kernels are ready, or it is certain that they will not be."""
        self._thread.join()

    def _prepare(self) -> None:
        try:
            if self.compiled or _compile_apart(self._fine):
                kernels = load(self._fine)
                exact = [name for name in kernels if not (self._fine and name == "q4_K")]
                if all(_agrees(name, kernels[name]) for name in exact):
                    self._ready = kernels
        except Exception:  # noqa: S110 - a broken numba can raise anything, and is not needed
            pass


def load(fine: bool) -> "Mapping[str, Kernel]":
    """The kernels, loaded from numba's cache, or compiled; one after the other, `_CACHED_LAST` last."""
    import numpy as np

    from quant.fast_q4k import quantize_q4k, quantize_q5k
    from quant.fast_q6k import quantize_q6k

    kernels = {"q4_K": quantize_q4k, "q5_K": quantize_q5k, "q6_K": quantize_q6k}
    if fine:
        from quant.fast_q4k_fine import quantize_q4k_fine

        kernels = {"q5_K": quantize_q5k, "q6_K": quantize_q6k, "q4_K": quantize_q4k_fine}
    for name, kernel in kernels.items():
        kernel(np.zeros(256, np.float32), np.empty(by_name(name).nbytes(256), np.uint8))
    return kernels


def _agrees(name: str, kernel: "Kernel") -> bool:
    """Whether a kernel makes ggml's bytes here, as it does wherever it was tested: 5 ms well spent."""
    import numpy as np

    weights = np.random.default_rng(0).standard_normal(1 << 14).astype(np.float32)
    weights[::7] *= weights[::7] ** 3
    weights[1000:1500] = 0
    ours, theirs = (np.empty(by_name(name).nbytes(weights.size), np.uint8) for _ in range(2))
    kernel(weights, ours)
    ggml.quantize(weights, by_name(name), theirs)
    return bool((ours == theirs).all())


def _is_compiled(fine: bool) -> bool:
    """Whether numba's cache beside the modules holds all the code for this Python, newer than they are.

    Where it cannot write there, or is told of another folder, it does not read there either.
    """
    if os.environ.get("NUMBA_CACHE_DIR") or not os.access(_FOLDER / "__pycache__", os.W_OK):
        return False
    return any(_FOLDER.glob(_CACHED_LAST[fine])) and not _stale()


def _stale() -> list[Path]:
    """Files of numba's cache that are older than a source; numba itself compares only the module that was cached."""
    changed = max((_FOLDER / name).stat().st_mtime for name in _SOURCES)
    return [path for path in _FOLDER.glob(_CACHED) if path.stat().st_mtime < changed]


def _compile_apart(fine: bool) -> bool:
    """Compile in a process of its own; whether that went well. Ends that process if this one's main thread ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quant.fast", *(["fine"] if fine else [])],
        cwd=_FOLDER.parent,  # where `quant` is found
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    while process.poll() is None:
        if not threading.main_thread().is_alive():
            process.kill()
        time.sleep(0.05)
    return process.wait() == 0


if __name__ == "__main__":
    with contextlib.suppress(OSError):  # where the folder cannot be written, numba does not read it either
        for path in _stale():
            path.unlink(missing_ok=True)
    load(fine="fine" in sys.argv)
