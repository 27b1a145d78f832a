"""A conversion that an interruption does not undo: the file so far (".<name>.part") and its journal (".<name>.journal")
stay beside the destination, and the next conversion of the same things to the same place goes on. One that makes
several files at once has a part of each, and a journal beside the first, which gets its name last.

Nothing that is there is believed: the journal's lines bear checks (`convert.journal`), the parts are read and hashed up
to each mark, and work goes on after the last one where this agrees. What is torn, damaged or of another work is made
again. At most 8 MiB of weights that were read are read again after a kill: those that were on their way and what was
written since the last mark (`convert.recorder`); safetensors' headers, which are read at each start, come to that.

The journal stays beside the finished file, too, until `discard`: so the file is not made again if its owner is
interrupted before it is where it belongs. Whoever converts so holds a lock of his own; none is taken here.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from convert.digest import sha256_of
from convert.gguf_writer import Layout
from convert.journal import Journal, Mark
from convert.publish import check_place, check_rooms, hidden_name, reserve, storage_errors, sync_folder
from convert.recorder import Recorder
from convert.sha256 import resumable_sha256
from convert.sources import SourceMismatch
from quant.errors import DiskFullError, QuantError, StorageError

_PART_BYTES = 1 << 20
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def discard(*destinations: Path) -> None:
    """Remove what an unfinished conversion to the destinations left, and the journal of a finished one."""
    for path in (*map(_part_of, destinations), _journal_of(destinations[0])):
        with contextlib.suppress(OSError):
            path.unlink()


def written(*destinations: Path) -> int:
    """How many bytes of the files a conversion has written that is not done, or done and not discarded."""
    total = 0
    for path in _files_of(destinations):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def on_disk(*destinations: Path) -> int:
    """How many bytes of the disk such files hold: the system's reserve for all of it is taken at the start."""
    return sum(map(_held, _files_of(destinations)))


def _files_of(destinations: Sequence[Path]) -> list[Path]:
    begun = _journal_of(destinations[0]).exists()
    return [path if begun and not _part_of(path).exists() else _part_of(path) for path in destinations]


def _held(path: Path) -> int:
    try:
        stat = path.stat()
    except OSError:
        return 0
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


@dataclass(frozen=True)
class Begun:
    """How far earlier runs came: to `mark`. `digests`: sha256 of the files before it; `prefixes`: of each output."""

    mark: Mark
    digests: Sequence[str]
    prefixes: "Sequence[hashlib._Hash]"
    sums: Mapping[str, tuple[float, float]]


@dataclass
class Resumed:
    """An unfinished conversion, or one that is `made`: then that are the files' sha256, and nothing is left to do.

    `files` are open for reading and writing. Whoever goes on sets `made` at the end.
    """

    files: Sequence[BinaryIO]
    recorder: Recorder
    begun: Begun | None
    sums: Mapping[str, tuple[float, float]]
    made: Sequence[str] | None = None


@contextlib.contextmanager
def resumed(
    outputs: Sequence[tuple[Path, Layout]],
    work: str,
    weights: Sequence[Path],
    on_checked: Callable[[Mark], None] = lambda _: None,
) -> Iterator[Resumed]:
    """Go on with the conversion called `work`, a hash of all that decides on the outputs' bytes.

    `outputs`: each file's destination and layout; `weights`: the files that marks count. `on_checked` is told of each
    mark up to which the parts are as they were written.

    The files become their destinations when the block ends without an exception. An OSError in it is the files': a
    StorageError. After an exception what is there stays: a disk that fails for a while, or refuses, may serve the next
    time; after a SourceMismatch, as it was where the bad file begins. Nothing stays after a DiskFullError or a
    QuantError.
    """
    destinations = [destination for destination, _ in outputs]
    try:
        for destination in destinations:
            check_place(destination)
        with storage_errors(destinations[0]), contextlib.ExitStack() as stack:
            journal = Journal(_journal_of(destinations[0]), work)
            stack.callback(journal.close)
            recorder = Recorder(journal)
            sums = {name: values for mark in journal.marks for name, values in mark.sums.items()}
            named = _named(outputs, journal.made)
            if named is None:
                check_rooms([(to, max(0, plan.file_bytes - _held(_part_of(to)))) for to, plan in outputs])
                unfinished = _taken_up(outputs, journal, recorder, stack, on_checked)
            else:
                files = [_opened(to, stack, named=to in named) for to in destinations]
                unfinished = Resumed(files, recorder, None, sums, journal.made)
            try:
                yield unfinished
            except SourceMismatch as error:
                journal.cut((weights.index(error.path), 0))
                raise
            _publish(unfinished, journal, [(to, to in (named or ())) for to in destinations])
    except (DiskFullError, QuantError):
        discard(*destinations)
        raise
    except StorageError:
        _remove_links(destinations)
        raise


def _named(outputs: Sequence[tuple[Path, Layout]], made: Sequence[str] | None) -> list[Path] | None:
    """If all files are whole, with the sha256 of `made`: those that have their names; the others are in their parts."""
    if made is None or len(made) != len(outputs):
        return None
    named = []
    for (destination, layout), sha256 in zip(outputs, made, strict=True):
        if _is_file(destination, layout.file_bytes, sha256):
            named.append(destination)
        elif not _is_file(_part_of(destination), layout.file_bytes, sha256):
            return None
    return named


def _taken_up(
    outputs: Sequence[tuple[Path, Layout]],
    journal: Journal,
    recorder: Recorder,
    stack: contextlib.ExitStack,
    on_checked: Callable[[Mark], None],
) -> Resumed:
    """The parts and the journal, cut where work goes on."""
    files = [_opened(destination, stack) for destination, _ in outputs]
    layouts = [layout for _, layout in outputs]
    begun = _last_sound(journal.marks, files, layouts, on_checked)
    journal.marks.clear()  # some dozens of megabytes, of a large model
    journal.cut(begun.mark.at if begun else (0, 0))
    ends = begun.mark.written if begun else (0,) * len(files)
    for file, layout, end in zip(files, layouts, ends, strict=True):
        file.truncate(end)
        reserve(file.fileno(), layout.file_bytes)
        file.seek(0)
    return Resumed(files, recorder, begun, begun.sums if begun else {})


def _opened(destination: Path, stack: contextlib.ExitStack, named: bool = False) -> BinaryIO:
    """The part, for reading and writing, or what has its name already, for reading."""
    if named:
        return stack.enter_context(destination.open("rb"))
    handle = os.open(_part_of(destination), os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
    return stack.enter_context(os.fdopen(handle, "r+b"))


def _remove_links(destinations: Sequence[Path]) -> None:
    """They are not followed, so they would be in the way for ever."""
    for path in (*map(_part_of, destinations), _journal_of(destinations[0])):
        with contextlib.suppress(OSError):
            if path.is_symlink():
                path.unlink()


def _publish(unfinished: Resumed, journal: Journal, destinations: Sequence[tuple[Path, bool]]) -> None:
    """`destinations`: each, and whether its file has that name already. The first gets its name last."""
    to_name = [
        (destination, file)
        for (destination, is_named), file in zip(destinations, unfinished.files, strict=True)
        if not is_named
    ]
    for _, file in to_name:
        file.flush()
        os.fsync(file.fileno())
    if unfinished.made is not None and journal.made is None:
        journal.append_made(unfinished.made)
    for destination, file in reversed(to_name):
        file.close()  # Windows renames no open file
        _part_of(destination).replace(destination)
    for folder in {destination.parent for destination, _ in to_name}:
        sync_folder(folder)


def _last_sound(
    marks: Sequence[Mark], files: Sequence[BinaryIO], layouts: Sequence[Layout], on_checked: Callable[[Mark], None]
) -> Begun | None:
    """The last mark that work can go on from: the files' bytes up to it are those that were written."""
    prefixes = [hashlib.sha256(layout.header) for layout in layouts]
    places = [len(layout.header) for layout in layouts]
    for file, place in zip(files, places, strict=True):
        file.seek(place)
    last, digests = None, list[str]()
    sums: dict[str, tuple[float, float]] = {}
    for mark in marks:
        if len(mark.written) != len(files) or len(mark.sha256) != len(files):
            break
        for n, (file, layout) in enumerate(zip(files, layouts, strict=True)):
            end = mark.written[n]
            if not places[n] <= end <= layout.file_bytes or not _feed(prefixes[n], file, end - places[n]):
                return last
        places = list(mark.written)
        digests += [mark.digest] if mark.digest else []
        sums |= mark.sums
        if tuple(prefix.hexdigest() for prefix in prefixes) != mark.sha256 or len(digests) != mark.at[0]:
            break
        on_checked(mark)
        if _can_be_taken_up(mark):
            last = Begun(mark, tuple(digests), [prefix.copy() for prefix in prefixes], dict(sums))
    return last


def _feed(digest: "hashlib._Hash", file: BinaryIO, n_bytes: int) -> bool:
    """Hash the next bytes of a file. Whether it has so many."""
    while n_bytes:
        data = file.read(min(n_bytes, _PART_BYTES))
        if not data:
            return False
        digest.update(data)
        n_bytes -= len(data)
    return True


def _can_be_taken_up(mark: Mark) -> bool:
    if not mark.at[1]:
        return True
    try:
        resumable_sha256().set_state(mark.state, mark.at[1])
    except ValueError:
        return False
    return True


def _is_file(path: Path, n_bytes: int, sha256: str) -> bool:
    return path.is_file() and path.stat().st_size == n_bytes and sha256_of(path) == sha256


def _part_of(destination: Path) -> Path:
    return hidden_name(destination, "part")


def _journal_of(destination: Path) -> Path:
    return hidden_name(destination, "journal")
