"""How much memory a model takes; `minichat.machine` tells how much there is. Pure.

What llama.cpp allocates for one context, as the engine opens it (`minichat.engine.llama`: one sequence, batches of
`BATCH` tokens, a KV cache of float16 if nothing else is said, flash attention where there is any, windows kept short):

    weights      the tensors of the file
    KV cache     2 bytes for each element of K and V (q8_0: 34 for 32 of them, q4_0: 18), for each layer and cell. A
                 layer in full has as many cells as the context has tokens; one with a window holds the window and a
                 batch at most. Both in steps of 256
    compute      room for the largest moment of the graph, for one batch of n tokens, all float32 but for the masks:
                 the logits,        n × (vocabulary + 2 × width) × 4 bytes, or
                 the feed-forward,  n × (3 × feed-forward + 4 × width) × 4 bytes + n × cells × 2 for each mask; without
                 flash attention, n × cells × heads × 4 more for the scores
    logits       one row that answers are drawn from
    process      the interpreter, llama.cpp's own tables, and the vocabulary in two forms

On a device all of the compute buffer is taken. In RAM only what is written to: a chat asks for the logits of a token or
a few, so that of their part hardly anything is.

The rules for the cells are those of llama.cpp's `llama-kv-cache-iswa.cpp`; those for the graph follow its log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minichat.attention import read_attention
from minichat.engine.llama import BATCH, DEFAULT_CTX

if TYPE_CHECKING:
    from convert.config import ModelConfig
    from convert.gguf_file import GgufHeader
    from minichat.engine.types import CacheType

# The engine's process without all that. Measured as VmHWM after a prompt longer than a batch, less the other parts:
# 34 MB for a vocabulary of 282 tokens, 40 for 4,096, 70 for 32,768 and 187 for 131,072.
_PROCESS_BYTES, _TOKEN_BYTES = 35_000_000, 1150
_CELLS = 256  # a cache grows in steps of so many cells
_F16, _F32 = 2, 4
_BLOCK = 32  # elements of a block, and its bytes
_BLOCK_BYTES = {"f16": 64, "q8_0": 34, "q4_0": 18}
_WITH_WINDOWS = ("granite_swa",)  # graphs that keep short caches; of all others, every layer counts in full
_EXACT = ("llama", "mistral3", *_WITH_WINDOWS)
_MAX = 1 << 32  # of any size in a header


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory it takes.

    kv_width: elements of K and V together that a token adds to a layer. window: tokens; 0 if no layer has one.
    windowed_layers: how many of `n_layers` have it. context_length: what the model was trained for, in tokens.
    n_heads: of the attention; 0 if that is not known. is_exact: whether llama.cpp's graph for it is one whose cache is
    known here; of others it may take less.
    """

    n_layers: int
    hidden: int
    feed_forward: int
    kv_width: int
    vocab_size: int
    context_length: int
    window: int = 0
    windowed_layers: int = 0
    n_heads: int = 0
    is_exact: bool = True


@dataclass(frozen=True)
class Needed:
    """Bytes that a loaded model takes, by what they are for."""

    weights: int
    kv_cache: int
    compute: int
    process: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + self.process


def default_context(shape: Shape) -> int:
    """The context in tokens that the engine opens where nobody asks for one."""
    return min(shape.context_length, DEFAULT_CTX)


def needed(shape: Shape, weights_bytes: int, ctx: int, cache_type: CacheType = "f16", flash: bool = True) -> Needed:
    """The bytes that a model of this shape and size takes with a context of `ctx` tokens."""
    cache = kv_cache_bytes(shape, ctx, cache_type)
    return Needed(weights_bytes, cache, touched_bytes(shape, ctx, flash), process_bytes(shape))


def process_bytes(shape: Shape) -> int:
    """The engine's process with the vocabulary, and nothing else of the model.

    >>> process_bytes(Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768))
    185732800
    """
    return _PROCESS_BYTES + shape.vocab_size * _TOKEN_BYTES


def kv_cache_bytes(shape: Shape, ctx: int, cache_type: CacheType = "f16") -> int:
    """The KV cache of one sequence of `ctx` tokens.

    >>> small3 = Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768)
    >>> kv_cache_bytes(small3, 8192) // 2**20
    1280
    >>> ministral = Shape(36, 4096, 12288, 2 * 8 * 128, 131072, 131072, window=32768, windowed_layers=27)
    >>> kv_cache_bytes(ministral, 131072) // 2**20
    8118
    >>> kv_cache_bytes(small3, 8192, "q8_0") // 2**20
    680
    """
    in_full = (shape.n_layers - shape.windowed_layers) * _cells(ctx)
    elements = (in_full + shape.windowed_layers * _window_cells(shape, ctx)) * shape.kv_width
    return elements * _BLOCK_BYTES[cache_type] // _BLOCK


def compute_bytes(shape: Shape, ctx: int, flash: bool = True) -> int:
    """llama.cpp's compute and output buffers, as it allocates them. flash: with flash attention.

    Held against its log for seven shapes at ten contexts: equal for Mistral Small 2 and 3, Ministral 8B and Mistral 7B;
    its allocator fits greedily, and for Nemo up to 8,192 tokens it takes 46 MB more.

    >>> compute_bytes(Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768), 8192)
    289931264
    """
    logits = min(BATCH, ctx) * (shape.vocab_size + 2 * shape.hidden) * _F32
    return max(logits, _layer_bytes(shape, ctx, flash)) + shape.vocab_size * _F32


def touched_bytes(shape: Shape, ctx: int, flash: bool = True) -> int:
    """What a chat writes to of these buffers: all but the logits of the tokens that nobody asks for."""
    return _layer_bytes(shape, ctx, flash) + 2 * shape.vocab_size * _F32


def _layer_bytes(shape: Shape, ctx: int, flash: bool) -> int:
    """The graph's largest moment before the logits."""
    batch = min(BATCH, ctx)
    masks = _cells(ctx) if shape.windowed_layers < shape.n_layers else 0
    masks += _window_cells(shape, ctx) if shape.windowed_layers else 0
    feed_forward = batch * (3 * shape.feed_forward + 4 * shape.hidden) * _F32 + batch * masks * _F16
    if not flash:
        feed_forward += batch * _cells(ctx) * shape.n_heads * _F32
    return feed_forward


def shape_of_config(config: ModelConfig) -> Shape:
    """The shape of a checkpoint that is yet to be converted."""
    return Shape(
        n_layers=config.n_layers,
        hidden=config.hidden,
        feed_forward=config.feed_forward,
        kv_width=2 * config.n_kv_heads * config.head_dim,
        vocab_size=config.vocab_size,
        context_length=config.context_length,
        window=config.attention.window,
        windowed_layers=sum(config.attention.sliding),
        n_heads=config.n_heads,
    )


def shape_of_header(header: GgufHeader) -> Shape | None:
    """The shape that a GGUF's header tells; None if it does not tell enough, or makes no sense."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    return shape_of_metadata(header.metadata, len(tokens) if isinstance(tokens, list) else None)


def shape_of_metadata(metadata: Mapping[str, Any], n_tokens: int | None) -> Shape | None:
    """The same, for a header whose vocabulary has not been read. n_tokens: its size, if that is known."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        return None
    sizes = _Sizes(metadata, architecture)
    layers, hidden, heads = sizes.get("block_count"), sizes.get("embedding_length"), sizes.get("attention.head_count")
    inner, context = sizes.get("feed_forward_length"), sizes.get("context_length")
    if layers is None or hidden is None or heads is None or inner is None or context is None:
        return None
    kv_heads = sizes.get("attention.head_count_kv") or heads
    keys, values = (sizes.get(f"attention.{part}_length") or hidden // heads for part in ("key", "value"))
    attention = read_attention(metadata, architecture) if architecture in _WITH_WINDOWS else None
    windowed = sum(attention.sliding) if attention is not None and attention.sliding is not None else 0
    return Shape(
        n_layers=layers,
        hidden=hidden,
        feed_forward=inner,
        kv_width=kv_heads * (keys + values),
        vocab_size=n_tokens if n_tokens is not None else sizes.get("vocab_size") or 0,
        context_length=context,
        window=attention.window if attention is not None and windowed else 0,
        windowed_layers=windowed,
        n_heads=heads,
        is_exact=architecture in _EXACT,
    )


@dataclass(frozen=True)
class _Sizes:
    """The sizes in a header's metadata, which may hold anything."""

    metadata: Mapping[str, Any]
    architecture: str

    def get(self, key: str) -> int | None:
        """A size above 0; of a list with one for each layer the largest; None for anything else."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        sizes = value if isinstance(value, list) else [value]
        is_sound = bool(sizes) and all(type(size) is int and 0 <= size < _MAX for size in sizes)
        return max(sizes) or None if is_sound else None


def _cells(ctx: int) -> int:
    """
    >>> _cells(1), _cells(8192), _cells(8193)
    (256, 8192, 8448)
    """
    return -(-max(ctx, 1) // _CELLS) * _CELLS


def _window_cells(shape: Shape, ctx: int) -> int:
    """Cells of a layer with a window: it has to hold the window of a whole batch's first token."""
    return _cells(min(_cells(ctx), shape.window + min(BATCH, ctx)))
