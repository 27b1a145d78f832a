"""What llama.cpp itself makes of a file, through the bare bindings: the judge of tests on conversion."""

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from numpy.typing import NDArray

_said: list[str] = []
_SILENT = llama_cpp.llama_log_callback(lambda *_: None)  # must stay referenced while it is set
_HEARD = llama_cpp.llama_log_callback(lambda _level, text, _: _said.append(text.decode(errors="replace")))
_F32 = 0


class RefusedError(Exception):
    """llama_model_quantize failed; with the end of what it logged."""


def quantize(source: Path, destination: Path, file_type: int) -> None:
    """llama_model_quantize. Raises RefusedError."""
    _said.clear()
    llama_cpp.llama_log_set(_HEARD, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, 1  # the bytes do not depend on it
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(destination).encode(), ctypes.byref(params))
    if status:
        raise RefusedError("".join(_said)[-1000:])


@contextlib.contextmanager
def _model(path: Path, vocab_only: bool = False) -> Iterator[Any]:
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = vocab_only
    params.use_extra_bufts = False  # its AMX kernels crash on quantized weights
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp does not load {path}"
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def logits(path: Path, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """The logits after each of `ids`, with a float32 cache: (n_tokens, vocab)."""
    return logits_of_each(path, [ids])[0]


def logits_of_each(path: Path, texts: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
    """As `logits`, for texts that know nothing of each other; the model is loaded once.

    One thread: tests run on all cores already, and threads of llama.cpp that wait for each other do it busily.
    """
    with _model(path) as model:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(512, *map(len, texts))
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = _F32
        params.flash_attn_type = 0
        context = llama_cpp.llama_init_from_model(model, params)
        found = [_decode(model, context, ids) for ids in texts]
        llama_cpp.llama_free(context)
    return found


def is_nearly_best(path: Path, before: Sequence[int], token: int, within: float = 0.15) -> bool:
    """Whether behind the tokens `before` none has a logit more than `within` above that of `token`.

    Which of two such tokens is drawn as the best one depends on how many a batch had that filled the cache: flash
    attention adds up in 16 bits, here in one order and there in another. On the small model of the tests that moves
    logits, whose deviation is 1, by up to 0.03; and 0.06 lie between it and this oracle, which counts in 32 bits.
    """
    found = logits(path, np.array(before, np.int32))[-1]
    return bool(found[token] > found.max() - within)


def _decode(model: Any, context: Any, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.logits[i] = int(token), i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    assert llama_cpp.llama_decode(context, batch) == 0
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    result = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), n_vocab)).copy()
    llama_cpp.llama_batch_free(batch)
    return result


@contextlib.contextmanager
def vocabulary(path: Path) -> Iterator[Any]:
    """The vocabulary of a file, for `tokenize` and `piece`."""
    with _model(path, vocab_only=True) as model:
        yield llama_cpp.llama_model_get_vocab(model)


def write_vocabulary(path: Path, metadata: dict[str, Any]) -> Path:
    """A GGUF with a SentencePiece vocabulary and nothing else, which llama.cpp reads."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(metadata["tokenizer.ggml.tokens"])
    writer.add_token_scores(metadata["tokenizer.ggml.scores"])
    writer.add_token_types(metadata["tokenizer.ggml.token_type"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def tokenize(vocab: Any, text: str, special: bool = False) -> list[int]:
    """Plain text to ids: nothing added before or after. special: names of control tokens in it are such tokens."""
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, special)
    assert count >= 0
    return list(ids[:count])


def piece(vocab: Any, token: int) -> bytes:
    buffer = ctypes.create_string_buffer(4096)
    count = llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, True)
    return buffer.raw[:count]
