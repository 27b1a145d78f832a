"""Pictures to learn from, drawn by Pillow: coloured shapes, one to five of them, or one digit by hand or in print.

Lengths are parts of the picture's longer side. Everything about a picture comes from the `random.Random` that is given,
so that pictures of other seeds are pictures never seen.
"""

from __future__ import annotations

import colorsys
import io
import math
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .digits import strokes

Point = tuple[float, float]
RGB = tuple[int, int, int]

COLOURS = {
    # hue in degrees, saturation, value: each from - to
    "red": (-8, 8, 0.75, 1.0, 0.7, 1.0),
    "orange": (22, 34, 0.85, 1.0, 0.9, 1.0),
    "yellow": (48, 60, 0.7, 1.0, 0.88, 1.0),
    "green": (95, 148, 0.5, 1.0, 0.4, 0.9),
    "blue": (208, 242, 0.65, 1.0, 0.5, 1.0),
    "purple": (268, 290, 0.5, 1.0, 0.45, 0.8),
    "pink": (322, 346, 0.28, 0.6, 0.92, 1.0),
    "brown": (18, 32, 0.55, 0.85, 0.32, 0.5),
    "black": (0, 360, 0.0, 0.5, 0.0, 0.13),
    "white": (0, 360, 0.0, 0.05, 0.93, 1.0),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "ring", "moon")
DIGITS = tuple("0123456789")
KINDS = (*SHAPES, *DIGITS)
MOST = 5
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSans-Oblique.ttf", "")
"""Training's fonts; the empty name is Pillow's own. A font that the machine lacks becomes Pillow's own."""
TEST_FONTS = ("DejaVuSansMono-Bold.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansCondensed.ttf")


@dataclass(frozen=True)
class Item:
    """A shape or a digit. x, y: its centre; r: half its size; the longer side of the picture is 1."""

    kind: str
    colour: str
    x: float
    y: float
    r: float


@dataclass(frozen=True)
class Scene:
    """width and height: the longer of them is 1."""

    sort: str
    width: float
    height: float
    items: tuple[Item, ...]


def scene(rng: random.Random, width: float, height: float) -> Scene:
    """sort: single; same (two to five alike); mixed (two groups that differ in shape and colour); digit."""
    sort = rng.choices(("single", "same", "mixed", "digit"), (20, 20, 30, 30))[0]
    low = min(width, height)
    if sort in ("single", "digit"):
        r = low * (rng.uniform(0.2, 0.48) if sort == "single" else rng.uniform(0.28, 0.49))
        kind = rng.choice(SHAPES if sort == "single" else DIGITS)
        place = rng.uniform(r, width - r), rng.uniform(r, height - r)
        return Scene(sort, width, height, (Item(kind, rng.choice(tuple(COLOURS)), *place, r),))
    count = rng.randint(2, MOST)
    first = 1 if count == 2 else rng.randint(1, count - 1)
    (a, b), (c, d) = rng.sample(SHAPES, 2), rng.sample(tuple(COLOURS), 2)
    looks = [(a, c)] * count if sort == "same" else [(a, c)] * first + [(b, d)] * (count - first)
    items: list[Item] = []
    most, tries = rng.uniform(0.1, 0.2), 0
    while len(items) < count:
        tries += 1
        r = min(most * rng.uniform(0.8, 1.1) * 0.993**tries, low * 0.45)
        x, y = rng.uniform(r, width - r), rng.uniform(r, height - r)
        if all(math.hypot(x - i.x, y - i.y) > 1.08 * (r + i.r) for i in items):
            items.append(Item(*looks[len(items)], x, y, r))
    return Scene(sort, width, height, tuple(items))


def a_colour(rng: random.Random, name: str) -> RGB:
    """One of the colours that go by this name."""
    h0, h1, s0, s1, v0, v1 = COLOURS[name]
    rgb = colorsys.hsv_to_rgb(rng.uniform(h0, h1) / 360 % 1, rng.uniform(s0, s1), rng.uniform(v0, v1))
    return tuple(round(255 * c) for c in rgb)  # type: ignore[return-value]


def background(rng: random.Random, colours: list[RGB]) -> RGB:
    """A colour that stands off from all of `colours`."""
    while True:
        sort = rng.random()
        if sort < 0.45:
            rgb = (rng.randint(238, 255),) * 3
        elif sort < 0.55:
            rgb = (rng.randint(0, 30),) * 3
        elif sort < 0.7:
            rgb = (rng.randint(90, 200),) * 3
        else:
            rgb = (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255))
        if all(math.dist(rgb, c) > 95 for c in colours):
            return rgb


def polygon(rng: random.Random, kind: str) -> list[Point]:
    """The outline in the unit circle, turned as far as the shape keeps its name."""
    turn = rng.uniform(-15, 15)
    if kind in ("circle", "ring", "moon"):
        points = [(math.cos(a), math.sin(a)) for a in (i * math.tau / 48 for i in range(48))]
    elif kind == "square":
        points = [(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)]
    elif kind == "triangle":
        points = [(math.sin(a), -math.cos(a)) for a in (0, math.tau / 3, 2 * math.tau / 3)]
    elif kind == "star":
        inner = rng.uniform(0.36, 0.48)
        points = [
            ((inner if i % 2 else 1) * math.sin(i * math.pi / 5), -(inner if i % 2 else 1) * math.cos(i * math.pi / 5))
            for i in range(10)
        ]
    elif kind == "cross":
        w = rng.uniform(0.2, 0.34)
        corner = [(-w, -1.0), (w, -1.0), (w, -w), (1.0, -w), (1.0, w), (w, w)]
        points = [*corner, *((-x, -y) for x, y in corner)]
        points = [(0.95 * x, 0.95 * y) for x, y in points]
    else:  # heart
        angles = [i * math.tau / 48 for i in range(48)]
        points = [
            (math.sin(a) ** 3, -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16)
            for a in angles
        ]
    wide = rng.uniform(0.88, 1.0)
    return [rotated((x * wide, y), turn) for x, y in points]


def rotated(point: Point, degrees: float) -> Point:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return point[0] * c - point[1] * s, point[0] * s + point[1] * c


def shape_mask(rng: random.Random, kind: str, size: int) -> Image.Image:
    """The shape in white on a black square of size x size pixels."""
    mask = Image.new("L", (size, size))
    draw, half = ImageDraw.Draw(mask), size / 2
    draw.polygon([(half + half * x, half + half * y) for x, y in polygon(rng, kind)], fill=255)
    if kind == "ring":
        hole = half * rng.uniform(0.45, 0.65)
        draw.ellipse((half - hole, half - hole, half + hole, half + hole), fill=0)
    elif kind == "moon":
        r, (x, y) = half * rng.uniform(0.8, 0.95), rotated((half * rng.uniform(0.4, 0.55), 0), rng.uniform(-60, 60))
        side = rng.choice((-1, 1))
        x, y = half + side * x, half + y
        draw.ellipse((x - r, y - r, x + r, y + r), fill=0)
    return mask


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    folder = Path("/usr/share/fonts/truetype/dejavu")
    if name and (folder / name).exists():
        return ImageFont.truetype(str(folder / name), size)
    return ImageFont.load_default(size)


def digit_mask(rng: random.Random, digit: str, size: int, fonts: tuple[str, ...], by_hand: float) -> Image.Image:
    """The digit in white on a black square; `by_hand`: the part that is drawn in strokes."""
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    if rng.random() < by_hand:
        width = max(2, round(size * rng.uniform(0.05, 0.15)))
        inner = size - width
        for stroke in strokes(rng, digit):
            points = [(width / 2 + inner * x, width / 2 + inner * y) for x, y in stroke]
            draw.line(points, fill=255, width=width, joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
        return mask
    face = font(rng.choice(fonts), round(size * rng.uniform(0.95, 1.3)) // 4 * 4)
    draw.text((size / 2, size / 2), digit, fill=255, font=face, anchor="mm")
    return mask.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)


def picture(rng: random.Random, of: Scene, longest: int, fonts: tuple[str, ...] = FONTS,
            by_hand: float = 0.7) -> Image.Image:  # fmt: skip
    """The scene with `longest` pixels on its longer side, with light, noise, blur and JPEG now and then."""
    colours = {i.colour: a_colour(rng, i.colour) for i in of.items}
    size = round(of.width * longest), round(of.height * longest)
    image = Image.new("RGB", size, background(rng, list(colours.values())))
    for item in of.items:
        box = max(8, round(2 * item.r * longest))
        if item.kind in DIGITS:
            mask = digit_mask(rng, item.kind, box, fonts, by_hand)
        else:
            mask = shape_mask(rng, item.kind, box)
        image.paste(colours[item.colour], (round(item.x * longest - box / 2), round(item.y * longest - box / 2)), mask)
    return weathered(rng, image)


def weathered(rng: random.Random, image: Image.Image) -> Image.Image:
    """The image as a camera or a file may leave it: blurred, shaded, noisy, compressed, or as it was."""
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.01 * max(image.size))))
    if rng.random() < 0.2:
        shade = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).point(lambda v: 255 - v * 2 // 7)
        image = ImageChops.multiply(image, shade.resize(image.size).convert("RGB"))
    if rng.random() < 0.45:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((image.height, image.width, 3), np.float32)
        dirty = np.asarray(image, np.float32) + noise * rng.uniform(2, 22)
        image = Image.fromarray(dirty.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(35, 92))
        image = Image.open(file).convert("RGB")
    return image
