"""llama.cpp's list of candidates for the next token (`llama_token_data_array`), filled without numpy.

An entry is three words of 4 bytes: id (int32), logit and probability (float32). Strided copies between views fill
131,072 of them in about a millisecond, where a loop would take fifty.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable
from typing import Any

REFUSED = float("-inf")  # the logit of what a grammar does not allow
_WORDS = 3


class Candidates:
    """The candidates among `vocabulary` tokens. `pointer` is what llama.cpp's samplers are applied to."""

    def __init__(self, c: Any, vocabulary: int) -> None:
        self._data = (c.llama_token_data * vocabulary)()
        self._list = c.llama_token_data_array()
        self.pointer = ctypes.byref(self._list)
        words = memoryview(self._data).cast("B")
        self._ids, self._logits = words.cast("i")[0::_WORDS], words.cast("f")[1::_WORDS]
        self._all_ids = memoryview(array("i", range(vocabulary)))
        self._item = c.llama_token_data

    def fill(self, logits: memoryview[float], without: Iterable[int] = ()) -> None:
        """All tokens with their logits (n_vocab,) float32, the tokens of `without` refused."""
        self._ids[:], self._logits[:] = self._all_ids, logits
        for token in without:
            self._logits[token] = REFUSED
        self._set_size(len(self._all_ids))

    def only(self, token: int) -> None:
        """This token alone."""
        self._ids[0], self._logits[0] = token, 0.0
        self._set_size(1)

    @property
    def size(self) -> int:
        return int(self._list.size)

    def allowed(self) -> int:
        """Takes out what is refused, and returns how many are left. They keep their order."""
        kept = [n for n, logit in enumerate(self._logits[: self.size].tolist()) if logit != REFUSED]
        for place, n in enumerate(kept):
            self._ids[place], self._logits[place] = self._ids[n], self._logits[n]
        self._set_size(len(kept))
        return len(kept)

    def selected(self) -> int:
        """The token that a sampler has chosen."""
        return int(self._ids[self._list.selected])

    def _set_size(self, size: int) -> None:
        self._list.data = ctypes.cast(self._data, ctypes.POINTER(self._item))
        self._list.size, self._list.selected, self._list.sorted = size, -1, False
