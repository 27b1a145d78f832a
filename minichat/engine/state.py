"""The state of a KV cache, kept in a file between two runs: a conversation goes on without being read again.

A file is taken only where that is quicker than computing: its rows are read at a measured pace, against the pace at
which its tokens were once decoded. Whatever is wrong with a file, or whatever it belongs to, nobody is told: what it
would have saved is computed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.engine.state_file import DamagedStateError, Facts, Head, check_sum, open_state, read_head, seal
from quant.errors import StorageError

if TYPE_CHECKING:
    from minichat.engine.llama import Llama
    from minichat.engine.types import LoadOptions, Stats

MIN_GAIN_S = 0.25  # what takes less to compute is not kept
_COPY_BYTES_PER_S = 1.5e9  # from the system's cache into llama.cpp's: measured at 2 to 4 GB/s
_SPARE_BYTES = 1 << 30  # of the disk, left free
_SAMPLES, _SAMPLE_BYTES = 16, 16 << 10
_OF_THE_CONTEXT = ("cache_type", "flash_attention")


class States:
    """The states of one loaded model. path: its file; options: what it was loaded with."""

    def __init__(self, llama: Llama, path: Path, options: LoadOptions) -> None:
        self._llama, self._path, self._options = llama, path, options
        self._stamp = _stamp(path)
        self._key: str | None = None
        self._prefilled, self._prefill_s = 0, 0.0
        self._file_rate = 0.0  # tokens/s, of the file that was restored
        self._offered: Path | None = None
        self._on_disk: tuple[Path, list[int]] | None = None  # what is known to be kept, and where

    def offer(self, path: Path) -> None:
        """A file with what a prompt to come may begin with."""
        self._offered = path

    def restore(self, prompt: Sequence[int], stopped: Callable[[], bool]) -> float:
        """Puts what was offered into the KV cache, if the prompt gains by it. The seconds that it took.

        If that is `stopped`, it is tried again with the next prompt.
        """
        path, self._offered = self._offered, None
        if path is None:
            return 0.0
        begin = time.perf_counter()
        with contextlib.suppress(OSError, DamagedStateError), open_state(path) as file:
            head = read_head(file, self._own_key())
            gain_s = self._gain_s(head, prompt)
            if gain_s > 0 and check_sum(file, head, _pays(head, gain_s, stopped)):
                self._llama.reserve(max(len(head.ids), len(prompt)))
                if self._llama.read_state(path, head.ids):
                    self._file_rate = head.facts.prefill_tokens_per_s
                    self._on_disk = path, head.ids
                    os.utime(path)  # the last one that was used is the last one to go
            elif stopped():
                self._offered = path
        return time.perf_counter() - begin

    def note(self, stats: Stats) -> None:
        """Takes note of how quickly a prompt was decoded; what encoding pictures took comes on top."""
        self._prefilled += stats.prompt_tokens - stats.reused_tokens
        self._prefill_s += max(0.0, stats.prefill_s - stats.encode_s)

    def save(self, path: Path, limit_bytes: int) -> int:
        """Keeps what the KV cache holds in a file of at most `limit_bytes`; its length, 0 if it is not worth its room.

        What was kept there before is gone then: it belongs to a conversation that went on. Raises StorageError for what
        the disk does.
        """
        ids = list(self._llama.cached)
        rate = self._tokens_per_s(ids)
        if not ids or (self._on_disk == (path, ids) and path.exists()):  # nothing has been read, or nothing more
            return path.stat().st_size if path.exists() else 0
        self._on_disk = None
        part = path.with_name(f"{path.name}.part")
        try:
            path.unlink(missing_ok=True)
            if not rate or len(ids) / rate < MIN_GAIN_S or not self._has_room(path.parent, limit_bytes):
                return 0
            part.unlink(missing_ok=True)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            if not self._llama.write_state(part):
                raise OSError("llama.cpp could not write it")
            seal(part, Facts(self._own_key(), rate))
            part.replace(path)
        except DamagedStateError:  # the layout of a kind of model that is not known here
            return 0
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        self._on_disk = path, ids
        return path.stat().st_size

    def _gain_s(self, head: Head, prompt: Sequence[int]) -> float:
        """The seconds that it takes to compute what the file holds of a prompt, and the KV cache does not."""
        shared = _shared(head.ids, prompt)
        is_usable = head.kept_from == 0 or shared >= len(head.ids) - 1  # sliding layers cannot be cut back
        if not is_usable or len(head.ids) > self._llama.ctx or max(head.ids) >= self._llama.vocabulary:
            return 0.0
        return (shared - _shared(self._llama.cached, prompt)) / head.facts.prefill_tokens_per_s

    def _tokens_per_s(self, ids: Sequence[int]) -> float:
        """The pace at which these would be computed, their pictures encoded among that; 0.0 if nobody knows."""
        rate = self._prefilled / self._prefill_s if self._prefill_s > 0 and self._prefilled else self._file_rate
        gallery = self._llama.gallery
        if not rate or gallery is None:
            return rate
        return len(ids) / (len(ids) / rate + gallery.row_s * sum(token < 0 for token in ids))

    def _has_room(self, folder: Path, limit_bytes: int) -> bool:
        from shutil import disk_usage

        size = self._llama.state_size(0) + 4 * len(self._llama.cached)
        return size <= limit_bytes and disk_usage(folder).free >= size + _SPARE_BYTES

    def _own_key(self) -> str:
        """What a state belongs to: the model's file, its projector's, how its context keeps keys and values, and the
        program's version.

        Raises OSError if the file is not the one any more that was loaded.
        """
        if self._key is None:
            from hashlib import sha256
            from importlib.metadata import version

            options = asdict(self._options)
            parts = [*(str(options[name]) for name in _OF_THE_CONTEXT), version("llama-cpp-python")]
            if self._options.projector is not None:  # what is cached of a picture is its work
                parts.append(_digest(Path(self._options.projector)))
            self._key = sha256("\n".join([_digest(self._path), *map(str, self._stamp), *parts]).encode()).hexdigest()
        if _stamp(self._path) != self._stamp:
            raise OSError(f"{self._path} has changed")
        return self._key


def _shared(ids: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> _shared([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return next((i for i, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), min(len(ids), len(prompt)))


def _pays(head: Head, gain_s: float, stopped: Callable[[], bool]) -> Callable[[int], bool]:
    """Whether to read on, asked with the bytes read so far: at this pace, and with the copy, it is quicker."""
    begin = time.perf_counter()
    copy_s = head.bytes / _COPY_BYTES_PER_S

    def goes_on(done: int) -> bool:
        read_s = (time.perf_counter() - begin) * head.bytes / done
        return read_s + copy_s < gain_s and not stopped()

    return goes_on


def _stamp(path: Path) -> tuple[int, int]:
    """A file's size and when it was written: another one has others."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    """Of the beginning of a file and of places all over it: 17 x 16 KB tell two models apart, and take 1 ms to read."""
    from hashlib import sha256

    digest = sha256()
    with path.open("rb") as file:
        step = max(file.seek(0, os.SEEK_END) - _SAMPLE_BYTES, 0) / _SAMPLES
        for number in range(_SAMPLES + 1):
            file.seek(round(number * step))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
