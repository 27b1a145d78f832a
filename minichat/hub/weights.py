"""A checkpoint's weights at a hub, read over the net while they are converted: `convert.files.WeightFiles`.

What is announced comes through one stream, several ranges in flight, from front to back. What is read between (headers,
the scales of a chunk's rows, a head to be compared) comes through a cache of small blocks, so that scales that are read
a few rows at a time do not cost a request each. Files that are on this disk already may be read from there; they are
another program's, which may cut or remove them at any time: one that fails is read from the hub from there on.

What is announced is whole files, whose sha256 the conversion compares with the hub's. What is read between goes into no
hash; so it is fetched twice, cut in two ways, and compared.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from convert.files import SUFFIX, LocalFiles
from minichat.hub.listing import RemoteFile, Repo
from minichat.hub.stream import Stream
from minichat.hub.transfer import Hub
from minichat.terminal.sanitize import clean_line
from quant.errors import CheckpointError, NetworkError

# What a kill may lose, beside the 8 MiB that the conversion has in flight and the headers that are read again.
WINDOW_BYTES = 6 << 20
_BLOCK_BYTES = 32 << 10
_MAX_BLOCKS = 128
_MAX_CACHED_BYTES = 8 * _BLOCK_BYTES  # a longer read goes past the cache
_ODD_BYTES = 1000  # less than a block of a stream, so that no part is cut as the whole is
_TRIES = 4  # of bytes that come differently


class RemoteWeights:
    """The files of weights of `repo`, as if they were directly in `folder`. `local`: name -> the same file, here."""

    def __init__(
        self, hub: Hub, repo: Repo, folder: Path, local: Mapping[str, Path] | None = None, *, window: int = WINDOW_BYTES
    ) -> None:
        self._hub, self._repo, self._folder = hub, repo, folder
        self._files = {f.name: f for f in repo.files if f.name.endswith(SUFFIX) and "/" not in f.name}
        self._local_paths = {folder / name: path for name, path in (local or {}).items()}
        self._local = LocalFiles(folder)
        self._window = window
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()  # (file, number) -> content
        self._stream: Stream | None = None
        self._ranges: deque[tuple[Path, int, int]] = deque()  # what was announced, and not yet read
        self._rest = memoryview(b"")  # of the piece that it brought last

    def names(self) -> list[str]:
        return list(self._files)

    def size(self, path: Path) -> int:
        return self._file(path).size_bytes

    def announce(self, ranges: Sequence[tuple[Path, int, int]]) -> None:
        """The stream begins at once. Files on this disk are no part of it."""
        self._end_stream()
        self._ranges = deque(announced for announced in ranges if announced[1] < announced[2])
        asked = [(self._file(path), begin, end) for path, begin, end in self._ranges if path not in self._local_paths]
        if asked:
            self._stream = self._hub.stream(self._repo, asked, self._window)

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        """NetworkError if the hub fails, DataError if it refuses, CheckpointError if the file is not so long."""
        file = self._file(path)
        if offset < 0 or n_bytes < 0 or offset + n_bytes > file.size_bytes:
            raise CheckpointError(f"{path} ends at {file.size_bytes:,} bytes: it is cut short; fetch it again")
        if not n_bytes:
            return b""
        if path in self._local_paths and (data := self._read_local(path, offset, n_bytes)) is not None:
            return data
        if self._stream is not None and self._is_next(path, offset, n_bytes):
            return self._read_on(self._stream, n_bytes)
        if n_bytes > _MAX_CACHED_BYTES:
            return self._fetch(file, offset, offset + n_bytes)
        return self._read_cached(file, offset, n_bytes)

    def close(self) -> None:
        self._end_stream()
        self._blocks.clear()
        self._local.close()

    def _file(self, path: Path) -> RemoteFile:
        file = self._files.get(path.name)
        if file is None or path.parent != self._folder:
            raise CheckpointError(f"{self._repo.id} has no file of weights {clean_line(os.fspath(path.name))}")
        return file

    def _read_local(self, path: Path, offset: int, n_bytes: int) -> bytes | None:
        """From this disk. None if that fails: the file is the hub's then, and the stream brings what is left of it."""
        try:
            data = self._local.read(self._local_paths[path], offset, n_bytes)
        except CheckpointError:
            del self._local_paths[path]
            self.announce(list(self._ranges))
            return None
        if self._is_next(path, offset, n_bytes):
            self._pass(n_bytes)
        return data

    def _is_next(self, path: Path, offset: int, n_bytes: int) -> bool:
        """Whether it is what was announced to be read now."""
        if not self._ranges:
            return False
        next_path, begin, end = self._ranges[0]
        return path == next_path and offset == begin and offset + n_bytes <= end

    def _pass(self, n_bytes: int) -> None:
        path, begin, end = self._ranges.popleft()
        if begin + n_bytes < end:
            self._ranges.appendleft((path, begin + n_bytes, end))

    def _read_on(self, stream: Stream, n_bytes: int) -> bytes:
        """The next bytes of the stream."""
        parts, lacking = [], n_bytes
        try:
            while lacking:
                if not self._rest:
                    self._rest = memoryview(next(stream))
                parts.append(self._rest[:lacking])
                lacking -= len(parts[-1])
                self._rest = self._rest[len(parts[-1]) :]
        except BaseException:  # what has come is lost: nothing may be read from this stream any more
            self._end_stream()
            raise
        self._pass(n_bytes)
        return b"".join(parts)

    def _read_cached(self, file: RemoteFile, offset: int, n_bytes: int) -> bytes:
        numbers = range(offset // _BLOCK_BYTES, -(-(offset + n_bytes) // _BLOCK_BYTES))
        missing = [n for n in numbers if (file.name, n) not in self._blocks]
        if missing:
            begin, end = missing[0] * _BLOCK_BYTES, min((missing[-1] + 1) * _BLOCK_BYTES, file.size_bytes)
            data = self._fetch(file, begin, end)
            for place in range(0, len(data), _BLOCK_BYTES):
                self._blocks[file.name, (begin + place) // _BLOCK_BYTES] = data[place : place + _BLOCK_BYTES]
        for number in numbers:
            self._blocks.move_to_end((file.name, number))
        data = b"".join(self._blocks[file.name, number] for number in numbers)
        while len(self._blocks) > _MAX_BLOCKS:
            self._blocks.popitem(last=False)
        skip = offset - numbers.start * _BLOCK_BYTES
        return data[skip : skip + n_bytes]

    def _fetch(self, file: RemoteFile, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to `end`, which have come twice. NetworkError if they come differently."""
        length, cut = end - begin, begin + min((end - begin) * 3 // 7, _ODD_BYTES)
        asked = [(file, cut, end), (file, begin, cut), (file, begin, end)]  # in this order none follows another
        for _ in range(_TRIES):
            with self._hub.stream(self._repo, asked, 2 * length) as pieces:
                data = memoryview(b"".join(pieces))
            whole, second, first = data[length:], data[: end - cut], data[end - cut : length]
            if whole == first.tobytes() + second.tobytes():
                return whole.tobytes()
        raise NetworkError(f"{clean_line(file.name)} of {self._repo.id} comes differently each time: try again later")

    def _end_stream(self) -> None:
        self._ranges.clear()
        self._rest = memoryview(b"")
        if self._stream is not None:
            self._stream.close()
            self._stream = None
