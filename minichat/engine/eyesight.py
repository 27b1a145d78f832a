"""What a model sees with: its projector's file, held against what libmtmd asserts instead of checking.

`minichat.projectors` tells which model such a file belongs to. libmtmd ends its process on a key of another type than
it expects, on sizes that make no sense, and on tensors of other shapes than the header's sizes say. So each key that it
reads has the type that it reads, each tensor the shape that its graph for Pixtral multiplies, and there is none that it
would take for a part of another graph. All of it takes about a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.gguf_file import ALIGNMENT, GgufHeader, TensorInfo, padded, read_header
from convert.gguf_keys import ARRAY, BOOL, F32, STRING, U32
from minichat.engine.resident import spare_bytes
from minichat.fit import last
from minichat.projectors import BREAK, Projector, check_fits, check_projector
from minichat.terminal.units import format_bytes
from quant.errors import DataError, FitError, GgufError

if TYPE_CHECKING:
    from minichat.engine.gallery import Gallery
    from minichat.engine.llama import Llama
    from minichat.engine.seeing import Eye
    from minichat.template.pieces import Image

_MAX_SIZE = 1 << 20
_MAX_LAYERS, _MAX_TOKENS = 512, 1 << 16
_ROTATED = 4  # dimensions: pairs for the rows, and pairs for the columns
_PLACE_BYTES = 32
_OF = "clip.vision."
_KINDS = {
    "general.name": STRING,
    "general.description": STRING,
    "general.file_type": U32,
    "clip.projector_type": STRING,
    "clip.vision.projector_type": STRING,
    "clip.has_vision_encoder": BOOL,
    "clip.has_audio_encoder": BOOL,
    "clip.use_silu": BOOL,
    "clip.use_gelu": BOOL,
    **dict.fromkeys((f"{_OF}{name}" for name in ("image_size", "patch_size", "spatial_merge_size", "embedding_length",
                     "feed_forward_length", "block_count", "projection_dim", "attention.head_count")), U32),
    f"{_OF}attention.layer_norm_epsilon": F32,
    f"{_OF}image_mean": ARRAY,
    f"{_OF}image_std": ARRAY,
}  # fmt: skip
# Of files that others made; libmtmd reads none of them for this kind, or to no effect.
_IDLE = ("clip.has_text_encoder", "clip.has_llava_projector", "clip.use_glu_mlp")
_COUNTS = ("embedding_length", "feed_forward_length", "block_count", "attention.head_count")
_COLOURS, _F32_BYTES = 3, 4
_FLOATS = ("f32", "f16")
_SHARE = 0.85
_INTEGERS = ("i8", "i16", "i32", "i64", "f64", "q8_1", "q8_K")


@dataclass(frozen=True)
class SoundProjector:
    """A projector's file that libmtmd can be shown. told: what its header says; weight_bytes: of its tensors;
    row_end: the embedding of [IMG_BREAK], (width,) float32.
    """

    path: Path
    told: Projector
    weight_bytes: int
    row_end: bytes
    hidden: int
    feed_forward: int

    @property
    def patch(self) -> int:
        """Pixels a side of what becomes one token."""
        return self.told.patch * self.told.merge

    def buffer_bytes(self, tokens: int) -> int:
        """What encoding a picture of so many tokens takes besides the weights: as libmtmd's log tells of the graph, for
        each patch two rows of the feed-forward and eight of the others, float32; its pixels twice, and its embeddings.
        """
        patches = tokens * self.told.merge**2
        graph = patches * (2 * self.feed_forward + 8 * self.hidden)
        return _F32_BYTES * (graph + 2 * patches * _COLOURS * self.told.patch**2 + 2 * tokens * self.told.width)


def read_sound_projector(path: Path, metadata: Mapping[str, Any], model: str) -> SoundProjector:
    """The projector in a file, for the model with this metadata. DataError, in one line, for any other."""
    header = read_header(path)
    told = check_projector(header, str(path))
    check_fits(told, str(path), metadata, model)
    problem = next(problems(header, told), None)
    if problem is not None:
        raise GgufError(f"{path} is damaged, or no projector of Mistral's: {problem}")
    keys = header.metadata
    nbytes = sum(tensor.nbytes for tensor in header.tensors)
    sizes = keys[f"{_OF}embedding_length"], keys[f"{_OF}feed_forward_length"]
    return SoundProjector(path, told, nbytes, _row_end(path, header), *sizes)


def _row_end(path: Path, header: GgufHeader) -> bytes:
    tensor = next(tensor for tensor in header.tensors if tensor.name == BREAK)
    with path.open("rb") as file:
        file.seek(header.data_offset + tensor.offset)
        return file.read(tensor.nbytes)


def gallery_for(projector: SoundProjector, llama: Llama, room: Room, check: Callable[[], None]) -> Gallery:
    """The pictures of a loaded model. The projector is loaded when the first one is asked for, and `check` called."""
    from minichat.engine.gallery import Gallery

    return Gallery(partial(_open, projector, llama, room.on_gpu, check), spare_bytes, room.check)


class Room:
    """The memory for encoding pictures, which is taken as they come and kept: that of the largest one serves all."""

    def __init__(self, projector: SoundProjector, on_gpu: bool) -> None:
        self._projector, self.on_gpu = projector, on_gpu
        self._taken = 0

    def check(self, image: Image) -> None:
        """FitError, with the numbers, for a picture that there is no room for; else it is counted as encoded.

        DataError for one that is larger than the model takes.
        """
        told = self._projector.told
        if max(image.columns, image.rows) > told.side_tokens:
            width, height = (count * self._projector.patch for count in (image.columns, image.rows))
            raise DataError(
                f"the picture {image.source!r:.60} has {width} x {height} pixels; the model takes {told.longest_side}"
            )
        needed, free = self._needed(image.tokens), self._free()
        if free is not None and needed > free:
            fits = self.most_tokens()
            way = f"--image-max-tokens {fits} would fit" if fits else "end other programs, no picture would fit"
            raise FitError(
                f"reading the picture {image.source!r:.60} takes {format_bytes(needed)} of memory, and "
                f"{format_bytes(free)} are free: {way}"
            )
        self._taken = max(self._taken, self._in_all(image.tokens))

    def most_tokens(self) -> int:
        """The tokens of the largest picture that there is room for now; 0 if there is none.

        A part of the memory is left for what else is taken before the picture is read: the context of the prompt.
        """
        most, free = self._projector.told.max_tokens, self._free()
        return most if free is None else last(most, lambda tokens: self._needed(tokens) <= _SHARE * free)

    def _in_all(self, tokens: int) -> int:
        return self._projector.weight_bytes + self._projector.buffer_bytes(tokens)

    def _needed(self, tokens: int) -> int:
        return max(0, self._in_all(tokens) - self._taken)

    def _free(self) -> int | None:
        if not self.on_gpu:
            return spare_bytes()
        from minichat.engine import binding, devices

        return max((device.free_bytes for device in devices.gpus(binding.load())), default=0)


def _open(projector: SoundProjector, llama: Llama, on_gpu: bool, check: Callable[[], None]) -> Eye:
    from minichat.engine.llama import usable_cpus
    from minichat.engine.seeing import Eye

    check()
    most, threads = projector.told.max_tokens, usable_cpus()
    return Eye(projector.path, llama.model, projector.patch, projector.row_end, most, threads, on_gpu)


def problems(header: GgufHeader, told: Projector) -> Iterator[str]:
    """What libmtmd would not survive of a header, in a few words each."""
    yield from _keys(header)
    hidden, feed_forward, layers, heads = (_count(header, name) for name in _COUNTS)
    if not (hidden and feed_forward and layers and heads) or layers > _MAX_LAYERS or hidden % heads:
        yield f"it has {layers} layers of {hidden} and {feed_forward} dimensions with {heads} heads"
    elif hidden // heads % _ROTATED:
        yield f"its heads have {hidden // heads} dimensions, no multiple of {_ROTATED}"
    if told.longest_side < told.patch * told.merge or told.max_tokens > _MAX_TOKENS:
        yield f"its pictures have {told.longest_side} pixels a side"
    yield from _tensors(header, told, hidden, feed_forward, layers)


def _count(header: GgufHeader, name: str) -> int:
    """A size that the header names; 0 if that makes no sense."""
    value = header.metadata.get(f"{_OF}{name}")
    return value if type(value) is int and value <= _MAX_SIZE else 0


def _keys(header: GgufHeader) -> Iterator[str]:
    keys = header.metadata
    for key, kind in header.kinds.items():
        is_read = key in _KINDS or (key.startswith("clip.") and key not in _IDLE)
        if is_read and _KINDS.get(key) != kind:
            yield f"it has a key {key[:60]!r} of the type {kind}"
    if keys.get("clip.has_audio_encoder", False) or not keys.get("clip.use_silu", False) or keys.get("clip.use_gelu"):
        yield "it is not one that reads pictures alone, with SiLU"
    for name in ("image_mean", "image_std"):
        values = keys.get(f"{_OF}{name}")
        if header.elements.get(f"{_OF}{name}") != F32 or not isinstance(values, list) or len(values) != _COLOURS:
            yield f"its {name} is not one number for each of {_COLOURS} colours"
        elif not all(map(math.isfinite, values)) or (name == "image_std" and not all(values)):
            yield f"its {name} is {values}"
    epsilon = keys.get(f"{_OF}attention.layer_norm_epsilon")
    if not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        yield f"its epsilon is {epsilon}"


def _tensors(header: GgufHeader, told: Projector, hidden: int, feed_forward: int, layers: int) -> Iterator[str]:
    needed, optional = shapes(told, hidden, feed_forward, layers)
    found = {tensor.name: tensor for tensor in header.tensors}
    if len(found) != len(header.tensors):
        yield "a tensor stands in it twice"
    if missing := sorted(needed.keys() - found.keys()):
        yield f"it lacks the tensor {missing[0]}"
    for name, tensor in found.items():
        shape = needed.get(name) or optional.get(name)
        if shape is None:
            yield f"it has a tensor {name[:60]!r}, which is of another kind of model"
        elif tensor.shape != shape:
            yield f"its tensor {name} has the shape {list(tensor.shape)}, not {list(shape)}"
        else:
            yield from _place_and_type(tensor, header.data_offset)
    alignment = header.metadata.get("general.alignment", ALIGNMENT)
    end = 0
    for tensor in header.tensors:
        if tensor.offset != end:
            yield f"its tensor {tensor.name[:60]!r} does not stand behind the one before it"
        end = tensor.offset + padded(tensor.nbytes, alignment)


def _place_and_type(tensor: TensorInfo, data_offset: int) -> Iterator[str]:
    kind = tensor.kind.name
    if (data_offset + tensor.offset) % _PLACE_BYTES:
        yield f"its tensor {tensor.name} stands at {data_offset + tensor.offset}, no multiple of {_PLACE_BYTES}"
    if len(tensor.shape) == 1 and kind != "f32":
        yield f"its tensor {tensor.name} is of type {kind}, not f32"
    if len(tensor.shape) == 4 and kind not in _FLOATS:
        yield f"its tensor {tensor.name} is of type {kind}, not f32 or f16"
    if kind in _INTEGERS:
        yield f"its tensor {tensor.name} is of type {kind}, which no weights have"


def shapes(
    told: Projector, hidden: int, feed_forward: int, layers: int
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes, outermost first, of the tensors that libmtmd needs, and of those that it takes besides."""
    needed: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (hidden, _COLOURS, told.patch, told.patch),
        "v.pre_ln.weight": (hidden,),
        BREAK: (told.width,),
        "mm.1.weight": (told.width, hidden),
        "mm.2.weight": (told.width, told.width),
    }
    optional: dict[str, tuple[int, ...]] = {"mm.1.bias": (told.width,), "mm.2.bias": (told.width,)}
    merger: dict[str, tuple[int, ...]] = {"mm.patch_merger.weight": (hidden, hidden * told.merge**2)}
    (needed if told.merge > 1 else optional).update(merger)
    optional["mm.input_norm.weight"] = (hidden,)
    for n in range(layers):
        block = f"v.blk.{n}."
        needed |= {f"{block}{name}.weight": (hidden,) for name in ("ln1", "ln2")}
        needed |= {f"{block}attn_{name}.weight": (hidden, hidden) for name in ("q", "k", "v", "out")}
        needed |= {f"{block}ffn_{name}.weight": (feed_forward, hidden) for name in ("gate", "up")}
        needed[f"{block}ffn_down.weight"] = (hidden, feed_forward)
    return needed, optional
