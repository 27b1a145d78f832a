"""The bytes of an answer, from the first that is wanted to the last."""

from minichat.hub.connection import Answer
from minichat.hub.patience import TransientError

_PIECE_BYTES = 256 << 10


class Body:
    """Bytes of a file from `position` up to `end`, as they come; `skip` of them before that are not wanted."""

    def __init__(self, answer: Answer, position: int, end: int, skip: int, what: str) -> None:
        self.position = position
        self.end = end
        self._answer = answer
        self._skip = skip
        self._what = what

    def read(self) -> bytes:
        """The next bytes; b"" at the end. TransientError if they stop coming before."""
        while self._skip:
            self._skip -= len(self._receive(self._skip))
        if self.position == self.end:
            return b""
        piece = self._receive(self.end - self.position)
        self.position += len(piece)
        return piece

    def move_to(self, begin: int, end: int) -> bool:
        """Goes on at `begin`, if that is ahead of what was read. Whether it can be."""
        if begin < self.position:
            return False
        self._skip += begin - self.position
        self.position, self.end = begin, end
        return True

    def close(self) -> None:
        """Gives the connection back, if all was read; else closes it."""
        if self.position == self.end and not self._skip:
            self._answer.finish()
        else:
            self._answer.drop()

    def _receive(self, n_bytes: int) -> bytes:
        piece = self._answer.read(min(n_bytes, _PIECE_BYTES))
        if not piece:
            raise TransientError(f"the connection ended in the middle of {self._what}")
        return piece
