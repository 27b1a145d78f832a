"""What a model reads pictures with: a projector ("mmproj"), a GGUF file of its own that belongs to one model.

    general.architecture = "clip"          clip.has_vision_encoder        clip.projector_type = "pixtral"
    clip.vision.image_size                 pixels of the longest side     clip.vision.patch_size
    clip.vision.spatial_merge_size         patches a side that become one token
    clip.vision.projection_dim             elements of a token's embedding: the width of the model that it belongs to

Metadata may hold anything: what makes no sense is an error here, and never reaches the engine. Standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat.folders import read_plain
from minichat.gguf_names import choose_projector, told_target
from quant.errors import DataError, GgufError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader

KIND = "pixtral"  # the one that Mistral's models have
_ARCHITECTURE = "clip"
BREAK, _LAST = "v.token_embd.img_break", "mm.2.weight"  # a row's end; what makes the embeddings
_MAX_SIDE = 1 << 16  # pixels
_MAX_PATCH = 1 << 10
_MAX_WIDTH = 1 << 20
_HEAD_BYTES = 64 << 10  # more than the keys before a vocabulary take
_MAX_BESIDE = 10_000  # files of a folder that are looked at


@dataclass(frozen=True)
class Projector:
    """Of which kind a projector is, and what it takes. width: of the model. longest_side, patch: pixels.

    merge: so many patches a side become one token. quantization: as the file tells it.
    """

    kind: str
    width: int
    longest_side: int
    patch: int
    merge: int
    quantization: str | None = None

    @property
    def side_tokens(self) -> int:
        """Tokens [IMG] of the longer side, at most: patches that are begun count, as in `minichat.pictures.size`."""
        return -(-self.longest_side // (self.patch * self.merge))

    @property
    def max_tokens(self) -> int:
        """Tokens of the largest picture, a row's end among them.

        >>> Projector("pixtral", 5120, 1540, 14, 2).max_tokens
        3080
        """
        return self.side_tokens * (self.side_tokens + 1)


def is_projector_header(metadata: Mapping[str, Any]) -> bool:
    """Whether a GGUF file is what some model reads pictures, or hears, with."""
    return metadata.get("general.architecture") == _ARCHITECTURE


def projector_of(metadata: Mapping[str, Any], what: str) -> Projector:
    """What the keys of a projector's header tell. GgufError, which begins with `what`, if it is none for Mistral's."""
    if not is_projector_header(metadata) or metadata.get("clip.has_vision_encoder") is not True:
        raise GgufError(f"{what} is no file that a model reads pictures with (an mmproj)")
    kind = metadata.get("clip.vision.projector_type") or metadata.get("clip.projector_type")
    if kind != KIND:
        told = kind[:40] if isinstance(kind, str) else "none that it tells"
        raise GgufError(f"{what} is of the kind {told!r}: minichat takes those of Mistral's models, {KIND!r}")
    return Projector(
        KIND,
        _count(metadata, "projection_dim", _MAX_WIDTH, what),
        _count(metadata, "image_size", _MAX_SIDE, what),
        _count(metadata, "patch_size", _MAX_PATCH, what),
        _count(metadata, "spatial_merge_size", _MAX_PATCH, what, 1),
        told_target(metadata),
    )


def check_projector(header: GgufHeader, what: str) -> Projector:
    """As `projector_of`, for a whole header: what pictures cannot be read without must be there."""
    told = projector_of(header.metadata, what)
    tensors = {tensor.name: tensor for tensor in header.tensors}
    for name in (BREAK, _LAST):
        if name not in tensors:
            raise GgufError(f"{what} lacks the tensor {name}: take another one, or convert the model again")
        if (width := tensors[name].shape[-1 if name == BREAK else 0]) != told.width:
            raise GgufError(f"{what} is damaged: its {name} is {width:,} wide, and its header says {told.width:,}")
    return told


def read_projector(path: Path, name: str | None = None) -> Projector:
    """The projector in a file. GgufError, in one line that says `name`, else the path, if it is none."""
    from convert.gguf_file import read_header

    if path.exists() and not path.is_file():  # a folder, or what would never answer
        raise GgufError(f"{name or path} is no file that a model reads pictures with (an mmproj)")
    return check_projector(read_header(path, name), name or str(path))


@contextmanager
def for_pictures(model: str) -> Iterator[None]:
    """In it a projector of the model is read: DataErrors say so, and what to do.

    >>> with for_pictures("small"):  # doctest: +ELLIPSIS
    ...     raise DataError("x.gguf is damaged")
    Traceback (most recent call last):
    quant.errors.DataError: small: what it reads pictures with: x.gguf is damaged; convert, pull or import it again, ...
    """
    try:
        yield
    except DataError as error:
        again = "convert, pull or import it again, or use it for text alone: --mmproj none"
        raise type(error)(f"{model}: what it reads pictures with: {error}; {again}") from error


def check_sound(path: Path, model: Mapping[str, Any], name: str, what: str | None = None) -> None:
    """DataError, in one line that says `what`, else the path, unless the model `name` with this metadata can read
    pictures with a file, as far as its header tells: all that the engine looks at, too.
    """
    from minichat.engine.eyesight import read_sound_projector

    try:
        read_sound_projector(path, model, name)
    except DataError as error:
        raise type(error)(str(error).replace(str(path), what or str(path))) from error


def check_fits(projector: Projector, what: str, metadata: Mapping[str, Any], model: str) -> None:
    """DataError if the projector `what` belongs to another model than the one with this metadata."""
    width = model_width(metadata)
    if width is not None and width != projector.width:
        raise DataError(
            f"{what} belongs to another model: it makes embeddings of {projector.width:,} elements, and {model} takes "
            f"{width:,}"
        )


def model_width(metadata: Mapping[str, Any]) -> int | None:
    """The elements of a token's embedding in a text model; None if its header does not tell."""
    value = metadata.get(f"{metadata.get('general.architecture')}.embedding_length")
    return value if type(value) is int and value > 0 else None


def beside(model: Path) -> Path | None:
    """The projector in the folder of a GGUF file: mmproj-NAME.gguf, else the only one there, if it fits the model.

    None if there is none: what is damaged, or does not go with the model, is passed over. A projector has none itself.
    """
    try:
        return _sound_beside(model)
    except (OSError, DataError):
        return None


def wrong_beside(model: Path) -> str | None:
    """What is wrong with the projector that `beside` passed over, in one line; None if there is none."""
    try:
        _sound_beside(model)
    except DataError as error:
        return str(error)
    except OSError:
        pass
    return None


def _sound_beside(model: Path) -> Path | None:
    if is_projector_header(keys := leading_keys(model)):
        return None
    with_links = (path.name for path, _ in zip(model.parent.iterdir(), range(_MAX_BESIDE), strict=False))
    chosen = choose_projector(model.name, with_links)
    if chosen is None or not (path := model.parent / chosen).is_file():
        return None
    check_sound(path, keys, str(model))
    return path


def leading_keys(path: Path) -> Mapping[str, Any]:
    """The first keys of a GGUF file, which tell what it is. OSError, or GgufError if it is none.

    Nothing but a plain file is opened, or what a link leads to: a pipe would be waited at for ever.
    """
    from convert.gguf_file import read_leading_keys

    try:
        real = path.resolve(strict=True)
    except RuntimeError as error:  # a loop of links, before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error
    return read_leading_keys(read_plain(real, _HEAD_BYTES), real.stat().st_size, str(path)).metadata


def _count(metadata: Mapping[str, Any], key: str, most: int, what: str, default: int | None = None) -> int:
    value = metadata.get(f"clip.vision.{key}", default)
    if type(value) is not int or not 0 < value <= most:
        shown = "is missing" if value is None else f"is {value!r:.40}"
        raise GgufError(f"{what} is damaged: its clip.vision.{key} {shown}")
    return value
