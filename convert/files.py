"""Where the bytes of a checkpoint's weights are: on this disk, or somewhere that answers like it.

A checkpoint's folder always holds its small files. Its files of weights are known by their paths `folder / name`
whether they are there or not; whoever reads them asks a `WeightFiles` for their bytes.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from quant.errors import CheckpointError

SUFFIX = ".safetensors"


class WeightFiles(Protocol):
    """The files of weights of one folder. All calls come from one thread at a time."""

    def names(self) -> Collection[str]:
        """The files of weights (*.safetensors) that are directly in the folder."""
        ...

    def size(self, path: Path) -> int:
        """The size of a file in bytes. MinichatError if it cannot be known."""
        ...

    def announce(self, ranges: Sequence[tuple[Path, int, int]]) -> None:
        """What will now be read: (file, begin, end), each from front to back, one after the other.

        Other bytes may be asked for between; what was announced before counts no more.
        """
        ...

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        """Exactly `n_bytes` bytes from `offset` on.

        MinichatError if they cannot be had: a CheckpointError from a disk, a NetworkError from a hub.
        """
        ...

    def close(self) -> None:
        """Give up what is open. Reading again afterwards opens it again."""
        ...


class LocalFiles:
    """The files in a folder on this disk. Each is opened once, when it is read first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, int] = {}

    def names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir() if path.name.endswith(SUFFIX) and path.is_file()]
        except OSError as error:
            raise CheckpointError(f"{self._folder} cannot be read: {error.strerror or error}") from error

    def size(self, path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error

    def announce(self, ranges: Sequence[tuple[Path, int, int]]) -> None:
        """The system reads ahead by itself."""

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        """CheckpointError if the file cannot be read or is shorter."""
        try:
            data = self._read_at(path, offset, n_bytes)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        if len(data) != n_bytes:
            raise CheckpointError(f"{path} became shorter while it was read")
        return data

    def close(self) -> None:
        for handle in self._open.values():
            os.close(handle)
        self._open.clear()

    def __del__(self) -> None:
        self.close()

    def _read_at(self, path: Path, offset: int, n_bytes: int) -> bytes:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        handle = self._open[path]
        os.lseek(handle, offset, os.SEEK_SET)  # not pread: Windows has none, and one thread reads
        data = os.read(handle, n_bytes)
        while len(data) < n_bytes and (more := os.read(handle, n_bytes - len(data))):
            data += more
        return data
