"""A conversion that an interruption does not undo: the file so far (".<name>.part") and its journal (".<name>.journal")
stay beside the destination, and the next conversion of the same things to the same place goes on.

Nothing that is there is believed: the journal's lines bear checks (`convert.journal`), the part is read and hashed up
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
from convert.publish import check_place, check_room, hidden_name, reserve, storage_errors, sync_folder
from convert.recorder import Recorder
from convert.sha256 import resumable_sha256
from convert.sources import SourceMismatch
from quant.errors import DiskFullError, QuantError, StorageError

_PART_BYTES = 1 << 20
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def discard(destination: Path) -> None:
    """Remove what an unfinished conversion to `destination` left, and the journal of a finished one."""
    for path in (_part_of(destination), _journal_of(destination)):
        with contextlib.suppress(OSError):
            path.unlink()


def written(destination: Path) -> int:
    """How many bytes of the file a conversion has written that is not done, or done and not discarded."""
    try:
        return _file_of(destination).stat().st_size
    except OSError:
        return 0


def on_disk(destination: Path) -> int:
    """How many bytes of the disk such a file holds: the system's reserve for all of it is taken at the start."""
    return _held(_file_of(destination))


def _file_of(destination: Path) -> Path:
    part = _part_of(destination)
    return destination if _journal_of(destination).exists() and not part.exists() else part


def _held(path: Path) -> int:
    try:
        stat = path.stat()
    except OSError:
        return 0
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


@dataclass(frozen=True)
class Begun:
    """How far earlier runs came: to `mark`. `digests`: sha256 of the files before it; `prefix`: of what is written."""

    mark: Mark
    digests: Sequence[str]
    prefix: "hashlib._Hash"
    sums: Mapping[str, tuple[float, float]]


@dataclass
class Resumed:
    """An unfinished conversion, or one that is `made`: then that is the file's sha256, and nothing is left to do.

    `file` is open for reading and writing. Whoever goes on sets `made` at the end.
    """

    file: BinaryIO
    recorder: Recorder
    begun: Begun | None
    sums: Mapping[str, tuple[float, float]]
    made: str | None = None


@contextlib.contextmanager
def resumed(
    destination: Path,
    layout: Layout,
    work: str,
    weights: Sequence[Path],
    on_checked: Callable[[Mark], None] = lambda _: None,
) -> Iterator[Resumed]:
    """Go on with the conversion called `work`, a hash of all that decides on the output's bytes.

    `weights`: the files that marks count. `on_checked` is told of each mark up to which the part is as it was written.

    The file becomes `destination` when the block ends without an exception. An OSError in it is the file's: a
    StorageError. After an exception what is there stays: a disk that fails for a while, or refuses, may serve the next
    time; after a SourceMismatch, as it was where the bad file begins. Nothing stays after a DiskFullError or a
    QuantError.
    """
    try:
        check_place(destination)
        with storage_errors(destination), contextlib.ExitStack() as stack:
            journal = Journal(_journal_of(destination), work)
            stack.callback(journal.close)
            recorder = Recorder(journal)
            sums = {name: values for mark in journal.marks for name, values in mark.sums.items()}
            if journal.made and _is_file(destination, layout.file_bytes, journal.made):
                with destination.open("rb") as made:
                    yield Resumed(made, recorder, None, sums, journal.made)
                return
            part = _part_of(destination)
            check_room(destination, max(0, layout.file_bytes - _held(part)))
            file = stack.enter_context(os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666), "r+b"))
            if journal.made and _is_file(part, layout.file_bytes, journal.made):
                unfinished = Resumed(file, recorder, None, sums, journal.made)
            else:
                begun = _last_sound(journal.marks, file, layout, on_checked)
                journal.marks.clear()  # some dozens of megabytes, of a large model
                journal.cut(begun.mark.at if begun else (0, 0))
                file.truncate(begun.mark.written if begun else 0)
                reserve(file.fileno(), layout.file_bytes)
                file.seek(0)
                unfinished = Resumed(file, recorder, begun, begun.sums if begun else {})
            try:
                yield unfinished
            except SourceMismatch as error:
                journal.cut((weights.index(error.path), 0))
                raise
            _publish(file, destination, journal, unfinished.made)
    except (DiskFullError, QuantError):
        discard(destination)
        raise
    except StorageError:
        _remove_links(destination)
        raise


def _remove_links(destination: Path) -> None:
    """They are not followed, so they would be in the way for ever."""
    for path in (_part_of(destination), _journal_of(destination)):
        with contextlib.suppress(OSError):
            if path.is_symlink():
                path.unlink()


def _publish(file: BinaryIO, destination: Path, journal: Journal, made: str | None) -> None:
    file.flush()
    os.fsync(file.fileno())
    if made is not None and journal.made is None:
        journal.append_made(made)
    file.close()  # Windows renames no open file
    _part_of(destination).replace(destination)
    sync_folder(destination.parent)


def _last_sound(
    marks: Sequence[Mark], file: BinaryIO, layout: Layout, on_checked: Callable[[Mark], None]
) -> Begun | None:
    """The last mark that work can go on from: the file's bytes up to it are those that were written."""
    prefix, place = hashlib.sha256(layout.header), len(layout.header)
    file.seek(place)
    last, digests = None, list[str]()
    sums: dict[str, tuple[float, float]] = {}
    for mark in marks:
        if not place <= mark.written <= layout.file_bytes or not _feed(prefix, file, mark.written - place):
            break
        place = mark.written
        digests += [mark.digest] if mark.digest else []
        sums |= mark.sums
        if prefix.hexdigest() != mark.sha256 or len(digests) != mark.at[0]:
            break
        on_checked(mark)
        if _can_be_taken_up(mark):
            last = Begun(mark, tuple(digests), prefix.copy(), dict(sums))
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
