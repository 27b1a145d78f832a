"""ggml's own quantizers and dequantizers, through ctypes, which releases the interpreter's lock while C runs.

Only libggml-base is loaded: llama_cpp itself is not imported. Nothing is checked here but that ggml did the work.
"""

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.types import QuantType

_READERS = {"f16": "ggml_fp16_to_fp32_row", "bf16": "ggml_bf16_to_fp32_row"}  # the others: dequantize_row_*


def quantize(weights: NDArray[np.float32], kind: QuantType, blocks: NDArray[np.uint8]) -> None:
    """weights: (n,), whole blocks of them -> fills blocks: (kind.nbytes(n),). Both C order; `kind` is not f32."""
    n = weights.size
    written = _library().ggml_quantize_chunk(kind.ggml_id, weights.ctypes.data, blocks.ctypes.data, 0, 1, n, None)
    if written != blocks.size:
        raise QuantError(f"ggml wrote {written} bytes of {kind.name} where {blocks.size} were due")


def dequantize(blocks: NDArray[np.uint8], kind: QuantType, weights: NDArray[np.float32]) -> None:
    """blocks: (kind.nbytes(n),) -> fills weights: (n,). Both C order; `kind` is not f32. QuantError if ggml cannot."""
    name = _READERS.get(kind.name, f"dequantize_row_{kind.name}")
    try:
        reader = getattr(_library(), name)
    except AttributeError:
        raise QuantError(f"weights of the type {kind.name} cannot be read") from None
    reader(ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(weights.ctypes.data), ctypes.c_int64(weights.size))


@functools.cache
def _library() -> Any:
    """libggml-base, loaded once."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise QuantError("llama-cpp-python is not installed: install minichat again")
    folder = Path(next(iter(spec.submodule_search_locations))) / "lib"
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll", "libggml-base.dll")
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise QuantError(f"{folder} holds no ggml library: install llama-cpp-python again")
    try:
        library = ctypes.CDLL(str(found))
    except OSError as error:
        raise QuantError(f"{found} cannot be loaded ({error}): install llama-cpp-python again") from error
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = (
        ctypes.c_int,  # type
        ctypes.c_void_p,  # float32 weights
        ctypes.c_void_p,  # blocks
        ctypes.c_int64,  # first weight
        ctypes.c_int64,  # rows
        ctypes.c_int64,  # weights per row
        ctypes.c_void_p,  # importance matrix
    )
    return library
