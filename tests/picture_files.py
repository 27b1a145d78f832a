"""Picture files of all kinds, made by Pillow, for the tests."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[np.uint8]]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Array:
    """Random pixels: (height, width, channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def oriented(picture: Image.Image, orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, kind, exif=exif)


def samples() -> dict[str, bytes]:
    """One small file of each kind that there is code for, by a name for it."""
    rgb, rgba = Image.fromarray(noise(40, 60)), Image.fromarray(noise(40, 60, 4))
    frames = [Image.fromarray(noise(40, 60, seed=seed)).quantize(16) for seed in range(3)]
    deep = Image.fromarray(np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) * 27)
    return {
        "baseline.jpg": saved(rgb, "JPEG"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "turned.jpg": oriented(rgb, 6, "JPEG"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "phone.jpg": saved(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)]),
        "grey.jpg": saved(rgb.convert("L"), "JPEG"),
        "rgb.png": saved(rgb, "PNG"),
        "rgba.png": saved(rgba, "PNG"),
        "palette.png": saved(frames[0], "PNG", transparency=3),
        "deep.png": saved(deep, "PNG"),
        "bits.png": saved(rgb.convert("1"), "PNG"),
        "moving.png": saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "moving.webp": saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "still.gif": saved(frames[0], "GIF"),
        "moving.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    }
