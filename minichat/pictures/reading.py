"""The process that reads pictures: it alone runs Pillow, on files that anybody may have made.

    {"path": …, "format": "PNG", "pixels": …, "thumbnail": …, "longest": 1540, "patch": 28, "max_tokens": null}
    -> {"width": 4000, "height": 3000, "columns": 55, "rows": 42, "key": …}
     or {"error": "it is damaged (…)"}, {"unwritten": "No space left on device"}

One line of JSON each way, until standard input ends; the temporary folder that `pixels` are in goes then. Of a file
there is only what the front has found in it: nothing is read but `path`, as the one `format`; the first frame of what
moves. The picture is turned as its EXIF says, laid on white where it is transparent, made RGB, and scaled as
transformers' PixtralImageProcessor does it (bicubic, over all pixels); `pixels` and `thumbnail` are PPMs (P6).

What a file can do is bounded: Pillow's limit of pixels, memory, the length of what is written, and time; whoever passes
the last is ended by the system. The front starts another process then.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat.pictures.size import Limits, grid

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from PIL.Image import Transpose

FOLDER_PREFIX = "minichat-pictures-"  # of the temporary folder
LIMIT_S = 30  # a picture's time
MAX_BYTES_OF_MEMORY = 3 << 30
_MAX_BYTES_WRITTEN = 1 << 30
_ORIENTATION = 0x0112  # EXIF's tag
_LARGE = 50_000_000  # pixels: beyond that a JPEG is decoded at half its size, which takes a quarter of the memory
_THUMBNAIL = (320, 240)  # pixels, at most
_STRIP = 256  # rows that are made RGB at a time: a whole picture is not there a third and a fourth time


class _UnwritableError(Exception):
    """Why the system does not let the pixels be written."""


def main() -> None:
    """Serves requests, a line of JSON each, until standard input ends: the loop of the process that reads pictures."""
    _bound()
    folder = None
    with suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            request = json.loads(line)
            folder = Path(request["pixels"]).parent
            _set_alarm(LIMIT_S)
            answer = json.dumps(_answer(request)).encode() + b"\n"
            _set_alarm(0)
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()
    # The front is gone, and may have been killed before it could.
    if folder is not None and folder.name.startswith(FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _set_alarm(seconds: int) -> None:
    """Has the system end this process after so long; 0: not any more."""
    with suppress(AttributeError):
        signal.alarm(seconds)


def _bound() -> None:
    """What this process may take, as far as the system has limits."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_BYTES_WRITTEN, _MAX_BYTES_WRITTEN))
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES_OF_MEMORY, MAX_BYTES_OF_MEMORY))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        return read(request)
    except _UnwritableError as error:
        return {"unwritten": str(error)}
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        return {"error": f"it has more than {most} million pixels: make it smaller"}
    except UnidentifiedImageError:
        return {"error": f"it is damaged: it begins as {request['format']} does, and goes on otherwise"}
    except MemoryError:
        return {"error": "it needs too much memory: make it smaller"}
    except Exception as error:  # whatever a damaged file makes of Pillow's readers
        what = str(error) or type(error).__name__
        is_cut = "truncated" in what.lower() or _is_short(Path(request["path"]))
        return {"error": "it is damaged: its end is missing" if is_cut else f"it is damaged ({what})"}


def _is_short(path: Path) -> bool:
    """Whether a file in a RIFF, as WebP's, is shorter than it says; of that, Pillow's error has no word."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(8)
        return head[:4] == b"RIFF" and path.stat().st_size < 8 + int.from_bytes(head[4:], "little")
    return False


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Reads one picture and writes its pixels and its thumbnail; what is told of it. Raises whatever Pillow does."""
    from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    del GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # they are known to Image.open now
    warnings.simplefilter("ignore")  # a picture above half the limit of pixels, odd metadata
    with Image.open(request["path"], formats=[request["format"]]) as opened:
        stored = opened.size
        if stored[0] * stored[1] > _LARGE:
            opened.draft(None, (stored[0] // 2, stored[1] // 2))
        turn = turn_of(opened)
        opened.load()
        pixels = on_white(opened)
    if turn is not None:
        pixels = pixels.transpose(turn)
    width, height = stored if turn is None or not swaps_sides(turn) else stored[::-1]
    limits = Limits(request["longest"], request["patch"], request["max_tokens"])
    patches = grid(width, height, limits)
    size = patches.columns * limits.patch, patches.rows * limits.patch
    scaled = pixels if pixels.size == size else pixels.resize(size, Image.Resampling.BICUBIC)
    key = _write(Path(request["pixels"]), scaled)
    _write(Path(request["thumbnail"]), scaled.resize(_within(width, height, _THUMBNAIL), Image.Resampling.BICUBIC))
    return {"width": width, "height": height, "columns": patches.columns, "rows": patches.rows, "key": key}


def _write(path: Path, picture: Pixels) -> str:
    """Writes a PPM; its SHA-256."""
    content = b"P6\n%d %d\n255\n" % picture.size + picture.tobytes()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise _UnwritableError(error.strerror or str(error)) from error
    return hashlib.sha256(content).hexdigest()


def turn_of(picture: Pixels) -> Transpose | None:
    """What makes a picture upright, from its EXIF (or XMP) data; None for nothing, also if the data is damaged."""
    from PIL.Image import Transpose

    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # the picture is there, whatever is written about it
        return None
    turns = (
        *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.TRANSPOSE),
        *(Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    return turns[orientation - 2] if isinstance(orientation, int) and 2 <= orientation <= 8 else None


def swaps_sides(turn: Transpose) -> bool:
    """Whether what was wide is high after it."""
    from PIL.Image import Transpose

    return turn in (Transpose.TRANSPOSE, Transpose.TRANSVERSE, Transpose.ROTATE_90, Transpose.ROTATE_270)


def on_white(picture: Pixels) -> Pixels:
    """A picture of any kind as RGB of 8 bits; what is transparent in it shows white."""
    from PIL import Image

    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I"):  # 16 bits: Pillow's own way to 8 cuts what is above 255
        return picture.point(lambda value: value / 257, "L").convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    whole = Image.new("RGB", picture.size, "white")
    for top in range(0, picture.height, _STRIP):
        strip = picture.crop((0, top, picture.width, min(top + _STRIP, picture.height))).convert("RGBA")
        whole.paste(strip.convert("RGB"), (0, top), strip.getchannel("A"))
    return whole


def _within(width: int, height: int, most: tuple[int, int]) -> tuple[int, int]:
    """A size of the same proportions that is no larger than `most`, nor than it was."""
    ratio = max(width / most[0], height / most[1], 1)
    return max(round(width / ratio), 1), max(round(height / ratio), 1)
