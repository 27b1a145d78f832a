"""What libmtmd and llama.cpp make of a picture, through the bare bindings: the judge of tests on what sees."""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd
from llama_oracle import _model as loaded
from numpy.typing import NDArray

_SILENT = llama_cpp.llama_log_callback(lambda *_: None)  # must stay referenced while it is set
_IMG, _IMG_BREAK = 10, 12
_MAX_TOKENS = 4096  # of a picture: none is scaled

Floats = NDArray[np.float32]


def features(model: Path, projector: Path, image: NDArray[np.uint8]) -> Floats | None:
    """The embeddings of a picture (height, width, 3), with the rows' breaks: (n_tokens, width). None: not loaded."""
    with loaded(model) as text, _projector(text, projector) as context:
        return _features(text, context, projector, image) if context else None


def logits(model: Path, projector: Path, image: NDArray[np.uint8], ids: NDArray[np.int32]) -> Floats:
    """The logits after each of `ids`, in which a picture stands: (n_tokens, vocab)."""
    with loaded(model) as text, _projector(text, projector) as context:
        embeddings = _features(text, context, projector, image)
        return _decoded(text, ids, embeddings)


@contextlib.contextmanager
def _projector(text: Any, path: Path) -> Iterator[Any]:
    mtmd.mtmd_log_set(_SILENT, ctypes.c_void_p(0))
    mtmd.mtmd_helper_log_set(_SILENT, ctypes.c_void_p(0))
    params = mtmd.mtmd_context_params_default()
    params.use_gpu = params.warmup = params.print_timings = False
    params.n_threads, params.image_max_tokens = 1, _MAX_TOKENS
    context = mtmd.mtmd_init_from_file(str(path).encode(), text, params)
    try:
        yield context
    finally:
        if context:
            mtmd.mtmd_free(context)


def _features(text: Any, context: Any, projector: Path, image: NDArray[np.uint8]) -> Floats:
    """libmtmd's own, but for the breaks of rows: it adds their embedding to zero times what memory held, maybe NaN."""
    height, width, _ = image.shape
    pixels = np.ascontiguousarray(image)
    bitmap = mtmd.mtmd_bitmap_init(width, height, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
    chunks = mtmd.mtmd_input_chunks_init()
    prompt = mtmd.mtmd_input_text()
    prompt.text = mtmd.mtmd_default_marker()
    prompt.text_len, prompt.parse_special = len(prompt.text), True
    assert mtmd.mtmd_tokenize(context, chunks, ctypes.byref(prompt), (ctypes.c_void_p * 1)(bitmap), 1) == 0
    found = [mtmd.mtmd_input_chunks_get(chunks, n) for n in range(mtmd.mtmd_input_chunks_size(chunks))]
    (picture,) = (c for c in found if mtmd.mtmd_input_chunk_get_type(c) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE)
    n_tokens = mtmd.mtmd_input_chunk_get_n_tokens(picture)
    assert mtmd.mtmd_encode_chunk(context, picture) == 0
    shape = (n_tokens, llama_cpp.llama_model_n_embd(text))
    result = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), shape).copy()
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_bitmap_free(bitmap)
    file = gguf.GGUFReader(projector)
    unit = np.prod([_field(file, f"clip.vision.{key}") for key in ("patch_size", "spatial_merge_size")])
    columns = width // int(unit)
    result[columns :: columns + 1] = next(t.data for t in file.tensors if t.name == "v.token_embd.img_break")
    return result


def _field(file: gguf.GGUFReader, key: str) -> int:
    field = file.get_field(key)
    return int(field.contents()) if field else 1


def _decoded(model: Any, ids: NDArray[np.int32], embeddings: Floats) -> Floats:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = 0  # float32
    params.flash_attn_type = 0
    context = llama_cpp.llama_init_from_model(model, params)
    seen = np.flatnonzero((ids == _IMG) | (ids == _IMG_BREAK))
    begin, end = int(seen[0]), int(seen[-1]) + 1
    assert end - begin == len(embeddings)
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    found = []
    for first, last in ((0, begin), (begin, end), (end, len(ids))):
        width = embeddings.shape[1] if first == begin else 0
        batch = llama_cpp.llama_batch_init(last - first, width, 1)
        batch.n_tokens = last - first
        for i, place in enumerate(range(first, last)):
            batch.pos[i], batch.logits[i], batch.n_seq_id[i], batch.seq_id[i][0] = place, 1, 1, 0
            if not width:
                batch.token[i] = int(ids[place])
        if width:
            ctypes.memmove(batch.embd, np.ascontiguousarray(embeddings).ctypes.data, embeddings.nbytes)
        assert llama_cpp.llama_decode(context, batch) == 0
        found.append(np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (last - first, n_vocab)).copy())
        llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return np.concatenate(found)
