"""Damaged picture files of all kinds: whatever is in them, the front gets a picture or one line.

    python -m tests.picture_damage [COUNT]        2,000 files if none is given; about a minute

One line about what came of them; exit code 1, with the file kept in the temporary folder, if one did worse than that.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from picture_files import samples

from minichat.pictures.album import Album
from minichat.pictures.size import Limits
from quant.errors import DataError

COUNT = 2_000
SLOW_S = 10.0
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    start, outcomes = time.monotonic(), Counter[str]()
    with Album(Limits(max_tokens=50)) as album:
        for name, content in mutants(count):
            outcome = look(album, name, content)
            outcomes[outcome] += 1
            if outcome.startswith("WRONG"):
                path = Path(tempfile.gettempdir()) / f"damaged-{outcomes.total()}-{name}"
                path.write_bytes(content)
                sys.stdout.write(f"{path}: {outcome}\n")
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.most_common())
    sys.stdout.write(f"{count:,} damaged pictures: {told}; {time.monotonic() - start:.0f} s\n")
    return int(any(outcome.startswith("WRONG") for outcome in outcomes))


def look(album: Album, name: str, content: bytes) -> str:
    """What comes of a file: read, refused, or the end of the process that read it; else what is wrong, as WRONG: …"""
    start = time.monotonic()
    try:
        picture = album.add(content, name)
    except DataError as error:
        line = str(error)
        if not line.isprintable() or not line.startswith(name) or len(line) > 300:
            return f"WRONG: not one line: {line!r}"
        outcome = "of which the process died" if "died" in line else "refused"
    except Exception as error:
        return f"WRONG: {error!r}"
    else:
        size = picture.columns * 28 * picture.rows * 28 * 3
        if not 0 <= picture.pixels.stat().st_size - size < 30 or picture.tokens > 50:
            return "WRONG: the pixels are not those of its size"
        album.forget(picture.source)
        outcome = "read"
    return f"WRONG: {outcome} after {time.monotonic() - start:.0f} s" if time.monotonic() - start > SLOW_S else outcome


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    """So many damaged files, each with a name."""
    rng, whole = random.Random("damaged pictures"), list(samples().items())
    for number in range(count):
        name, content = whole[number % len(whole)]
        yield name, _damaged(content, rng, rng.choice(whole)[1])


def _damaged(content: bytes, rng: random.Random, other: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30))):
        head = rng.random() < 0.5  # where the lengths and the sizes are
        at = rng.randrange(min(len(data), 200) if head else len(data)) if data else 0
        kind = rng.choice(("flip", "byte", "number", "number", "cut", "drop", "repeat", "splice", "noise"))
        if kind == "flip":
            data[at : at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1])
        elif kind == "byte":
            data[at : at + 1] = rng.randbytes(1)
        elif kind == "number":
            width = rng.choice((1, 2, 4))
            data[at : at + width] = (rng.choice(EXTREMES) % 256**width).to_bytes(width, rng.choice(("big", "little")))
        elif kind == "cut":
            del data[max(at, 12) :]
        elif kind == "drop":
            del data[at : at + rng.randrange(1, 40)]
        elif kind == "repeat":
            data[at:at] = data[at : at + rng.randrange(1, 400)] * rng.randrange(1, 20)
        elif kind == "splice":
            data[at:] = other[rng.randrange(len(other)) :]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
    return _with_sums(bytes(data)) if rng.random() < 0.7 else bytes(data)


def _with_sums(data: bytes) -> bytes:
    """A PNG's chunks with the right checksums, so that what is in them is looked at; others as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, at = [data[:8]], 8
    while len(data) - at >= 12:
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        parts.append(data[at:end] + zlib.crc32(data[at + 4 : end]).to_bytes(4, "big"))
        at = end + 4
    return b"".join((*parts, data[at:]))


if __name__ == "__main__":
    sys.exit(main())
