"""Pixels -> the embeddings that a model reads in the place of [IMG] and [IMG_BREAK]: libmtmd, through its C functions.

A thin layer, as `minichat.engine.llama` is: pixels in, rows of float32 out. libmtmd scales what it is given, unless
that has a size that it takes; the limits are set such that any size of whole patches is one. It yields a row for each
[IMG], and one for each [IMG_BREAK]: rows x (columns + 1) - 1. The latter are put in here: libmtmd adds the embedding of
[IMG_BREAK] to memory that it clears by multiplying it with zero, and where that held no number before, none comes out.

Between two steps of its graph libmtmd asks whether to go on. What it gives after a "no" is thrown away.
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat.engine import binding
from minichat.engine.error_log import ErrorLog
from quant.errors import DataError, EngineError, GgufError

if TYPE_CHECKING:
    from minichat.template.pieces import Image

_IMAGE = 1  # of enum mtmd_input_chunk_type
_F32_BYTES = 4
_LOGGING: list[Any] = []


@dataclass(frozen=True)
class Features:
    """One picture, encoded. rows: (n, width) float32 in one piece of memory, n = rows x (columns + 1) - 1."""

    rows: Any
    count: int
    width: int

    @property
    def bytes(self) -> int:
        return self.count * self.width * _F32_BYTES

    def at(self, row: int) -> Any:
        """A pointer to this row and those behind it."""
        place = ctypes.addressof(self.rows) + row * self.width * _F32_BYTES
        return ctypes.cast(place, ctypes.POINTER(ctypes.c_float))


class Eye:
    """A loaded projector. patch: pixels a side of a token; row_end: the embedding of [IMG_BREAK], (width,)
    float32.

    Raises GgufError for a file that libmtmd does not take, beside the model that it is loaded for. Look at the file's
    header first: libmtmd may abort on one that is none (`minichat.engine.eyesight`).
    """

    def __init__(
        self, path: Path, model: Any, patch: int, row_end: bytes, most_tokens: int, threads: int, gpu: bool
    ) -> None:
        """model: llama.cpp's handle of it. most_tokens: of the largest picture, row ends among them."""
        c, self._m = binding.load(), binding.load_mtmd()
        self._patch, self._row_end, self._width = patch, row_end, len(row_end) // _F32_BYTES
        self._log = ErrorLog()
        self._goes_on: Callable[[], bool] = lambda: True
        # Referenced for as long as libmtmd may call them: a collected callback is a crash. It logs after this object's
        # end, too, where it could not load the file.
        self._log_callback = c.llama_log_callback(self._log.heard)
        _LOGGING.append(self._log_callback)
        self._step_callback = c.ggml_backend_sched_eval_callback(self._step)
        self._m.mtmd_helper_log_set(self._log_callback, None)
        params = self._m.mtmd_context_params_default()
        params.use_gpu = gpu
        params.print_timings = params.warmup = False
        params.n_threads = threads
        params.image_min_tokens, params.image_max_tokens = 1, most_tokens
        params.cb_eval = self._step_callback
        self._context = self._m.mtmd_init_from_file(os.fsencode(path), model, params)
        if not self._context:
            raise GgufError(f"{path}: llama.cpp cannot read pictures with this file: {self._log.reason}")

    def encode(self, image: Image, goes_on: Callable[[], bool]) -> Features | None:
        """The picture's embeddings; None if `goes_on`, asked between the steps, said no.

        Raises DataError for pixels that are none, GgufError if infinities come out, EngineError if libmtmd fails.
        """
        pixels = read_pixels(image, self._patch)
        is_whole = True

        def step() -> bool:
            nonlocal is_whole
            is_whole = is_whole and goes_on()
            return is_whole

        self._goes_on = step
        self._log.clear()
        bitmap = self._m.mtmd_bitmap_init(image.columns * self._patch, image.rows * self._patch, pixels)
        chunks = self._m.mtmd_input_chunks_init()
        try:
            chunk = self._chunk(bitmap, chunks)
            count = int(self._m.mtmd_input_chunk_get_n_tokens(chunk))
            if count != image.tokens - 1:
                raise EngineError(f"llama.cpp makes {count} tokens of a picture of {image.tokens}")
            status = self._m.mtmd_encode_chunk(self._context, chunk)
            if not is_whole:
                return None
            if status:
                raise EngineError(f"llama.cpp could not encode a picture (status {status}): {self._log.reason}")
            rows = (ctypes.c_float * (count * self._width))()
            ctypes.memmove(rows, self._m.mtmd_get_output_embd(self._context), ctypes.sizeof(rows))
            row_bytes = len(self._row_end)
            for n in range(1, image.rows):
                at = (n * (image.columns + 1) - 1) * row_bytes
                ctypes.memmove(ctypes.addressof(rows) + at, self._row_end, row_bytes)
            # Of the first row, from which attention spreads them to all, and of an [IMG_BREAK].
            if not all(map(math.isfinite, (*rows[: self._width], *struct.unpack(f"{self._width}f", self._row_end)))):
                raise GgufError("the projector's weights are damaged: what it makes of a picture is no number")
            return Features(rows, count, self._width)
        finally:
            self._m.mtmd_input_chunks_free(chunks)
            self._m.mtmd_bitmap_free(bitmap)

    def _chunk(self, bitmap: Any, chunks: Any) -> Any:
        """libmtmd's chunk of the picture, without the text behind it."""
        marker = self._m.mtmd_default_marker()
        text = self._m.mtmd_input_text(marker, len(marker), False, True)
        bitmaps = (self._m.mtmd_bitmap_p_ctypes * 1)(bitmap)
        status = self._m.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
        found = (self._m.mtmd_input_chunks_get(chunks, i) for i in range(self._m.mtmd_input_chunks_size(chunks)))
        images = [] if status else [chunk for chunk in found if self._m.mtmd_input_chunk_get_type(chunk) == _IMAGE]
        if len(images) != 1:
            raise EngineError(f"llama.cpp could not take a picture (status {status}): {self._log.reason}")
        return images[0]

    def _step(self, _tensor: Any, is_ahead: bool, _data: Any) -> bool:
        """libmtmd asks before each step whether to stop behind it: always; and behind it whether to go on."""
        return True if is_ahead else self._goes_on()


def read_pixels(image: Image, patch: int) -> Any:
    """The pixels of a picture: (height x width x 3,) uint8. DataError for a file that does not hold just these."""
    width, height = image.columns * patch, image.rows * patch
    head = b"P6\n%d %d\n255\n" % (width, height)
    size = width * height * 3
    try:
        with Path(image.pixels).open("rb") as file:
            data = file.read(len(head) + size + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the picture {image.source!r:.60} cannot be read any more: {reason}") from error
    if len(data) != len(head) + size or not data.startswith(head):
        raise DataError(f"the picture {image.source!r:.60} is damaged: it is not {width} x {height} pixels any more")
    return (ctypes.c_uint8 * size).from_buffer_copy(data, len(head))
