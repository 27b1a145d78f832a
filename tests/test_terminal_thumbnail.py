"""Small pictures as terminals take them, read back; the test's own terminal says what is on the screen."""

from __future__ import annotations

import io
from pathlib import Path

import pyte
import pytest
from picture_terminal import pictures_in
from PIL import Image, ImageChops, ImageFilter, ImageStat
from pseudo_terminal import Screen

from minichat.terminal.graphics import Graphics, Way
from minichat.terminal.sixel import sixels
from minichat.terminal.thumbnail import Thumbnail, drawing, png, read_thumbnail, resized

WAYS: tuple[Way, ...] = ("kitty", "iterm2", "sixel")


def gradient(width: int, height: int) -> Image.Image:
    """Each pixel of it different from the next."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, ImageChops.invert(across)))


def thumbnail(picture: Image.Image) -> Thumbnail:
    return Thumbnail(*picture.size, picture.tobytes())


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (7, 13), (60, 40), (3, 100)])
def test_sixels_are_the_picture_but_for_its_fewer_colours(size: tuple[int, int]) -> None:
    picture = gradient(*size)
    (shown,), rest = pictures_in(sixels(*size, picture.tobytes()))
    assert (rest, shown.pixels.size) == ("", size)
    apart = ImageChops.difference(shown.pixels, picture)
    assert max(apart.tobytes()) <= 51  # one level of six at most


def test_dithered_colours_are_right_from_afar() -> None:
    for colour in ((130, 70, 200), (20, 20, 20), (255, 128, 0), (251, 251, 251)):
        picture = Image.new("RGB", (64, 64), colour)
        (shown,), _ = pictures_in(sixels(64, 64, picture.tobytes()))
        mean = ImageStat.Stat(shown.pixels.filter(ImageFilter.BoxBlur(4)).crop((8, 8, 56, 56))).mean
        assert all(abs(a - b) < 4 for a, b in zip(mean, colour, strict=True))


def test_what_is_pure_stays_pure() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)):
        (shown,), _ = pictures_in(sixels(9, 9, Image.new("RGB", (9, 9), colour).tobytes()))
        assert shown.pixels.getcolors() == [(81, colour)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(320, 240), (50, 240), (320, 2), (1, 1), (240, 33)])
def test_the_cursor_comes_below_the_picture_and_nothing_scrolls_while_it_is_drawn(
    way: Way, size: tuple[int, int]
) -> None:
    text = drawing(thumbnail(gradient(*size)), Graphics(way, 10, 20), 80, 24)
    screen = Screen(80, 24, lambda _: None)
    stream = pyte.Stream(screen)
    stream.feed("\r\n" * 22 + "before\r\n")
    (shown,), _ = pictures_in(text)
    begin, end = text.split("\x1b7")[0], text.split("\x1b8")[1]
    stream.feed(begin.replace("\n", "\r\n"))
    top, left = screen.cursor.y, screen.cursor.x
    stream.feed(end + "after")
    rows = screen.cursor.y - top
    width, height = size
    if way == "sixel":
        wide, high = shown.pixels.width / 10, shown.pixels.height / 20
        assert shown.pixels.width <= width
        assert shown.pixels.height <= height
    else:
        assert shown.cells is not None
        wide, high = shown.cells
        assert shown.pixels.tobytes() == gradient(*size).tobytes()
    assert rows - 1 < high <= rows <= 8
    assert left == 4
    assert wide <= 40
    assert [row for row in screen.display if row.strip()] == ["before".ljust(80), "after".ljust(80)]
    assert screen.display[top - 1].startswith("before")


def test_it_is_as_large_on_a_screen_of_small_pixels() -> None:
    picture = thumbnail(gradient(320, 240))
    (plain,), _ = pictures_in(drawing(picture, Graphics("kitty", 10, 20), 80, 40))
    (fine,), _ = pictures_in(drawing(picture, Graphics("kitty", 20, 40), 80, 40))
    assert plain.cells == fine.cells == (27, 10)


@pytest.mark.parametrize(("columns", "rows"), [(5, 24), (4, 24), (80, 2), (1, 1)])
def test_a_screen_without_room_shows_none(columns: int, rows: int) -> None:
    assert drawing(thumbnail(gradient(9, 9)), Graphics("kitty", 10, 20), columns, rows) == ""


def test_a_narrow_screen_makes_it_narrow() -> None:
    (shown,), _ = pictures_in(drawing(thumbnail(gradient(320, 240)), Graphics("iterm2", 10, 20), 20, 40))
    assert shown.cells == (15, 6)


def test_pixels_nearest() -> None:
    picture = gradient(31, 17)
    for size in ((31, 17), (7, 5), (62, 34), (1, 1)):
        assert resized(thumbnail(picture), *size).rgb == picture.resize(size, Image.Resampling.NEAREST).tobytes()


def test_a_png_is_read_by_others() -> None:
    picture = gradient(31, 17)
    again = Image.open(io.BytesIO(png(thumbnail(picture))))
    assert (again.mode, again.tobytes()) == ("RGB", picture.tobytes())


def test_a_thumbnail_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    gradient(31, 17).save(path)
    assert read_thumbnail(path) == thumbnail(gradient(31, 17))


@pytest.mark.parametrize(
    "content",
    [b"", b"P6\n2 2\n255\nabc", b"P5\n1 1\n255\na", b"P6\n0 1\n255\n", b"P6\n1 1\n255\nabcd", b"P6\n9999 1\n255\n"],
)
def test_what_is_no_thumbnail_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ppm").write_bytes(content)
    assert read_thumbnail(tmp_path / "a.ppm") is None
    assert read_thumbnail(tmp_path / "no.ppm") is None
