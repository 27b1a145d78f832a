"""Crafted GGUF files: each is one that a stranger might make to see what happens. `CASES` names 100 and more of them.

A case changes the `Parts` of a small sound model with two layers, or gives the bytes of a whole file. Files that do no
harm are among them: they must be answered from, or refused, as any other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from gguf_mutations import ARRAY, BOOL, F32, STRING, U32, Key, Parts, Tensor

Change = Callable[[Parts], Parts | bytes]
NAN, INF = float("nan"), float("inf")
_HUGE = (1 << 64) - 1


def _set(name: str, kind: int, value: Any) -> Change:
    def change(parts: Parts) -> Parts:
        parts.keys = [key for key in parts.keys if key.name != name.encode()]
        parts.keys.append(Key(name.encode(), kind, value))
        return parts

    return change


def _drop(name: str) -> Change:
    def change(parts: Parts) -> Parts:
        parts.keys = [key for key in parts.keys if key.name != name.encode()]
        return parts

    return change


def _tensor(named: str, **changes: Any) -> Change:
    def change(parts: Parts) -> Parts:
        tensor = parts.tensor(named)
        for field, value in changes.items():
            setattr(tensor, field, value)
        return parts

    return change


def _array(name: str, values: Callable[[list[Any]], list[Any]], kind: int | None = None) -> Change:
    def change(parts: Parts) -> Parts:
        key = parts.key(name)
        key.value = [key.value[0] if kind is None else kind, None, values(list(key.value[2]))]
        return parts

    return change


def _both(*changes: Change) -> Change:
    def change(parts: Parts) -> Parts | bytes:
        for each in changes:
            changed = each(parts)
            assert isinstance(changed, Parts)
        return parts

    return change


def _without(name: str) -> Change:
    def change(parts: Parts) -> Parts:
        parts.tensors = [tensor for tensor in parts.tensors if tensor.name != name.encode()]
        return parts

    return change


def _data(value: bytes) -> Change:
    def change(parts: Parts) -> Parts:
        parts.data = (value * (len(parts.data) // len(value) + 1))[: len(parts.data)]
        return parts

    return change


def _raw(content: Callable[[bytes], bytes]) -> Change:
    return lambda parts: content(parts.pack())


def _counts(tensors: int | None = None, keys: int | None = None) -> Change:
    def change(parts: Parts) -> Parts:
        parts.n_tensors, parts.n_keys = tensors, keys
        return parts

    return change


def _twice(parts: Parts) -> Parts:
    parts.tensors.append(parts.tensors[0])
    return parts


def _one_over_another(parts: Parts) -> Parts:
    for tensor in parts.tensors:
        tensor.offset = 0
    return parts


def _cases() -> Iterator[tuple[str, Change]]:
    n = "llama."
    for value in (0, 1, 3, 512, 513, 1 << 31, (1 << 32) - 1):
        yield f"{value} layers", _set(f"{n}block_count", U32, value)
    for value in (0, 1, 1 << 31, (1 << 32) - 1):
        yield f"a context of {value}", _set(f"{n}context_length", U32, value)
    for value in (0, 1, 31, 33, 64, (1 << 32) - 1):
        yield f"a width of {value}", _set(f"{n}embedding_length", U32, value)
    for value in (0, 3, 64, (1 << 32) - 1):
        yield f"{value} heads", _set(f"{n}attention.head_count", U32, value)
        yield f"{value} kv heads", _set(f"{n}attention.head_count_kv", U32, value)
    for value in (0, 7, 15, 17, 32, 1 << 30):
        yield f"{value} numbers rotated", _set(f"{n}rope.dimension_count", U32, value)
    for name in ("key_length", "value_length"):
        for value in (0, 1, 15, 1 << 30):
            yield f"{name} {value}", _set(f"{n}attention.{name}", U32, value)
    for value in (NAN, INF, -1.0, 0.0, 1e30):
        yield f"an epsilon of {value}", _set(f"{n}attention.layer_norm_rms_epsilon", F32, value)
        yield f"a rotation of {value}", _set(f"{n}rope.freq_base", F32, value)
    yield "a feed-forward of 0", _set(f"{n}feed_forward_length", U32, 0)
    yield "a vocabulary of 0", _set(f"{n}vocab_size", U32, 0)
    yield "a scaling that is none", _set(f"{n}rope.scaling.type", STRING, b"sideways")
    yield (
        "a scaling by nothing",
        _both(_set(f"{n}rope.scaling.type", STRING, b"yarn"), _set(f"{n}rope.scaling.factor", F32, 0.0)),
    )
    yield "a scaling by NaN", _set(f"{n}rope.scaling.factor", F32, NAN)
    yield "experts beyond the bound", _set(f"{n}expert_count", U32, 100_000)
    yield "more experts used than there are", _set(f"{n}expert_used_count", U32, 8)
    yield "experts, and none is used", _set(f"{n}expert_count", U32, 4)
    yield "attention that looks ahead", _set(f"{n}attention.causal", BOOL, 0)
    yield "a window of one token", _set(f"{n}attention.sliding_window", U32, 1)
    yield "heads for one layer", _set(f"{n}attention.head_count", ARRAY, [U32, None, [2]])
    yield "heads as a text", _set(f"{n}attention.head_count", STRING, b"two")
    yield "a pooling", _set(f"{n}pooling_type", U32, 3)
    for name in (
        "bert",
        "t5",
        "clip",
        "mamba",
        "gemma3",
        "phi3",
        "qwen2moe",
        "",
        "nonsense",
        "x" * 60_000,
    ):
        yield f"the architecture {name[:20]!r}", _set("general.architecture", STRING, name.encode())
    yield "no architecture", _drop("general.architecture")
    yield "an adapter", _set("general.type", STRING, b"adapter")
    yield "one of three parts", _set("split.count", 2, 3)
    for value in (0, 1, 8, 31, 1 << 31):
        yield f"an alignment of {value}", _set("general.alignment", U32, value)
    t = "tokenizer.ggml."
    for name in ("", "none", "llama", "bert", "t5", "rwkv", "plamo2", "nonsense"):
        yield f"a vocabulary of the kind {name!r}", _set(f"{t}model", STRING, name.encode())
    for name in ("", "default", "gpt-2", "llama-bpe", "nonsense", "x" * 60_000):
        yield f"a vocabulary cut as {name[:20]!r}", _set(f"{t}pre", STRING, name.encode())
    yield "no tokens", _array(f"{t}tokens", lambda _: [])
    yield "tokens that are all alike", _array(f"{t}tokens", lambda all_: [b"a"] * len(all_))
    yield "tokens that are all empty", _array(f"{t}tokens", lambda all_: [b""] * len(all_))
    yield "a token that stands there twice", _array(f"{t}tokens", lambda all_: [*all_[:-1], all_[-2]])
    yield "a token too few", _array(f"{t}tokens", lambda all_: all_[:-1])
    yield "tokens that are no UTF-8", _array(f"{t}tokens", lambda all_: [b"\xff\xfe" + each for each in all_])
    yield "a token of a megabyte", _array(f"{t}tokens", lambda all_: [*all_[:-1], b"x" * (1 << 20)])
    yield "no types of tokens", _array(f"{t}token_type", lambda _: [])
    yield "types of tokens that are bytes", _array(f"{t}token_type", lambda all_: [1] * len(all_), 0)
    yield "types of tokens that are none", _array(f"{t}token_type", lambda all_: [77] * len(all_))
    yield "only control tokens", _array(f"{t}token_type", lambda all_: [3] * len(all_))
    yield "only bytes", _array(f"{t}token_type", lambda all_: [6] * len(all_))
    yield "scores for one token", _set(f"{t}scores", ARRAY, [F32, None, [0.0]])
    yield "scores that are bytes", _set(f"{t}scores", ARRAY, [0, None, [0] * 280])
    yield "no merges", _array(f"{t}merges", lambda _: [])
    yield "merges that are none", _array(f"{t}merges", lambda _: [b"nothing", b"", b" ", b"a b c"] * 500)
    for name in ("bos", "eos", "unknown", "padding"):
        yield f"a {name} token that is none", _set(f"{t}{name}_token_id", U32, (1 << 32) - 1)
    yield "an eos token that is a text", _set(f"{t}eos_token_id", STRING, b"</s>")
    yield (
        "a template that never ends",
        _set(
            "tokenizer.chat_template",
            STRING,
            b"{% for a in range(10**9) %}{% for b in range(10**9) %}{% endfor %}{% endfor %}",
        ),
    )
    yield "a template of minichat that is none", _set("minichat.template", STRING, b"\x1b]0;owned\x07")
    yield "a name that drives a terminal", _set("general.name", STRING, b"\x1b[2J\x1b]52;c;AAAA\x07")
    first, matrix = "blk.0.attn_norm.weight", "blk.1.ffn_down.weight"
    for kind in (1, 8, 24, 26, 27, 28, 30, 31, 99):
        yield f"a norm of type {kind}", _tensor(first, kind=kind)
    for kind in (3, 9, 15, 24, 26, 28, 36, 99):
        yield f"a matrix of type {kind}", _tensor(matrix, kind=kind)
    for sizes in (
        [],
        [1 << 62, 1 << 62],
        [_HUGE],
        [0, 32],
        [32, 64, 1, 1],
        [32, 64, 1, 1, 1],
        [64],
        [2048, 1],
        [32, 64],
    ):
        yield f"a matrix of {sizes}", _tensor(matrix, sizes=sizes)
    for offset in (_HUGE, 1 << 40, 8, 31):
        yield f"a tensor at {offset}", _tensor(matrix, offset=offset)
    yield "a tensor without a name", _tensor(matrix, name=b"")
    yield "a tensor with a name of 100,000 letters", _tensor(matrix, name=b"x" * 100_000)
    yield "a tensor twice", _twice
    yield "tensors one over another", _one_over_another
    for name in ("token_embd.weight", "output.weight", "output_norm.weight", first, matrix):
        yield f"no {name}", _without(name)
    yield "a bias that nothing wants", lambda parts: _appended(parts, Tensor(b"blk.0.attn_q.bias", [32], 26, 0))
    yield "weights of NaN", _data(b"\xff\xff\xff\xff")
    yield "weights of infinity", _data(b"\x00\x00\x80\x7f")
    yield "weights of zero", _data(b"\0")
    yield "all tensors that can be", _counts(tensors=1 << 16)
    yield "no tensors", lambda parts: _replaced(parts, tensors=[])
    yield "no keys", lambda parts: _replaced(parts, keys=[])
    yield "tensors without end", _counts(tensors=_HUGE)
    yield "keys without end", _counts(keys=_HUGE)
    yield "nothing", lambda _: b""
    yield "four letters", lambda _: b"GGUF"
    yield "a file of another kind", lambda _: b"PK\x03\x04" + bytes(1000)
    yield "zeros behind the letters", lambda _: b"GGUF" + bytes(47)
    yield "version 1", lambda parts: _replaced(parts, version=1)
    yield "the other byte order", lambda parts: _replaced(parts, version=3 << 24)
    yield "no data", _raw(lambda raw: raw[: raw.rindex(b"weight") + 60])
    yield "half of it", _raw(lambda raw: raw[: len(raw) // 2])
    yield "a key of all memory", _raw(lambda raw: raw[:24] + struct.pack("<Q", _HUGE) + raw[32:])


def _appended(parts: Parts, tensor: Tensor) -> Parts:
    parts.tensors.append(tensor)
    return parts


def _replaced(parts: Parts, **fields: Any) -> Parts:
    for field, value in fields.items():
        setattr(parts, field, value)
    return parts


CASES: dict[str, Change] = dict(_cases())


def made(case: str, sound: bytes) -> bytes:
    """The file of that case, from a sound one."""
    changed = CASES[case](Parts.of(sound))
    return changed if isinstance(changed, bytes) else changed.pack()
