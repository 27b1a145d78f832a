"""One model in llama.cpp: load it, keep its KV cache, decode tokens into it, sample from it.

A thin layer over the C functions (llama.h): ids in, ids out, no text but SentencePiece's. Whatever llama.cpp would
abort on is checked before the call: a batch above `n_batch`, a position beyond the context.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minichat.engine import binding
from minichat.engine.types import LoadOptions
from quant.errors import EngineError, GgufError, UsageError

DEFAULT_CTX = 8192
BATCH = 512
_LOG_ERROR = 4
_LOG_LINES = 8
_ABORTED = 2
_STRIPS_BEFORE, _STRIPS_BEHIND = 1 << 7, 1 << 8  # of llama_token_attr


class Llama:
    """A loaded model with one context and one sequence. `cached` are the ids that the KV cache holds, in order.

    Raises GgufError for a file that llama.cpp does not take, EngineError if there is no memory for the context,
    UsageError for a context longer than the model was trained for.
    """

    def __init__(self, path: Path, options: LoadOptions, on_progress: Callable[[float], None] | None = None) -> None:
        self._c = c = binding.load()
        self._log: list[str] = []
        # Referenced for as long as llama.cpp may call them: a collected callback is a crash.
        self._log_callback = c.llama_log_callback(self._keep_log)
        c.llama_log_set(self._log_callback, None)
        c.llama_backend_init()
        self.cached: list[int] = []
        self._abort_flag = ctypes.create_string_buffer(b"0")
        if options.device == "gpu" and not c.llama_supports_gpu_offload():
            raise UsageError("--device gpu: this build of llama.cpp computes on the CPU only (`minichat doctor`)")
        self.gpu_layers = _gpu_layers(options) if c.llama_supports_gpu_offload() else 0
        self._model = self._load(path, options, on_progress)
        self.vocab = c.llama_model_get_vocab(self._model)  # llama.cpp's handle of it
        self.vocabulary: int = c.llama_vocab_n_tokens(self.vocab)
        self.ctx_train: int = c.llama_model_n_ctx_train(self._model)
        self._window: int = c.llama_model_n_swa(self._model)  # tokens; 0 if all layers attend to everything
        self.threads = options.threads or physical_cores()
        self.ctx = 0
        if not options.vocab_only:
            self.ctx = self._open_context(options)

    def _load(self, path: Path, options: LoadOptions, on_progress: Callable[[float], None] | None) -> Any:
        c = self._c
        params = c.llama_model_default_params()
        params.n_gpu_layers = self.gpu_layers
        no_devices = (ctypes.c_void_p * 1)(None)  # a list of devices ends with NULL
        if options.device == "cpu":
            params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
        params.vocab_only = options.vocab_only
        # llama.cpp's AMX kernels crash on quantized weights (SIGSEGV in ggml_backend_amx_mul_mat, seen with q4_K, q6_K
        # and q8_0; llama.cpp issue 20824). A build that has them takes the ordinary kernels.
        params.use_extra_bufts = b"AMX_INT8 = 1" not in c.llama_print_system_info()

        def progress(fraction: float, _: Any) -> bool:
            if on_progress is not None:
                on_progress(fraction)
            return True

        callback = c.llama_progress_callback(progress)
        params.progress_callback = callback
        model = c.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise GgufError(f"{path}: llama.cpp cannot load this file: {self._last_log()}")
        return model

    def _open_context(self, options: LoadOptions) -> int:
        c = self._c
        if options.ctx is not None and options.ctx > self.ctx_train > 0:
            raise UsageError(f"--ctx {options.ctx}: this model was trained for at most {self.ctx_train} tokens")
        params = c.llama_context_default_params()
        self._log.clear()
        params.n_ctx = options.ctx or min(self.ctx_train, DEFAULT_CTX)
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = self.threads
        params.n_threads_batch = options.threads or usable_cpus()
        params.swa_full = False
        params.no_perf = True
        # llama.cpp asks this callback between the nodes of its graph. libc's atoi answers from our one-digit buffer:
        # true for "1", without ever waiting for Python's lock.
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).atoi, c.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        self._context = c.llama_init_from_model(self._model, params)
        if not self._context:
            raise EngineError(
                f"no room for a context of {params.n_ctx} tokens: {self._last_log()} (a smaller --ctx needs less)"
            )
        self._memory = c.llama_get_memory(self._context)
        # llama.cpp rounds a context up; the number that was asked for is the one that holds.
        return min(int(params.n_ctx), int(c.llama_n_ctx(self._context)))

    # The vocabulary.

    def sentencepiece(self, text: str) -> list[int]:
        """The ids of a text in a SentencePiece vocabulary, neither BOS nor control tokens among them."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 2  # each byte is one token at most; the dummy prefix adds one
        ids = (self._c.llama_token * room)()
        count = self._c.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, False)
        if count < 0:
            raise EngineError("llama.cpp made more tokens of a text than it has bytes")
        return list(ids[:count])

    def token_bytes(self, token: int) -> bytes:
        """What llama.cpp adds to a text for this token; nothing for a control token."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = self._c.llama_token_to_piece(self.vocab, token, buffer, room, 0, False)
            if size >= 0:
                return buffer.raw[:size]
            room = -size

    def strips(self, token: int) -> tuple[bool, bool]:
        """Whether a control token takes the white space before it, and that behind it, out of a text."""
        kind = self._c.llama_vocab_get_attr(self.vocab, token)
        return bool(kind & _STRIPS_BEFORE), bool(kind & _STRIPS_BEHIND)

    @property
    def begins_with_bos(self) -> bool:
        """Whether the file wants BOS before a prompt."""
        return bool(self._c.llama_vocab_get_add_bos(self.vocab))

    def ends(self, token: int) -> bool:
        """Whether this token ends an answer."""
        return bool(self._c.llama_vocab_is_eog(self.vocab, token))

    # The KV cache.

    def reuse(self, prompt: Sequence[int]) -> int:
        """Cuts the KV cache back to what it shares with `prompt`, and returns how many tokens that is.

        At least the prompt's last token is left to decode: its logits are needed. Where a sliding window has already
        dropped positions that the shared part needs, the cache is emptied and 0 returned.
        """
        shared = 0
        for ours, asked in zip(self.cached, prompt[:-1], strict=False):
            if ours != asked:
                break
            shared += 1
        if shared < len(self.cached):
            kept_from = self._c.llama_memory_seq_pos_min(self._memory, 0)  # -1: no position at all
            if not 0 <= kept_from <= self._needed_from(shared) or not self._cut(shared):
                self.clear()
                return 0
            del self.cached[shared:]
        return shared

    def _needed_from(self, position: int) -> int:
        """The first position that a token at `position` attends to in the layers that have a window.

        llama.cpp's window holds the token itself. Its cache for those layers keeps what the window and a batch hold.
        """
        return max(0, position + 1 - self._window) if self._window else 0

    def _cut(self, position: int) -> bool:
        """Takes this position and all later ones out of the KV cache, if that is possible."""
        return bool(self._c.llama_memory_seq_rm(self._memory, 0, position, -1))

    def clear(self) -> None:
        """Empties the KV cache."""
        self._c.llama_memory_clear(self._memory, False)
        self.cached.clear()

    @property
    def can_cut(self) -> bool:
        """Whether what was decoded last can be taken out of the KV cache again: not a recurrent state, nor a window."""
        c = self._c
        return not (self._window or c.llama_model_is_recurrent(self._model) or c.llama_model_is_hybrid(self._model))

    def cut_back(self, length: int) -> None:
        """Takes all but the first `length` cached ids out of the KV cache. Raises EngineError where that cannot be."""
        if length < len(self.cached):
            if not self._cut(length):
                self.clear()
                raise EngineError("the KV cache cannot be cut back")
            del self.cached[length:]

    def decode(self, ids: Sequence[int], every: bool = False) -> bool:
        """Decodes at most BATCH ids behind the cached ones. False if `abort()` stopped it: then nothing was added.

        every: each of the ids gets logits, not the last one alone.
        """
        if not 0 < len(ids) <= BATCH or len(self.cached) + len(ids) > self.ctx:
            raise EngineError(f"a batch of {len(ids)} tokens at position {len(self.cached)} of {self.ctx}")
        c = self._c
        self._log.clear()
        tokens = (c.llama_token * len(ids))(*ids)  # (len(ids),) int32; the batch only points at it
        batch = c.llama_batch_get_one(tokens, len(ids))
        if every:
            batch.logits = (ctypes.c_int8 * len(ids))(*[1] * len(ids))
        status = c.llama_decode(self._context, batch)
        if status == 0:
            self.cached.extend(ids)
            return True
        if not self._cut(len(self.cached)):
            self.clear()
        if status == _ABORTED:
            return False
        raise EngineError(f"llama.cpp could not decode (status {status}): {self._last_log()}")

    def abort(self, on: bool) -> None:
        """Makes a decode under way return early, and the ones to come, until it is switched off. Any thread may."""
        self._abort_flag.value = b"1" if on else b"0"

    def sample(self, sampler: Any, at: int = -1) -> int:
        """The next token, drawn by a chain of `sampler.chain` from the logits of the last decoded token.

        at: from those of another id of the last batch, which was decoded with `every`.
        """
        return int(self._c.llama_sampler_sample(sampler, self._context, at))

    def logits(self, at: int = -1) -> memoryview[float]:
        """The logits after the last decoded token, or another of its batch: (vocabulary,) float32.

        They are valid until the next decode.
        """
        address = ctypes.cast(self._c.llama_get_logits_ith(self._context, at), ctypes.c_void_p).value
        if address is None:
            raise EngineError("llama.cpp has no logits: nothing has been decoded")
        return memoryview((ctypes.c_float * self.vocabulary).from_address(address)).cast("B").cast("f")

    # Its state: what the KV cache holds of the cached ids. Files and their checks are `state`'s.

    def state_bytes(self) -> int:
        """How large `copy_state` is, and `write_state`'s file within a few bytes a token."""
        return int(self._c.llama_state_seq_get_size(self._context, 0))

    def copy_state(self) -> ctypes.Array[ctypes.c_uint8]:
        """The state in memory, to go on with in another context of the same model and the same cache types."""
        buffer = (ctypes.c_uint8 * self.state_bytes())()
        if self._c.llama_state_seq_get_data(self._context, buffer, len(buffer), 0) != len(buffer):
            raise EngineError(f"llama.cpp could not copy the KV cache: {self._last_log()}")
        return buffer

    def paste_state(self, state: ctypes.Array[ctypes.c_uint8], ids: Sequence[int]) -> bool:
        """Puts what `copy_state` gave, when `ids` were cached, in the place of the KV cache; if not, empties that."""
        self.clear()
        self._log.clear()
        if len(ids) > self.ctx or not self._c.llama_state_seq_set_data(self._context, state, len(state), 0):
            self.clear()
            return False
        self.cached.extend(ids)
        return True

    def write_state(self, path: Path) -> int:
        """Writes the state and the cached ids to a file, layer by layer; its length in bytes, 0 if that failed."""
        ids = (self._c.llama_token * len(self.cached))(*self.cached)
        self._log.clear()
        return int(self._c.llama_state_seq_save_file(self._context, os.fsencode(path), 0, ids, len(ids)))

    def read_state(self, path: Path, ids: Sequence[int]) -> bool:
        """Puts a file of `write_state` with these ids in the place of the KV cache; if that fails, empties it.

        llama.cpp may abort on a file that is none: look at it first (`state_file.check`).
        """
        self.clear()
        self._log.clear()
        room, count = (self._c.llama_token * max(1, len(ids)))(), ctypes.c_size_t(0)
        fits = len(ids) <= self.ctx and self._c.llama_state_seq_load_file(
            self._context, os.fsencode(path), 0, room, len(ids), ctypes.byref(count)
        )
        if not fits or list(room[: count.value]) != list(ids):
            self.clear()
            return False
        self.cached.extend(ids)
        return True

    # llama.cpp's log.

    def _keep_log(self, level: int, text: bytes, _: Any) -> None:
        if level == _LOG_ERROR:
            self._log.append(text.decode(errors="replace").strip())
            del self._log[:-_LOG_LINES]

    def _last_log(self) -> str:
        """The first of the errors that llama.cpp logged last: the later ones only say that this one happened."""
        return " ".join(self._log[0].split()) if self._log else "it does not say why"


def _gpu_layers(options: LoadOptions) -> int:
    if options.gpu_layers is not None:
        return options.gpu_layers
    return 0 if options.device == "cpu" else -1


def _sysctl(name: bytes) -> int:
    """An integer of macOS's sysctl; 0 if it has none of this name."""
    value, size = ctypes.c_int(0), ctypes.c_size_t(4)
    failed = ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else value.value


def usable_cpus() -> int:
    """Logical processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def physical_cores() -> int:
    """Cores behind the usable processors: decode is bound by memory, and hyper-threads only get in its way.

    On Apple's chips the performance cores: the slowest thread sets the pace.
    """
    if sys.platform == "darwin":
        return _sysctl(b"hw.perflevel0.physicalcpu") or _sysctl(b"hw.physicalcpu") or usable_cpus()
    cores: set[str] = set()
    try:
        for cpu in os.sched_getaffinity(0):
            cores.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
    except (AttributeError, OSError):
        return usable_cpus()
    return len(cores)
