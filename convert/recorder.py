"""What is to be marked in the journal of a conversion: the pieces that have been both hashed and written.

At most `IN_FLIGHT_BYTES` of weights are on their way at a time, and there is a mark for about each megabyte of them: so
much may be read again after an interruption (`convert.resume`).
"""

import threading
from collections import deque
from collections.abc import Mapping

from convert.journal import Journal, Mark
from convert.sources import SourceHashes

IN_FLIGHT_BYTES = 6 << 20
_LAG_BYTES = 1 << 20  # at most, from one mark to the next


class Recorder:
    """Marks in the journal what has been hashed and written. One thread tells of each, of the same pieces in order.

    `in_flight`: bytes of weights that were read and have not been both hashed and written.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._hashed: deque[tuple[int, tuple[int, int], bytes | None, str]] = deque()
        self._written: deque[tuple[tuple[int, ...], tuple[str, ...], Mapping[str, tuple[float, float]]]] = deque()
        self._sums: dict[str, tuple[float, float]] = {}  # since the last mark
        self._lag = 0
        self.in_flight = 0

    def read(self, n_bytes: int) -> None:
        """A piece of so many bytes has been read."""
        with self._lock:
            self.in_flight += n_bytes

    def hashed(self, n_bytes: int, hashes: SourceHashes) -> None:
        """The next piece has been hashed."""
        number, offset = hashes.place
        digest = hashes.found[number - 1] if number and not offset else ""
        with self._lock:
            self._hashed.append((n_bytes, (number, offset), hashes.state(), digest))
            self._pair()

    def written(
        self, n_bytes: tuple[int, ...], sha256: tuple[str, ...], sums: Mapping[str, tuple[float, float]]
    ) -> None:
        """The outputs with what became of the next piece, `n_bytes` with these sha256, are in the system's hands."""
        with self._lock:
            self._written.append((n_bytes, sha256, sums))
            self._pair()

    def _pair(self) -> None:
        while self._hashed and self._written:
            n_bytes, at, state, digest = self._hashed.popleft()
            written, sha256, sums = self._written.popleft()
            self._sums |= sums
            self._lag += n_bytes
            if digest or (state is not None and self._lag >= _LAG_BYTES):
                self._journal.append(Mark(at, written, sha256, state or b"", digest, self._sums))
                self._sums, self._lag = {}, 0
            self.in_flight -= n_bytes
