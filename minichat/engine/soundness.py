"""Whether llama.cpp can be shown a GGUF file without coming to harm: what it asserts instead of checking, checked.

`convert.gguf_file` has made sure that the header can be read and that its tensors lie in the file, none over another.
llama.cpp itself refuses tensors that are missing or whose shapes do not go with the sizes that the header names. What
is left ends its process: sizes that make no sense, norms that are no float32, arrays shorter than the vocabulary,
places where its vector instructions cannot read. Each was found by damaging files and looking how llama.cpp ended.

All of it takes about a millisecond, so every file is checked before it is loaded, but for `check_deeply`, which looks
at every token: that one tells, after llama.cpp has ended the process, why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.gguf_file import GgufHeader, TensorInfo, read_header
from convert.gguf_keys import F32, I32, U32
from quant.errors import GgufError

if TYPE_CHECKING:
    from typing import TypeGuard

_MAX_LAYERS = 512  # llama.cpp's bounds, the first three
_MAX_EXPERTS = 512
_PLACE_BYTES = 32  # what an address in the data is a multiple of
_MAX_SIZE = 1 << 24  # of any dimension that a header names; Mistral's largest is 131,072
_MAX_CONTEXT = 1 << 31
_LONGEST_NAME = 64
_FLOATS = ("f32", "f16", "bf16")
_INTEGERS = ("i8", "i16", "i32", "i64", "f64", "q8_1", "q8_K")  # types that no matrix of weights can have
_MATRICES = (".attn_q.weight", ".attn_k.weight", ".attn_v.weight", ".attn_output.weight", ".ffn_gate.weight",
             ".ffn_up.weight", ".ffn_down.weight", "token_embd.weight", "output.weight")  # fmt: skip
_VECTORS = ("_norm.weight", ".bias", ".attn_sinks.weight", "rope_freqs.weight")
_SCALINGS = ("none", "linear", "yarn", "longrope")
# Graphs that make no next token: they read a text, or look at a picture.
_NO_CHAT = ("bert", "clip", "t5", "encoder", "embed", "wavtokenizer")
_NO_TEXT = ("", "none", "no_vocab")  # kinds of vocabulary that make no tokens of a text
_TOKENS = "tokenizer.ggml.tokens"
# Arrays that llama.cpp reads as far as there are tokens, whatever their length and type is.
_TYPES = "tokenizer.ggml.token_type"
_BESIDE_TOKENS = {"tokenizer.ggml.scores": (F32,), _TYPES: (I32, U32)}
_SENTENCEPIECE, _BYTE = "llama", 6  # a kind of vocabulary, a type of token


def read_sound_header(path: Path) -> GgufHeader:
    """The header of a file that may be loaded. GgufError, in one line, for any other."""
    header = read_header(path)
    check_sound(header, str(path))
    return header


def check_sound(header: GgufHeader, name: str) -> None:
    """Raises GgufError, which says `name`, for a file that llama.cpp would not survive."""
    problem = next(_problems(header), None)
    if problem is not None:
        raise GgufError(f"{name} is damaged, or no model for a chat: {problem}")


def check_deeply(path: Path) -> None:
    """For a file that has ended llama.cpp's process: raises GgufError if the vocabulary, token by token, tells why."""
    header = read_header(path)
    if (problem := deep_problem(header)) is not None:
        raise GgufError(f"{path} is damaged: {problem}")


def deep_problem(header: GgufHeader) -> str | None:
    """What is wrong with the vocabulary.

    Two tokens that are no UTF-8 may only look alike here: llama.cpp must have refused them first.
    """
    tokens = header.metadata.get(_TOKENS)
    seen: set[str] = set()
    for token in tokens if isinstance(tokens, list) else ():
        if token in seen:
            return f"the token {token[:40]!r} stands in its vocabulary twice"
        if token:
            seen.add(token)
    return None


def _problems(header: GgufHeader) -> Iterator[str]:
    keys = header.metadata
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str) or not 0 < len(architecture) <= _LONGEST_NAME:
        yield "it does not name its architecture"
        return
    if any(word in architecture for word in _NO_CHAT) or keys.get("general.type", "model") != "model":
        yield f"it is no model that writes, but {architecture[:40]!r}, {str(keys.get('general.type', ''))[:40]!r}"
    parts = keys.get("split.count", 1)
    if not isinstance(parts, int) or parts > 1:
        yield "it is one of several parts, which minichat cannot join"
    own = {key.partition(".")[2]: value for key, value in keys.items() if key.startswith(f"{architecture}.")}
    yield from _sizes(own)
    yield from _numbers(own)
    yield from _attention(own, architecture)
    yield from _vocabulary(header)
    for tensor in header.tensors:
        yield from _tensor(tensor, header.data_offset)


def _sizes(own: Mapping[str, Any]) -> Iterator[str]:
    """The counts that everything else is a multiple of."""
    for name, least, most in (
        ("block_count", 1, _MAX_LAYERS),
        ("context_length", 1, _MAX_CONTEXT),
        ("embedding_length", 1, _MAX_SIZE),
        ("vocab_size", 1, _MAX_SIZE),
        ("expert_count", 0, _MAX_EXPERTS),
        ("expert_used_count", 0, own.get("expert_count", 0)),
    ):
        value = own.get(name, least)
        if not _is_int(value) or not isinstance(most, int) or not least <= value <= most:
            yield f"its {name} is {_short(value)}"
    if own.get("expert_count") and not own.get("expert_used_count"):
        yield "none of its experts is used"
    if own.get("attention.causal", True) is not True:
        yield "its attention looks ahead: it reads texts, and writes none"


def _numbers(own: Mapping[str, Any]) -> Iterator[str]:
    for name, value in own.items():
        for number in value[:_MAX_LAYERS] if isinstance(value, list) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                yield f"its {name[:60]} is {number}"
        if name.endswith("epsilon") and not (isinstance(value, float) and 0 <= value < 1):
            yield f"its {name[:60]} is {_short(value)}"
    base = own.get("rope.freq_base", 1.0)
    if not isinstance(base, float) or base <= 0:
        yield f"its rope.freq_base is {_short(base)}"
    if (scaling := own.get("rope.scaling.type", "none")) not in _SCALINGS:
        yield f"its rope.scaling.type is {_short(scaling)}"


def _attention(own: Mapping[str, Any], architecture: str) -> Iterator[str]:
    """Heads, and the part of each that is rotated. A list has one number for each layer."""
    layers = own.get("block_count")
    for name in ("head_count", "head_count_kv", "sliding_window_pattern"):
        value = own.get(f"attention.{name}")
        if isinstance(value, list) and _is_int(layers) and len(value) < layers:
            yield f"its attention.{name} is told for {len(value)} of {layers} layers"
    heads, kv_heads = own.get("attention.head_count"), own.get("attention.head_count_kv")
    if _is_int(heads) and not 0 <= heads <= _MAX_SIZE:
        yield f"its attention.head_count is {heads}"
    if _is_int(heads) and heads and _is_int(kv_heads) and (not 0 < kv_heads <= heads or heads % kv_heads):
        yield f"it has {heads} heads and {kv_heads} kv heads"
    for name in ("key_length", "value_length"):
        if not _is_int(own.get(f"attention.{name}", 1)) or not 0 < own.get(f"attention.{name}", 1) <= _MAX_SIZE:
            yield f"its attention.{name} is {_short(own[f'attention.{name}'])}"
    yield from _rotation(own, architecture)
    window, pattern = own.get("attention.sliding_window", 0), own.get("attention.sliding_window_pattern")
    if not _is_int(window) or not 0 <= window < _MAX_CONTEXT:
        yield f"its attention.sliding_window is {_short(window)}"
    if architecture == "granite_swa":
        slides = pattern[:layers] if isinstance(pattern, list) and _is_int(layers) else ()
        if not window or not any(slides) or not all(isinstance(value, bool | int) for value in slides):
            yield "its attention has windows, and it does not tell where"


def _rotation(own: Mapping[str, Any], architecture: str) -> Iterator[str]:
    width, heads = own.get("embedding_length"), own.get("attention.head_count")
    known = width // heads if _is_int(width) and _is_int(heads) and heads > 0 else None
    length, rotated = own.get("attention.key_length", known), own.get("rope.dimension_count")
    if rotated is None or not _is_int(length):
        return
    if not _is_int(rotated) or not 0 <= rotated <= length or rotated % 2:
        yield f"its rope.dimension_count is {_short(rotated)} of {length}"
    elif architecture == "granite_swa" and not rotated == length == own.get("attention.value_length", length):
        yield f"its rope.dimension_count is {rotated}, its attention.key_length {length}"


def _vocabulary(header: GgufHeader) -> Iterator[str]:
    tokens = header.metadata.get(_TOKENS)
    if not isinstance(tokens, list) or not 0 < len(tokens) <= _MAX_SIZE or not isinstance(tokens[0], str):
        yield "it has no vocabulary"
        return
    kind = header.metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str) or kind in _NO_TEXT:
        yield f"its vocabulary is of the kind {_short(kind)}"
    if kind == _SENTENCEPIECE and (missing := _missing_byte(tokens, header.metadata.get(_TYPES))) is not None:
        yield f"its vocabulary has no token for the byte {missing}"
    for key, kinds in _BESIDE_TOKENS.items():
        values = header.metadata.get(key)
        if values is None:
            continue
        if not isinstance(values, list) or header.elements.get(key, kinds[0]) not in kinds:
            yield f"its {key} is no list of its kind"
        elif len(values) != len(tokens):
            yield f"its {key} has {len(values)} values for {len(tokens)} tokens"


def _missing_byte(tokens: list[str], types: object) -> str | None:
    """The first byte that no token stands for: llama.cpp falls back on these for what the others do not spell."""
    named = set(tokens)
    if isinstance(types, list) and len(types) == len(tokens):  # quicker: few are bytes
        named = {token for token, kind in zip(tokens, types, strict=True) if kind == _BYTE}
    absent = [n for n in range(256) if f"<0x{n:02X}>" not in named]
    if absent:
        named = set(tokens)
        absent = [n for n in absent if f"<0x{n:02X}>" not in named and chr(n) not in named]
    return f"0x{absent[0]:02X}" if absent else None


def _tensor(tensor: TensorInfo, data_offset: int) -> Iterator[str]:
    name, kind = tensor.name, tensor.kind.name
    if (data_offset + tensor.offset) % _PLACE_BYTES:
        yield f"its tensor {name[:60]!r} stands at {data_offset + tensor.offset}, no multiple of {_PLACE_BYTES}"
    if name.endswith(_VECTORS) and kind not in _FLOATS[: 1 if len(tensor.shape) == 1 else 3]:
        yield f"its tensor {name[:60]!r} is of type {kind}, not f32"
    if name.endswith(_MATRICES) and (kind in _INTEGERS or len(tensor.shape) < 2):
        yield f"its tensor {name[:60]!r} of type {kind} and shape {list(tensor.shape)} is no matrix of weights"


def _is_int(value: object) -> TypeGuard[int]:
    return type(value) is int


def _short(value: object) -> str:
    shown: object = value[:3] if isinstance(value, list) else value
    return f"{shown!r:.60}"
