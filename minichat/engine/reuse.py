"""What a prompt need not decode because the KV cache holds it: the longest part that is there, or can be had back.

    the cache        cut back to what it shares with the prompt: costs nothing
    a checkpoint     where a window or a recurrent state forgot what the shared part needs (`minichat.engine.snapshots`)
    a branch         where the conversation took another way and now comes back

Whatever is found, at least the prompt's last token is left to decode: its logits are needed.

How far a cache with windows can be cut back: a token at place p of such a layer attends to what stands at p + 1 -
window and behind. llama.cpp keeps a ring of the window and a batch, in steps of 256 cells. A recurrent state is that
of its last token and cannot be cut back at all. Both are copied at the two places that one comes back to: where a
turn begins (/undo, /edit), and where its answer does (/retry).
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minichat.engine.resident import spare_bytes
from minichat.engine.snapshots import Shelf, Snapshot, common, is_worth

if TYPE_CHECKING:
    from minichat.engine.llama import Llama

_PARTIAL = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: windows and recurrent states alone
_RING_CELLS = 256
_TIMED_TOKENS = 32
_SLOW_S = 0.005  # per token, as long as nothing has been measured


class Reuse:
    """What a `Llama` can have back of what it once decoded."""

    def __init__(self, llama: Llama, window: int, is_recurrent: bool, batch: int) -> None:
        """window: tokens, 0 if all layers attend to everything. batch: the largest that is decoded at once."""
        self._llama = llama
        self._window, self._is_recurrent, self._batch = window, is_recurrent, batch
        self._behind = 0 if is_recurrent else 1  # a window's copy also serves the token before its place
        self.shelf = Shelf(spare_bytes)
        self._marks: list[int] = []  # places that one may come back to, ahead of the cached tokens; sorted
        self._asked = 0  # tokens of the last prompt
        self._token_s, self._is_timed = _SLOW_S, False

    def cut_to(self, prompt: Sequence[int]) -> int:
        """Brings the cache to the longest beginning of `prompt` that can be had; how many tokens that is."""
        llama, wanted = self._llama, prompt[:-1]
        shared = common(llama.cached, wanted)
        checkpoint, have = None, shared
        if shared < len(llama.cached) and not self._can_cut(shared):
            checkpoint = self.shelf.checkpoint(wanted, shared, self._behind)
            have = min(len(checkpoint.ids), shared) if checkpoint is not None else 0
        branch = self._branch(wanted, have)
        self._keep_branch(shared)
        back = branch or checkpoint
        if back is not None and not self._restore(back):
            have = 0
        elif branch is not None:
            have = common(branch.ids, wanted)
        if (back is not None or have < len(llama.cached)) and not (have and llama.cut(have)):
            llama.clear()
            have = 0
        self._mark(have, len(prompt))
        return have

    def before_decode(self, count: int) -> int:
        """How many of the next `count` tokens may be decoded at once; takes the checkpoint that is due first."""
        marks, place = self._marks, len(self._llama.cached)
        while marks and marks[0] <= place:
            if marks.pop(0) == place:
                self._keep_checkpoint()
        return min(count, marks[0] - place) if marks and self._is_recurrent else count

    def is_to_be_timed(self, tokens: int) -> bool:
        """Whether to tell how long a batch of so many tokens took: once for each prompt, and of a large one."""
        return tokens >= _TIMED_TOKENS and not self._is_timed

    def timed(self, tokens: int, seconds: float) -> None:
        """Takes note of how long a batch took."""
        self._token_s, self._is_timed = seconds / tokens, True

    def fall_back(self) -> None:
        """After a batch that did not come to its end: the cache as it was, or as far as that can be had."""
        llama = self._llama
        place = len(llama.cached)
        if llama.cut(place):
            return
        checkpoint = self.shelf.checkpoint(llama.cached, place)
        if checkpoint is None or not self._restore(checkpoint) or not llama.cut(len(llama.cached)):
            llama.clear()

    def _can_cut(self, place: int) -> bool:
        """Whether all is there that a token at `place` attends to."""
        kept_from = self._llama.kept_from()  # -1: no position at all
        needed_from = max(0, place + 1 - self._window) if self._window else 0
        return 0 <= kept_from <= needed_from

    def _forgets(self) -> bool:
        """Whether the cache of this context loses what no cut brings back."""
        ring = -(-(self._window + self._batch) // _RING_CELLS) * _RING_CELLS
        return self._is_recurrent or (self._window > 0 and ring < self._llama.ctx)

    def _mark(self, have: int, length: int) -> None:
        """Takes note of the places of a prompt that one may come back to: behind `have` tokens, and its end."""
        self._asked, self._is_timed = length, False
        self._marks.clear()
        if self._forgets():
            for place in {have, length - 1 + self._behind}:  # the last token of a prompt is decoded again
                insort(self._marks, place)

    def _keep_checkpoint(self) -> None:
        llama = self._llama
        if not llama.cached:
            return
        last = self.shelf.checkpoint(llama.cached, len(llama.cached))
        lost = len(llama.cached) - (len(last.ids) if last is not None else 0)
        size = llama.state_size(_PARTIAL)
        if lost and is_worth(size, lost, self._token_s):
            self.shelf.keep_checkpoints_of(llama.cached)
            self._put(size, is_whole=False)

    def _keep_branch(self, shared: int) -> None:
        """Keeps the cache as it is if more than the last answer would be lost by a cut to `shared` tokens.

        What was typed and never sent is no loss.
        """
        llama = self._llama
        lost = len(llama.cached) - shared
        if shared < llama.settled and shared + 1 < min(self._asked, len(llama.cached)):
            size = llama.state_size(0)
            if is_worth(size, lost, self._token_s) and not self._is_kept():
                self._put(size, is_whole=True)

    def _is_kept(self) -> bool:
        cached = self._llama.cached
        return any(shared == len(cached) for shared, _ in self.shelf.branches(cached))

    def _put(self, size: int, is_whole: bool) -> None:
        if self.shelf.make_room(size):
            state = self._llama.state(0 if is_whole else _PARTIAL, size)
            if state is not None:
                self.shelf.put(Snapshot(array("i", self._llama.cached), state, is_whole))

    def _branch(self, wanted: Sequence[int], have: int) -> Snapshot | None:
        """The branch that spares the most, if one spares more than it takes to put it back."""
        for shared, branch in self.shelf.branches(wanted):
            whole = shared + self._behind >= len(branch.ids) or not self._forgets()
            if whole and is_worth(branch.bytes, shared - have, self._token_s):
                return branch
        return None

    def _restore(self, snapshot: Snapshot) -> bool:
        llama = self._llama
        if snapshot.is_whole:
            llama.clear()
            llama.reserve(len(snapshot.ids))
        if not llama.set_state(snapshot.state, 0 if snapshot.is_whole else _PARTIAL):
            self.shelf.drop(snapshot)
            llama.clear()
            return False
        self.shelf.used(snapshot)
        llama.cached[:] = snapshot.ids
        return True
