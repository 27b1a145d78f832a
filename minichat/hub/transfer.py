"""Bytes from a hub: one range, a small file, many ranges in a row, or a large file onto the disk.

Over http.client, and not the client that huggingface_hub brings: see `connection`. Drops, stalls, refusals for a while
and links that have expired are met with new tries that go on where the last one ended (`patience`); what was changed in
between is never spliced (`source`); whatever has a hash is compared with it.
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from convert.callbacks import calling, passed_through
from convert.publish import is_full
from minichat.hub import environment
from minichat.hub.connection import Connections
from minichat.hub.listing import RemoteFile, Repo
from minichat.hub.part import Digest, discard, open_part, write_all
from minichat.hub.patience import DEFAULT_PATIENCE, Patience, Pause
from minichat.hub.source import Source
from minichat.hub.stream import Stream
from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, DiskFullError, NetworkError, StorageError

__all__ = ["Hub", "Patience", "discard"]

MAX_SMALL_BYTES = 64 << 20
CONNECTIONS = 8
_BLOCK_BYTES = 1 << 20
_WINDOW_BYTES = 12 << 20  # of a download: what a kill may lose, below 16 MiB
_READ_BYTES = 1 << 20


class Hub:
    """A hub, as one person sees it: HF_ENDPOINT's with HF_TOKEN or the stored login, unless told otherwise.

    Its connections are kept alive: use it for all of a pull, in a `with`. May be used by several threads. NetworkError
    if HF_HUB_OFFLINE is set, UsageError for an endpoint or token that cannot be one.
    """

    def __init__(
        self,
        patience: Patience = DEFAULT_PATIENCE,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        connections: int = CONNECTIONS,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        environment.check_online()
        self.endpoint = endpoint or environment.endpoint()
        self._token = token or environment.token()
        self._patience = patience
        self._n_connections = connections
        self._block_bytes = block_bytes
        self._connections = Connections(patience)
        self._pause = Pause()
        self._sources: dict[tuple[str, str, RemoteFile], Source] = {}
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all transfers and closes all connections."""
        for stream in list(self._streams):
            stream.close()
        self._connections.close()

    def read(self, repo: Repo, file: RemoteFile, offset: int, n_bytes: int) -> bytes:
        """Exactly `n_bytes` from `offset` on."""
        with self.stream(repo, [(file, offset, offset + n_bytes)], max(n_bytes, 1)) as pieces:
            return b"".join(pieces)

    def fetch(self, repo: Repo, file: RemoteFile) -> bytes:
        """A whole small file, of at most 64 MiB, compared with its hash. It is asked for twice if it does not fit."""
        if file.size_bytes > MAX_SMALL_BYTES:
            raise DataError(
                f"{clean_line(file.name)} of {repo.id} has {file.size_bytes / 1e6:,.0f} MB, which is too much for a "
                "file that describes a model: choose another repo"
            )
        for _ in range(2):
            data = self.read(repo, file, 0, file.size_bytes)
            digest = Digest(file)
            digest.update(data)
            if digest.fits():
                return data
        raise _damaged(repo, file)

    def stream(self, repo: Repo, ranges: Iterable[tuple[RemoteFile, int, int]], window_bytes: int) -> Stream:
        """The bytes of `ranges` (file, first byte, the one after the last), in order, several in flight at once.

        At most `window_bytes` are received or asked for but not consumed. Iterate over it in a `with`.
        """
        sources = [(self._source(repo, file), begin, end) for file, begin, end in ranges if begin < end]
        for source, begin, end in sources:
            if begin < 0 or end > source.file.size_bytes:
                raise DataError(f"{source.what} ends at {source.file.size_bytes:,} bytes, and {end:,} are needed")
        stream = Stream(
            sources,
            window_bytes=window_bytes,
            connections=self._n_connections,
            block_bytes=self._block_bytes,
            patience=self._patience,
            pause=self._pause,
        )
        self._streams.add(stream)
        return stream

    def download(
        self, repo: Repo, file: RemoteFile, part: Path, on_bytes: Callable[[int], None] = lambda _done: None
    ) -> str:
        """Fetches a large file into `part`, which is whole and synced at the end; its sha256.

        What `part` holds already is used, if the note beside it ("<part>.json") says that it is of the same content;
        else it is begun anew. `on_bytes` is told how many bytes of the file are there, each time that it is more, and 0
        when it is begun anew; what it raises passes as it is. What does not fit the hub's hash in the end is fetched
        anew once; then NetworkError, and nothing is left. StorageError if the part cannot be written; DiskFullError,
        and nothing is left, if that is for want of room. Otherwise part and note stay, for the next time; after success
        the caller renames the part and calls `discard`.
        """
        with passed_through(), _storage_errors(part):
            for _ in range(2):
                digest = self._download(repo, file, part, calling(on_bytes))
                if digest.fits():
                    return digest.sha256()
                discard(part)
                calling(on_bytes)(0)
        raise _damaged(repo, file)

    def _download(self, repo: Repo, file: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> Digest:
        digest = Digest(file)
        handle = open_part(part, file)
        try:
            done = 0
            while data := os.read(handle, _READ_BYTES):
                digest.update(data)
                done += len(data)
                on_bytes(done)
            with self.stream(repo, [(file, done, file.size_bytes)], _WINDOW_BYTES) as pieces:
                for piece in pieces:
                    write_all(handle, piece)
                    digest.update(piece)
                    done += len(piece)
                    on_bytes(done)
            os.fsync(handle)
        finally:
            os.close(handle)
        return digest

    def _source(self, repo: Repo, file: RemoteFile) -> Source:
        key = (repo.id, repo.commit, file)
        if key not in self._sources:
            self._sources[key] = Source(self._connections, repo, file, endpoint=self.endpoint, token=self._token)
        return self._sources[key]


@contextlib.contextmanager
def _storage_errors(part: Path) -> Iterator[None]:
    """What goes wrong while a part is written, as a StorageError. One that finds no room is removed."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            discard(part)
            raise DiskFullError(
                f"{part} cannot be written, the disk is full: free some space, then try again"
            ) from error
        raise StorageError(f"{part} cannot be written: {error.strerror or error}; choose another place") from error


def _damaged(repo: Repo, file: RemoteFile) -> NetworkError:
    return NetworkError(
        f"{clean_line(file.name)} of {repo.id} does not have the hash that the hub tells: it was damaged on the way or "
        "changed; try again"
    )
