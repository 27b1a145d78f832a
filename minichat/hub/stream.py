"""Several ranges in flight, handed over in order, in bounded memory.

The ranges are cut into blocks. Each thread takes the next block, asks for it over a connection that is kept alive, and
goes on where a drop left off. A block is taken only when it fits into the window, which bounds what was asked for but
not consumed; bytes are handed over in order as they come, so that a kill loses no more than the window.

A server that ignores ranges is read once, from the front, by whichever thread has the block that comes next.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from minichat.hub.body import Body
from minichat.hub.connection import Leash
from minichat.hub.patience import Patience, Pause, TransientError, Tries
from minichat.hub.source import Source
from quant.errors import NetworkError

_LOOK_UP_S = 0.2  # so often a waiting thread looks up: where signals do not end a wait (Windows), Ctrl-C gets through
_JOIN_S = 0.3
_SMALL_BYTES = 128 << 10  # not worth another request

Range = tuple[Source, int, int]  # first byte, and the one after the last


class _Block:
    def __init__(self, source: Source, begin: int, end: int) -> None:
        self.source, self.begin, self.end = source, begin, end
        self.pieces: deque[bytes] = deque()
        self.position = begin  # received up to here


class Stream(Iterator[bytes]):
    """The bytes of `ranges`, one after the other. Close it, or use it in a `with`.

    The threads start at once. Errors come to whoever iterates: NetworkError when patience is at an end or content was
    changed, DataError when the hub refuses.
    """

    def __init__(
        self,
        ranges: Iterable[Range],
        *,
        window_bytes: int,
        connections: int,
        block_bytes: int,
        patience: Patience,
        pause: Pause,
    ) -> None:
        smallest = max(1, min(window_bytes, _SMALL_BYTES))
        self._blocks = _cut(ranges, min(block_bytes, max(smallest, window_bytes // connections)))
        self._next = next(self._blocks, None)
        self._free = window_bytes
        self._patience = patience
        self._pause = pause
        self._taken: deque[_Block] = deque()  # in order; the first one is handed over
        self._handed = 0  # bytes that the consumer has, and may still be working on
        self._fronts: dict[Source, Body] = {}
        self._at_front = threading.Lock()
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._leash = Leash()
        self._threads: list[threading.Thread] = []
        self._n_running = 0
        self._connections = connections
        if self._next is not None:
            self._start_thread()

    def __next__(self) -> bytes:
        with self._changed:
            self._free += self._handed
            self._handed = 0
            self._changed.notify_all()
            while True:
                if self._taken and self._taken[0].pieces:
                    piece = self._taken[0].pieces.popleft()
                    self._handed = len(piece)
                    return piece
                if self._taken and self._taken[0].position == self._taken[0].end:
                    self._taken.popleft()
                    self._changed.notify_all()
                    continue
                if self._error is not None:
                    raise self._error
                if self._leash.is_ended:
                    raise NetworkError("the transfer was ended")
                if not self._taken and self._next is None:
                    raise StopIteration
                self._changed.wait(_LOOK_UP_S)

    def close(self) -> None:
        """Ends all transfers at once. What was not consumed is lost."""
        self._leash.end()
        with self._changed:
            self._next = None
            self._taken.clear()
            self._changed.notify_all()
        until = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # What the threads do.

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="minichat-hub", daemon=True)
        self._threads.append(thread)
        self._n_running += 1
        thread.start()

    def _work(self) -> None:
        try:
            while (block := self._take()) is not None:
                self._fill(block)
        except BaseException as error:
            with self._changed:
                if self._error is None and not self._leash.is_ended:
                    self._error = error
                self._next = None
                self._changed.notify_all()
        finally:
            with self._changed:
                self._n_running -= 1
                fronts = [] if self._n_running else list(self._fronts.values())
            for body in fronts:
                body.close()

    def _take(self) -> _Block | None:
        """The next block, when the window has room for it; None if there is no more."""
        with self._changed:
            while self._next is not None and self._free < self._next.end - self._next.begin:
                self._changed.wait(_LOOK_UP_S)
            block = self._next
            if block is None or self._leash.is_ended:
                return None
            self._free -= block.end - block.begin
            self._taken.append(block)
            self._next = next(self._blocks, None)
            if self._next is not None and len(self._threads) < self._connections:
                self._start_thread()
            return block

    def _fill(self, block: _Block) -> None:
        tries = Tries(self._patience, block.source.what)
        while block.position < block.end:
            if self._ended_within(self._pause.left_s()):
                return
            begin = block.position
            tries.begin()
            try:
                self._receive(block)
            except TransientError as fault:
                if self._leash.is_ended:
                    return
                wait_s = tries.failed(fault, block.position - begin)
                if fault.wait_s is not None:
                    self._pause.add(fault.wait_s)
                if self._ended_within(wait_s):
                    return

    def _receive(self, block: _Block) -> None:
        """Asks for what the block lacks, and takes in what comes."""
        if block.source.ignores_ranges:
            self._receive_from_front(block)
            return
        body = block.source.open(block.position, block.end, self._leash)
        try:
            self._take_in(body, block)
        finally:
            body.close()

    def _receive_from_front(self, block: _Block) -> None:
        with self._changed:
            while self._taken and self._taken[0] is not block and not self._leash.is_ended:
                self._changed.wait(_LOOK_UP_S)
        with self._at_front:  # whoever had the block before may still be putting the body back
            source = block.source
            body = self._fronts.pop(source, None)
            if body is not None and not body.move_to(block.position, block.end):
                body.close()
                body = None
            if body is None:
                body = source.open(block.position, source.file.size_bytes, self._leash)
                body.end = min(body.end, block.end)
            try:
                self._take_in(body, block)
            except BaseException:
                body.close()
                raise
            if source.ignores_ranges:
                self._fronts[source] = body
            else:
                body.close()

    def _take_in(self, body: Body, block: _Block) -> None:
        while piece := body.read():
            with self._changed:
                if self._leash.is_ended:
                    raise TransientError("the transfer was ended")
                block.pieces.append(piece)
                block.position += len(piece)
                if self._taken and self._taken[0] is block:
                    self._changed.notify_all()

    def _ended_within(self, seconds: float) -> bool:
        """Waits. Whether the stream was ended meanwhile."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._leash.is_ended and self._error is None and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, _LOOK_UP_S))
            return self._leash.is_ended or self._error is not None


def _cut(ranges: Iterable[Range], block_bytes: int) -> Iterator[_Block]:
    """Blocks of at most `block_bytes`, of ranges that are joined where one begins where another ends."""
    for source, begin, end in _joined(ranges):
        for at in range(begin, end, block_bytes):
            yield _Block(source, at, min(at + block_bytes, end))


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    last: Range | None = None
    for source, begin, end in ranges:
        if last is not None and last[0] is source and last[2] == begin:
            last = source, last[1], end
            continue
        if last is not None:
            yield last
        last = source, begin, end
    if last is not None:
        yield last
