"""Small models that see, for tests of the engine: converted once, with a picture and what transformers makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.pipeline import convert
from minichat.template.pieces import Image, Piece, Tokens

CHECKPOINTS = Path(__file__).parent / "data" / "checkpoints"
IMG, IMG_BREAK, IMG_END = 10, 12, 13


@dataclass(frozen=True)
class Seeing:
    """A model, its projector, a picture in a file, and transformers' ids, features and logits for it."""

    model: Path
    projector: Path
    patch: int
    image: Image
    ids: list[int]
    features: NDArray[np.float32]
    logits: NDArray[Any]

    def pieces(self) -> list[Piece]:
        """The prompt of which the logits are known."""
        begin, end = self.ids.index(IMG), self.ids.index(IMG_END) + 1
        return [Tokens(tuple(self.ids[:begin])), self.image, Tokens(tuple(self.ids[end:]))]


def seeing(name: str, folder: Path, target: str = "f32") -> Seeing:
    """The checkpoint of this name, converted into a folder."""
    model, projector = folder / f"{name}.gguf", folder / f"mmproj-{name}.gguf"
    convert(CHECKPOINTS / name, model, "f32", projector=projector, projector_type=target)
    expected = np.load(CHECKPOINTS / name / "expected.npz")
    ids = expected["ids"].tolist()
    columns = ids.index(IMG_BREAK) - ids.index(IMG)
    image = picture(folder / f"{name}.ppm", expected["image"], expected["image"].shape[1] // columns)
    patch = expected["image"].shape[1] // columns
    return Seeing(model, projector, patch, image, ids, expected["image_features"], expected["logits"])


def picture(path: Path, pixels: NDArray[np.uint8], patch: int = 28) -> Image:
    """Pixels (height, width, 3) as a file, as `minichat.pictures` writes them."""
    height, width, _ = pixels.shape
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())
    key = sha256(path.read_bytes()).hexdigest()
    return Image(path.name, width // patch, height // patch, str(path), key)


def noise(path: Path, columns: int, rows: int, seed: int = 0, patch: int = 28) -> Image:
    """A picture of any pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (rows * patch, columns * patch, 3), dtype=np.uint8)
    return picture(path, pixels, patch)


def encode(pieces: Sequence[Piece]) -> list[int]:
    """The ids of pieces that are tokens and pictures."""
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, Image):
            row = [*[IMG] * piece.columns, IMG_BREAK]
            ids += [*(row * piece.rows)[:-1], IMG_END]
        elif isinstance(piece, Tokens):
            ids += piece.ids
    return ids
