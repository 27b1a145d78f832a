"""Where a conversion may write: not into what it reads, two files at two places, and on disks that have room."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from convert.gguf_writer import Layout
from convert.publish import check_place, check_rooms
from quant.errors import UsageError


def check_outputs(
    source: Path, outputs: Sequence[tuple[Path, Layout]], weights: Iterable[Path], resumable: bool
) -> None:
    """UsageError or StorageError for files that cannot be written where they are to be."""
    places = [path for path, _ in outputs]
    for path in places:
        _refuse_inside(source, path, weights)
    if len({path.resolve() for path in places}) < len(places):
        raise UsageError(f"{places[0]} is to be the model and what sees: name two files")
    if not resumable:
        for path in places:
            check_place(path)
        check_rooms([(path, layout.file_bytes) for path, layout in outputs])


def _refuse_inside(source: Path, destination: Path, weights: Iterable[Path]) -> None:
    inside, outside = destination.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UsageError(f"{destination} is inside the checkpoint {source}: write the file elsewhere")
    if any(destination.exists() and path.exists() and destination.samefile(path) for path in weights):
        raise UsageError(f"{destination} is one of the checkpoint's own files: write the file elsewhere")
