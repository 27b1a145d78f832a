"""Rows of float32 to the bytes of blocks, on all cores, with ggml's own quantizers.

`quantize` does one chunk of whole rows on the calling thread; `stream` does many, in order, over a thread pool whose
memory is bounded. ggml is reached through ctypes, which releases the interpreter's lock while C runs, so that plain
threads use all cores. Only libggml-base is loaded: llama_cpp itself is not imported.
"""

import ctypes
import functools
import importlib.util
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.types import QuantType

_LARGEST_SQUARABLE = 2.0**55  # its square, times 256, is a finite float32

Job = Callable[[], "NDArray[np.uint8]"]


def quantize(rows: NDArray[np.float32], kind: QuantType, tensor: str) -> NDArray[np.uint8]:
    """Blocks of whole rows. rows: (n, columns) or (columns,), C order -> (bytes,); columns fill blocks of `kind`.

    QuantError, naming `tensor`, if a weight is NaN or infinite, or too large for the float16 scales of `kind`.
    """
    columns = rows.shape[-1]
    if columns % kind.block_weights:
        raise QuantError(
            f"{tensor}: rows of {columns} weights do not fill blocks of {kind.block_weights} ({kind.name})"
        )
    if not rows.size:
        return np.empty(0, np.uint8)
    rows = np.ascontiguousarray(rows, np.float32)
    _check_weights(rows, kind, tensor)
    if kind.name == "f32":
        return rows.reshape(-1).view(np.uint8)
    n_rows = rows.size // columns
    blocks = np.empty(kind.nbytes(rows.size), np.uint8)
    written = _ggml().ggml_quantize_chunk(kind.ggml_id, rows.ctypes.data, blocks.ctypes.data, 0, n_rows, columns, None)
    if written != blocks.size:
        raise QuantError(f"{tensor}: ggml wrote {written} bytes of {kind.name} where {blocks.size} were due")
    _check_scales(blocks, kind, tensor)
    return blocks


def stream(jobs: Iterable[Job], threads: int, ahead: int) -> Generator[NDArray[np.uint8], None, None]:
    """The results of `jobs`, in their order, worked on by `threads` threads, at most `ahead` begun but not yielded.

    `jobs` is advanced on the calling thread, so what it reads to make a job is read while the pool works. After an
    error, or when the iterator is closed, jobs that have not begun are dropped and those under way are awaited.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="quantize")
    begun: deque[Future[NDArray[np.uint8]]] = deque()
    try:
        for job in jobs:
            begun.append(pool.submit(job))
            if len(begun) >= ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_weights(rows: NDArray[np.float32], kind: QuantType, tensor: str) -> None:
    with np.errstate(invalid="ignore"):
        low, high = float(rows.min()), float(rows.max())  # both pass NaN on, and need no array of flags
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = "NaN" if math.isnan(low) or math.isnan(high) else "infinite"
        raise QuantError(f"{tensor} holds {bad} weights: the checkpoint is damaged")
    # Beyond this a quantizer's sums of squares overflow, and Q6_K makes zeros of the block without a word.
    if kind.scale_offsets and max(-low, high) > _LARGEST_SQUARABLE:
        raise QuantError(_too_large(tensor, kind))


def _check_scales(blocks: NDArray[np.uint8], kind: QuantType, tensor: str) -> None:
    table = blocks.reshape(-1, kind.block_bytes)  # (blocks, block_bytes)
    for offset in kind.scale_offsets:
        # A float16 whose five exponent bits are all set is infinite or NaN; they stand in its upper byte.
        if ((table[:, offset + 1] & 0x7C) == 0x7C).any():
            raise QuantError(_too_large(tensor, kind))


def _too_large(tensor: str, kind: QuantType) -> str:
    return f"{tensor} holds weights too large for {kind.name}: convert to bf16 or f32"


@functools.cache
def _ggml() -> Any:
    """libggml-base, loaded and initialised once."""
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
