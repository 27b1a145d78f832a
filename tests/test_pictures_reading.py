"""What becomes of a picture's pixels, in the process that reads them."""

from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import picture_files
import pytest
from picture_files import Array, noise, oriented, saved
from PIL import Image

from minichat.pictures import reading


def read(folder: Path, content: bytes, kind: str, **limits: Any) -> tuple[dict[str, Any], Array]:
    """What is told of a picture's file, and the pixels that were written: (height, width, 3)."""
    path, pixels = folder / "picture", folder / "pixels.ppm"
    path.write_bytes(content)
    files = {"path": str(path), "pixels": str(pixels), "thumbnail": str(folder / "thumbnail.png")}
    told = reading.read({**files, "format": kind, "longest": 1540, "patch": 28, "max_tokens": None, **limits})
    written = pixels.read_bytes()
    assert told["key"] == hashlib.sha256(written).hexdigest()
    width, height = (told[side] * limits.get("patch", 28) for side in ("columns", "rows"))
    head = f"P6\n{width} {height}\n255\n".encode()
    assert written.startswith(head)
    return told, np.frombuffer(written, np.uint8, offset=len(head)).reshape(height, width, 3)


def white_behind(pixels: Array) -> Array:
    """RGBA on white, each channel rounded to the nearest."""
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:].astype(float) / 255
    return np.round(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)


def test_whole_patches_are_left_alone(tmp_path: Path) -> None:
    pixels = noise(28, 56)
    told, found = read(tmp_path, saved(Image.fromarray(pixels), "PNG"), "PNG")
    assert np.array_equal(found, pixels)
    assert {name: told[name] for name in ("width", "height", "columns", "rows")} == {
        "width": 56,
        "height": 28,
        "columns": 2,
        "rows": 1,
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns(orientation: int, tmp_path: Path) -> None:
    stored = noise(28, 56)
    flips = {1: "", 2: "x", 3: "xy", 4: "y", 5: "", 6: "x", 7: "xy", 8: "y"}[orientation]
    upright = stored if orientation < 5 else stored.transpose(1, 0, 2)
    upright = upright[:, ::-1] if "x" in flips else upright
    upright = upright[::-1] if "y" in flips else upright
    told, found = read(tmp_path, oriented(Image.fromarray(stored), orientation), "PNG")
    assert np.array_equal(found, upright)
    assert (told["height"], told["width"]) == upright.shape[:2]


def test_damaged_exif_is_passed_over(tmp_path: Path) -> None:
    content = saved(Image.new("RGB", (28, 28), "red"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read(tmp_path, content, "JPEG")[0]["rows"] == 1


def test_transparency_is_white(tmp_path: Path) -> None:
    rgba = noise(28, 28, 4)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        found = read(tmp_path, saved(Image.fromarray(rgba), kind, **options), kind)[1]
        assert np.abs(found.astype(int) - white_behind(rgba)).max() <= 1
    grey = Image.new("LA", (28, 28), (0, 51))
    assert np.all(read(tmp_path, saved(grey, "PNG"), "PNG")[1] == 204)
    plain = Image.new("RGB", (28, 28), (1, 2, 3))  # one colour that stands for nothing
    assert np.all(read(tmp_path, saved(plain, "PNG", transparency=(1, 2, 3)), "PNG")[1] == 255)
    palette = Image.new("P", (28, 28), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert np.all(read(tmp_path, saved(palette, "GIF", transparency=1), "GIF")[1] == 255)
    assert np.all(read(tmp_path, saved(palette, "GIF"), "GIF")[1] == (10, 20, 30))
    tall = Image.new("RGBA", (28, 700), (0, 0, 0, 0))  # more rows than are done at a time
    tall.paste((0, 0, 255, 255), (0, 600, 28, 700))
    found = read(tmp_path, saved(tall, "PNG"), "PNG")[1]
    assert np.all(found[:600] == 255)
    assert np.all(found[600:] == (0, 0, 255))


def test_16_bits_keep_their_brightness(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (28, 28), dtype=np.uint16)
    found = read(tmp_path, saved(Image.fromarray(values), "PNG"), "PNG")[1]
    assert np.abs(found[..., 0] - values / 257).max() <= 1
    assert np.array_equal(found[..., 0], found[..., 2])


def test_other_kinds_of_colour(tmp_path: Path) -> None:
    bits = Image.fromarray(noise(28, 28)).convert("1")
    assert np.array_equal(read(tmp_path, saved(bits, "PNG"), "PNG")[1], np.array(bits.convert("RGB")))
    ink = Image.new("CMYK", (28, 28), (0, 255, 255, 0))  # red
    red = read(tmp_path, saved(ink, "JPEG", quality=95), "JPEG")[1]
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO"])
def test_the_first_frame(kind: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (28, 28), (250, 0, 0)), Image.new("RGB", (28, 28), (0, 0, 250))
    content = saved(first, kind, save_all=True, append_images=[second], duration=50)
    found = read(tmp_path, content, "JPEG" if kind == "MPO" else kind)[1]
    assert np.abs(found.astype(int) - (250, 0, 0)).max() <= 4


@pytest.mark.parametrize("size", [(200, 90), (20, 9), (1900, 33), (100, 100)])
def test_scaled_by_bicubic_over_all_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = noise(size[1], size[0])
    told, found = read(tmp_path, saved(Image.fromarray(pixels), "PNG"), "PNG", longest=140)
    wide = bicubic(pixels.astype(float), told["columns"] * 28, 1)
    assert np.abs(found - bicubic(wide, told["rows"] * 28, 0)).max() < 2  # Pillow rounds once more, between the two


def bicubic(pixels: Any, length: int, axis: int) -> Any:
    """Along one axis: Keys's kernel with a = -0.5, as wide as a pixel of the result where that is larger."""
    source = pixels.shape[axis]
    scale = source / length
    support = max(scale, 1.0)
    centres = (np.arange(length) + 0.5) * scale - 0.5
    x = np.abs((np.arange(source)[None, :] - centres[:, None]) / support)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(np.moveaxis(np.tensordot(weights, np.moveaxis(pixels, axis, 0), axes=1), 0, axis), 0, 255)


def test_large_jpegs_are_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = oriented(Image.fromarray(np.full((600, 900, 3), (200, 100, 50), np.uint8)), 6, "JPEG")
    whole, pixels = read(tmp_path, content, "JPEG")
    monkeypatch.setattr(reading, "_LARGE", 1000)
    half, found = read(tmp_path, content, "JPEG")
    assert {**half, "key": ""} == {**whole, "key": ""}
    assert (half["width"], half["height"]) == (600, 900)
    assert np.abs(found.astype(int) - pixels).max() <= 3


def test_thumbnails_are_small_and_of_the_pictures_proportions(tmp_path: Path) -> None:
    for size, expected in (((2000, 400), (320, 64)), ((30, 50), (30, 50)), ((10, 5000), (1, 240))):
        read(tmp_path, saved(Image.new("L", size), "PNG"), "PNG")
        assert Image.open(tmp_path / "thumbnail.png").size == expected


def answer(folder: Path, content: bytes, kind: str) -> str:
    """What is told of a picture that cannot be read."""
    (folder / "x").write_bytes(content)
    files = {"path": str(folder / "x"), "pixels": str(folder / "y"), "thumbnail": str(folder / "z")}
    told = reading._answer({**files, "format": kind, "longest": 1540, "patch": 28, "max_tokens": None})
    assert set(told) == {"error"}
    return str(told["error"])


def test_bombs_and_damage_are_told(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    Image.new("1", (28, 28)).save(bomb, "PNG")
    header = bytearray(bomb.getvalue())
    header[16:24] = (20_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    assert answer(tmp_path, bytes(header), "PNG") == "it has more than 178 million pixels: make it smaller"
    jpeg = picture_files.samples()["baseline.jpg"]
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        whole = picture_files.saved(Image.fromarray(picture_files.noise(60, 90, seed=1)), kind)
        assert answer(tmp_path, whole[: len(whole) // 2], kind) == "it is damaged: its end is missing"
    assert answer(tmp_path, jpeg[:20], "JPEG").startswith("it is damaged")
    assert answer(tmp_path, jpeg, "PNG") == "it is damaged: it begins as PNG does, and goes on otherwise"
