"""Weights that stop coming, and folders as a kill would leave them: for tests of conversions that are interrupted."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from convert.files import LocalFiles
from quant.errors import NetworkError

Folder = dict[str, bytes]


class Unsteady(LocalFiles):
    """Files on this disk that count what is read of them, and give out after `reads` reads.

    `spoil`: what changes the bytes of a read (path, offset, data), if anything.
    """

    def __init__(
        self, folder: Path, reads: int | None = None, spoil: Callable[[Path, int, bytes], bytes] | None = None
    ) -> None:
        super().__init__(folder)
        self.left, self._spoil = reads, spoil
        self.read_bytes = 0
        self.first_read: tuple[str, int] | None = None  # of what was announced: (file, offset)

    def announce(self, ranges: Any) -> None:
        self.first_read = (ranges[0][0].name, ranges[0][1]) if ranges else None

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise NetworkError("the line is dead")
        self.read_bytes += n_bytes
        data = super().read(path, offset, n_bytes)
        return self._spoil(path, offset, data) if self._spoil else data


def content(folder: Path) -> Folder:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def restore(folder: Path, files: Folder) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


class Watch:
    """Every call that changes a file, one at a time: `on_change` is called with its number before it, with half of a
    write done, and after it."""

    def __init__(self, on_change: Callable[[int], None]) -> None:
        self._on_change, self._lock = on_change, threading.RLock()
        self.changes = 0

    def told(self) -> None:
        self.changes += 1
        self._on_change(self.changes)

    def change(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self.told()
                result = function(*arguments, **options)
                self.told()
                return result

        return call

    def write(self, write: Callable[..., int]) -> Callable[..., int]:
        def call(file: Any, data: Any) -> int:
            with self._lock:
                self.told()
                view = memoryview(data).cast("B")
                half = write(file, view[: len(view) // 2]) if len(view) > 1 else 0
                self.told()
                done = half + write(file, view[half:])
                self.told()
                return done

        return call


@contextmanager
def watched(
    monkeypatch: pytest.MonkeyPatch, on_change: Callable[[int], None], removing: bool = True
) -> Iterator[Watch]:
    """While the block runs, what the converter writes, and if asked what it removes, goes by a `Watch`."""
    watch = Watch(on_change)

    class RawFile(io.FileIO):
        write = watch.write(io.FileIO.write)  # type: ignore[assignment]
        truncate = watch.change(io.FileIO.truncate)

    def fdopen(handle: int, mode: str) -> Any:
        raw = RawFile(handle, mode.replace("b", ""))
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedReader(raw)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", fdopen)
        patch.setattr(os, "write", watch.write(os.write))
        patch.setattr(os, "ftruncate", watch.change(os.ftruncate))
        patch.setattr(os, "fsync", watch.change(lambda _: None))
        patch.setattr(Path, "replace", watch.change(Path.replace))
        if removing:
            patch.setattr(Path, "unlink", watch.change(Path.unlink))
        yield watch
