"""States of the KV cache set aside in memory, to go back to where the cache itself cannot be cut back to.

    checkpoint   what layers with a window, and recurrent ones, hold at one place of the conversation. They forget what
                 stood before, so that nothing but a copy leads back; the other layers are cut back as ever
    branch       a whole cache, before the conversation goes another way: another session, an early turn edited

A copy costs time and memory, so both must pay: `is_worth` weighs what it takes against what decoding again would, and
a shelf holds no more than `SHARE` of the memory that is free. What was used longest ago goes first.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SHARE = 0.25  # of the free memory, what is on the shelf counted as free
_WORTH = 0.05  # of the time that a copy may spare, how much it may take
_ASSUMED_BYTES_PER_S = 2e9  # of a copy; a first touch of memory is slower than memcpy


@dataclass
class Snapshot:
    """The cache after `ids`. state: llama.cpp's bytes of it. is_whole: a branch, else a checkpoint."""

    ids: array[int]
    state: Any = field(repr=False)  # (size,) c_uint8
    is_whole: bool

    @property
    def bytes(self) -> int:
        return len(self.state) + len(self.ids) * self.ids.itemsize


class Shelf:
    """Snapshots, the one used last at the end. free: the bytes of memory that are free; None if nobody can tell."""

    def __init__(self, free: Callable[[], int | None]) -> None:
        self._free = free
        self._kept: list[Snapshot] = []

    @property
    def bytes(self) -> int:
        return sum(kept.bytes for kept in self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def make_room(self, size: int) -> bool:
        """Whether there is room for `size` bytes more; for that, what was used longest ago is dropped."""
        free = self._free()
        most = SHARE * (free + self.bytes) if free is not None else 0
        if size > most:
            return False
        while self.bytes + size > most:
            del self._kept[0]
        return True

    def put(self, snapshot: Snapshot) -> None:
        """Keeps it; one that it makes useless is dropped: a branch that it goes on, a checkpoint of the same place."""
        self._kept = [kept for kept in self._kept if not _replaces(snapshot, kept)]
        self._kept.append(snapshot)

    def keep_checkpoints_of(self, cached: Sequence[int]) -> None:
        """Drops the checkpoints that lead back to nothing which is still in the cache."""
        self._kept = [kept for kept in self._kept if kept.is_whole or common(kept.ids, cached) == len(kept.ids)]

    def checkpoint(self, wanted: Sequence[int], most: int, behind: int = 0) -> Snapshot | None:
        """The longest checkpoint of at most `most` tokens that `wanted` begins with, if not for its last `behind`."""
        fit = [kept for kept in self._kept if not kept.is_whole and len(kept.ids) <= most + behind]
        fit = [kept for kept in fit if common(kept.ids, wanted) + behind >= len(kept.ids)]
        return max(fit, key=lambda kept: len(kept.ids), default=None)

    def branches(self, wanted: Sequence[int]) -> Iterator[tuple[int, Snapshot]]:
        """The branches, each with how many tokens it shares with `wanted`, most first."""
        found = [(common(kept.ids, wanted), kept) for kept in self._kept if kept.is_whole]
        yield from sorted(found, key=lambda pair: -pair[0])

    def used(self, snapshot: Snapshot) -> None:
        self.drop(snapshot)
        self._kept.append(snapshot)

    def drop(self, snapshot: Snapshot) -> None:
        self._kept = [kept for kept in self._kept if kept is not snapshot]

    def clear(self) -> None:
        self._kept.clear()


def is_worth(size: int, tokens: int, token_s: float) -> bool:
    """Whether copying `size` bytes takes little beside decoding `tokens` again, at `token_s` seconds each.

    >>> is_worth(100_000_000, 400, 0.025), is_worth(100_000_000, 20, 0.025)
    (True, False)
    """
    return size / _ASSUMED_BYTES_PER_S <= _WORTH * tokens * token_s


def common(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many ids two sequences of the same kind begin with in common. Compares in halves, at the speed of C.

    >>> common([1, 2, 3, 4], [1, 2, 9]), common([1, 2], [1, 2, 3]), common([], [1])
    (2, 2, 0)
    """
    same, end = 0, min(len(ids), len(others))
    step = end
    while same < end:
        step = min(step, end - same)
        if _equal(ids[same : same + step], others[same : same + step]):
            same += step
        elif step == 1:
            break
        else:
            step //= 2
    return same


def _equal(ids: Sequence[int], others: Sequence[int]) -> bool:
    return ids == others if type(ids) is type(others) else list(ids) == list(others)


def _replaces(new: Snapshot, old: Snapshot) -> bool:
    if new.is_whole != old.is_whole:
        return False
    shared = common(new.ids, old.ids)
    return shared == len(old.ids) and (new.is_whole or shared == len(new.ids))
