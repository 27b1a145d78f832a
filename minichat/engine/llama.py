"""One model in llama.cpp: load it, keep its KV cache, decode tokens into it, sample from it.

A thin layer over the C functions (llama.h): ids in, ids out, no text but SentencePiece's. Whatever llama.cpp would
abort on is checked before the call: a batch above `n_batch`, a position beyond the context.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat.engine import binding, devices, growth
from minichat.engine.error_log import ErrorLog
from minichat.engine.gallery import run_at
from minichat.engine.resident import let_go
from minichat.engine.reuse import Reuse
from minichat.engine.types import LoadOptions
from minichat.engine.watchdog import goes_on, watch
from quant.errors import EngineError, FitError, GgufError, UsageError

if TYPE_CHECKING:
    from minichat.engine.gallery import Gallery
    from minichat.fit import Fit

DEFAULT_CTX = 8192  # tokens that a chat may well need
START_CTX = 2048  # tokens of a context that grows: what is not opened costs neither time nor memory
BATCH = 512
_CACHE_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}  # of enum ggml_type
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}  # of enum llama_flash_attn_type
_LONGEST_STEP_S = 3600.0  # whatever the machine: a model of 24 billion that is read from a slow disk takes minutes
_ABORTED = 2
_STRIPS_BEFORE, _STRIPS_BEHIND = 1 << 7, 1 << 8  # of llama_token_attr


class Llama:
    """A loaded model with one context and one sequence. `cached` are the ids that the KV cache holds, in order.

    ctx: the tokens that it may come to hold; `opened`: those that it holds room for now. It grows in `decode`. Where
    memory does not allow that any more, `ctx` falls to `opened`.
    fit: how to load it, told from the header and the memory that is free; without one, the context does not grow.
    Raises GgufError for a file that llama.cpp does not take, EngineError if there is no memory for the context,
    UsageError for a context longer than the model was trained for.
    """

    def __init__(
        self,
        path: Path,
        options: LoadOptions,
        on_progress: Callable[[float], None] | None = None,
        fit: Fit | None = None,
    ) -> None:
        self._c = c = binding.load()
        self._log = ErrorLog()
        # Referenced for as long as llama.cpp may call them: a collected callback is a crash.
        self._log_callback = c.llama_log_callback(self._log.heard)
        self.take_log()
        c.llama_backend_init()
        self.cached: list[int] = []
        self.settled = sys.maxsize  # of them, those behind are but typed ahead
        self.gallery: Gallery | None = None  # of what the negative ones stand for
        self._abort_flag = ctypes.create_string_buffer(b"0")
        if options.device == "gpu" and not c.llama_supports_gpu_offload():
            raise UsageError("--device gpu: this build of llama.cpp computes on the CPU only (`minichat doctor`)")
        self._options, self._fit = options, fit
        self.gpu_layers = (fit.gpu_layers if fit else _gpu_layers(options)) if c.llama_supports_gpu_offload() else 0
        self.repacks = False  # are weights rearranged for this CPU's kernels?
        self._model = self._load(path, options, on_progress)
        self.vocab = c.llama_model_get_vocab(self._model)  # llama.cpp's handle of it
        self.vocabulary: int = c.llama_vocab_n_tokens(self.vocab)
        self.ctx_train: int = c.llama_model_n_ctx_train(self._model)
        # What layers attend to, in tokens; 0 if all of them attend to everything.
        self._reuse = Reuse(self, c.llama_model_n_swa(self._model), self._is_recurrent(), BATCH)
        self.threads = options.threads or physical_cores()
        self.ctx = self.opened = self._most = 0
        self._open: Any = None  # llama.cpp's handle of the context
        if not options.vocab_only:
            self._open_context()

    @property
    def model(self) -> Any:
        """llama.cpp's handle of it."""
        return self._model

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
        features = c.llama_print_system_info()
        params.use_extra_bufts = b"AMX_INT8 = 1" not in features
        self.repacks = params.use_extra_bufts and b"REPACK = 1" in features

        def progress(fraction: float, _: Any) -> bool:
            goes_on()
            if on_progress is not None:
                on_progress(fraction)
            return True

        callback = c.llama_progress_callback(progress)
        params.progress_callback = callback
        with watch("a step in loading the file", _LONGEST_STEP_S):
            model = c.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise GgufError(f"{path}: llama.cpp cannot load this file: {self._log.reason}")
        if self.repacks or self.gpu_layers:  # they have copies of what was mapped
            let_go(path)
        return model

    def _open_context(self) -> None:
        ctx, fit = self._options.ctx, self._fit
        if ctx is not None and ctx > self.ctx_train > 0:
            raise UsageError(f"--ctx {ctx}: this model was trained for at most {self.ctx_train:,} tokens")
        if self._options.cache_type != "f16" and self._options.flash_attention == "off":
            raise UsageError(f"--cache-type {self._options.cache_type} needs flash attention: let it be auto or on")
        start = fit.start if fit else ctx or min(self.ctx_train or DEFAULT_CTX, DEFAULT_CTX)
        self._most = max(fit.most if fit else start, start)
        self._new_context(start)
        self.ctx = self._most

    def _new_context(self, n_ctx: int) -> None:
        """Opens a context of `n_ctx` tokens, whatever was open before."""
        c, options = self._c, self._options
        params = c.llama_context_default_params()
        self._log.clear()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = self.threads
        params.n_threads_batch = options.threads or usable_cpus()
        params.type_k = params.type_v = _CACHE_TYPES[options.cache_type]
        params.flash_attn_type = _FLASH_ATTENTION[options.flash_attention]
        params.swa_full = False
        params.no_perf = True
        # llama.cpp asks this callback between the nodes of its graph. libc's atoi answers from our one-digit buffer:
        # true for "1", without ever waiting for Python's lock.
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).atoi, c.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        self._open = c.llama_init_from_model(self._model, params)
        if not self._open:
            if options.cache_type != "f16" and re.search("flash|quantized|block size", why := self._log.reason, re.I):
                raise UsageError(f"--cache-type {options.cache_type} does not go with this model: {why}")
            raise EngineError(
                f"no room for a context of {n_ctx} tokens: {self._log.reason} (a smaller --ctx needs less)"
            )
        # llama.cpp rounds a context up; the number that was asked for is the one that holds.
        self.opened = min(n_ctx, int(c.llama_n_ctx(self._open)))

    @property
    def _context(self) -> Any:
        """The context; a short, empty one where it was lost as it grew. EngineError if there is no room for that."""
        self._open_again()
        return self._open

    def _open_again(self) -> None:
        if not self._open:
            self._new_context(min(START_CTX, self._most))

    @property
    def _memory(self) -> Any:
        return self._c.llama_get_memory(self._context)

    # Its growth.

    def reserve(self, tokens: int) -> None:
        """Lets the context grow until it holds `tokens`, as far as it may and memory allows: `ctx` tells.

        What it held it holds then, but for the logits.
        """
        wanted = min(tokens, self._most)
        self._open_again()
        if wanted > self.opened:
            doubled = growth.next_size(self.opened, wanted, self._most)
            if len(self._reuse.shelf) and not self._can_grow(self.opened, doubled):
                self._reuse.shelf.clear()  # copies give way to what is needed
            if not self._can_grow(self.opened, doubled):
                doubled = min(-(-wanted // BATCH) * BATCH, self._most)
            elif not self._can_grow(doubled, self._most):
                doubled = self._most if self._can_grow(self.opened, self._most) else doubled  # the last chance for it
            grown = self._can_grow(self.opened, doubled) and self._grow(doubled)
            self.ctx = self._most if grown else self.opened

    def resize(self, ctx: int) -> None:
        """Makes `ctx` tokens the longest context, and opens that many.

        UsageError for more than the model was trained for, FitError for more than there is room for: then all is as it
        was.
        """
        if ctx > self.ctx_train > 0:
            raise UsageError(f"ctx {ctx}: this model was trained for at most {self.ctx_train:,} tokens")
        self._open_again()
        if ctx > self.opened:
            there_is = self._growth(self.opened)
            if there_is is not None and len(self._reuse.shelf) and not there_is.is_room(ctx):
                self._reuse.shelf.clear()
                there_is = self._growth(self.opened)
            if there_is is not None and not there_is.is_room(ctx):
                raise FitError(there_is.refusal(ctx))
            if not self._grow(ctx):
                raise FitError(f"llama.cpp could not open a context of {ctx:,} tokens")
        self.ctx = self._most = ctx
        self._options = replace(self._options, ctx=ctx)
        if len(self.cached) > ctx:
            self.clear()

    @property
    def is_short_of_memory(self) -> bool:
        """Whether the context would be longer if there were more memory."""
        return self._options.ctx is None and self._fit is not None and self.ctx < self.ctx_train

    def _can_grow(self, opened: int, wanted: int) -> bool:
        """Whether a context that has grown to `opened` tokens could grow to `wanted`; without numbers, never."""
        there_is = self._growth(opened)
        return there_is is not None and there_is.is_room(wanted)

    def _growth(self, opened: int) -> growth.Growth | None:
        if self._fit is None or self._fit.demand is None:
            return None
        # The state of a longer context than this one would be larger in proportion.
        carried = growth.state_bytes(self._c, self._context) * max(1, opened // self.opened) if self.cached else 0
        return growth.Growth.now(self._fit.demand, self.opened, carried, lambda: devices.gpus(self._c))

    def _grow(self, n_ctx: int) -> bool:
        """Changes the context for one of `n_ctx` tokens. EngineError if what it held was lost on the way."""
        before, carried = self.opened, growth.Carried(self._c, self._context) if self.cached else None
        self._close_context()
        grown = True
        try:
            self._new_context(n_ctx)
        except (EngineError, UsageError):
            grown = False
            try:
                self._new_context(before)
            except (EngineError, UsageError) as error:
                self.cached.clear()
                raise EngineError(f"the context was lost when it grew: {error}") from error
        if carried is not None and not carried.put(self._context):
            self.clear()
            raise EngineError("the KV cache was lost when the context grew; ask again")
        return grown

    def _close_context(self) -> None:
        self._c.llama_free(self._context)
        self._open, self.opened = None, 0

    def _is_recurrent(self) -> bool:
        """Whether some layers keep a state of the last token only."""
        c = self._c
        return bool(c.llama_model_is_recurrent(self._model) or c.llama_model_is_hybrid(self._model))

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
        """Brings the KV cache to the longest beginning of `prompt` that can be had; how many tokens that is.

        At least the prompt's last token is left to decode: its logits are needed.
        """
        return self._reuse.cut_to(prompt)

    def kept_from(self) -> int:
        """The first position that the whole cache still holds; -1 if it is empty."""
        return int(self._c.llama_memory_seq_pos_min(self._memory, 0))

    def cut(self, position: int) -> bool:
        """Takes this position and all later ones out of the KV cache, if that is possible."""
        if not self._c.llama_memory_seq_rm(self._memory, 0, position, -1):
            return False
        del self.cached[position:]
        return True

    def state_size(self, flags: int) -> int:
        """Bytes that `state` takes."""
        return int(self._c.llama_state_seq_get_size_ext(self._context, 0, flags))

    def state(self, flags: int, size: int) -> Any:
        """llama.cpp's own bytes of the cache: (size,) c_uint8; None if it cannot tell them. flags: of llama.h."""
        state = (ctypes.c_uint8 * size)()
        written = self._c.llama_state_seq_get_data_ext(self._context, state, size, 0, flags)
        return state if written == size else None

    def set_state(self, state: Any, flags: int) -> bool:
        """Puts back what `state` gave with the same flags. `cached` is the caller's to set."""
        return int(self._c.llama_state_seq_set_data_ext(self._context, state, len(state), 0, flags)) == len(state)

    def clear(self) -> None:
        """Empties the KV cache."""
        self._c.llama_memory_clear(self._memory, False)
        self.cached.clear()

    @property
    def can_take_back(self) -> bool:
        """Whether the last batch can be taken out of the KV cache again: not where it is a recurrent state.

        From a sliding window it can: of the places that a batch writes over, none is seen from where the batch began.
        """
        return not self._is_recurrent()

    def cut_back(self, length: int) -> None:
        """Takes all but the first `length` cached ids out of the KV cache. Raises EngineError where that cannot be."""
        if length < len(self.cached) and not self.cut(length):
            self.clear()
            raise EngineError("the KV cache cannot be cut back")

    def decode(self, ids: Sequence[int], every: bool = False) -> bool:
        """Decodes at most BATCH ids behind the cached ones. False if `abort()` stopped it; `cached` tells how far.

        Negative ids are rows of pictures of the `gallery`, encoded.
        every: each of the ids gets logits, not the last one alone.
        """
        if len(self.cached) + len(ids) + BATCH > self.opened and self.opened < self.ctx:
            self.reserve(len(self.cached) + len(ids) + BATCH)  # early: so the last ids before the end still fit
        if not 0 < len(ids) <= BATCH or len(self.cached) + len(ids) > self.ctx:
            raise EngineError(f"a batch of {len(ids)} tokens at position {len(self.cached)} of {self.ctx}")
        if (min(ids) < 0 and self.gallery is None) or max(ids) >= self.vocabulary:
            raise EngineError(f"a token that is none of the {self.vocabulary} of this model")
        while ids:
            count = self._reuse.before_decode(_alike(ids))  # all of them where each gets logits
            if not self._decode(ids[:count], every):
                return False
            ids = ids[count:]
        return True

    def _decode(self, ids: Sequence[int], every: bool) -> bool:
        c = self._c
        self._log.clear()
        begin = time.perf_counter()
        if ids[0] < 0:
            batch = c.llama_batch(len(ids), None, self._embeddings(ids))
        else:
            tokens = (c.llama_token * len(ids))(*ids)  # (len(ids),) int32; the batch only points at it
            batch = c.llama_batch_get_one(tokens, len(ids))
        if every:
            batch.logits = (ctypes.c_int8 * len(ids))(*[1] * len(ids))
        with watch("a batch of tokens", _LONGEST_STEP_S):
            status = c.llama_decode(self._context, batch)
        if status == 0:
            self.cached.extend(ids)
            if not every and self._reuse.is_to_be_timed(len(ids)):
                c.llama_synchronize(self._context)  # a GPU may still be at it
                self._reuse.timed(len(ids), time.perf_counter() - begin)
            return True
        self._reuse.fall_back()
        if status == _ABORTED:
            return False
        raise EngineError(f"llama.cpp could not decode (status {status}): {self._log.reason}")

    def _embeddings(self, ids: Sequence[int]) -> Any:
        """A pointer to the rows of a picture that come behind the cached ids: (len(ids), width) float32 at least."""
        begin = run_at(self.cached, len(self.cached))
        row = len(self.cached) - begin
        features = self.gallery.features(self.cached[begin] if row else ids[0]) if self.gallery is not None else None
        if features is None or row + len(ids) > features.count:
            raise EngineError("a prompt has more of a picture than there is")
        return features.at(row)

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

    # Its state in a file, for `minichat.engine.state`.

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
        self.reserve(len(ids))
        self._log.clear()
        room, count = (self._c.llama_token * max(1, len(ids)))(), ctypes.c_size_t(0)
        fits = len(ids) <= self.opened and self._c.llama_state_seq_load_file(
            self._context, os.fsencode(path), 0, room, len(ids), ctypes.byref(count)
        )
        if not fits or list(room[: count.value]) != list(ids):
            self.clear()
            return False
        self.cached.extend(ids)
        return True

    # llama.cpp's log.

    def take_log(self) -> None:
        """Hears what llama.cpp logs from now on; it tells one listener alone."""
        self._c.llama_log_set(self._log_callback, None)


def _alike(ids: Sequence[int]) -> int:
    """How many ids at the beginning are all tokens, or all rows of a picture.

    >>> _alike([5, 6, -3, -4, 7])
    2
    """
    return next((n for n, token in enumerate(ids) if (token < 0) != (ids[0] < 0)), len(ids))


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
