"""A prompt that is still being typed: which part of it that is, and how much of it is decoded at once.

A batch that is stopped in the middle is lost, and what else the engine is asked meanwhile waits for it; so each is to
take `BATCH_S` seconds, if it can. Each also has a price of its own (all weights are read once; on a busy machine the
threads wait for each other), which only more tokens make up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minichat.template.pieces import Piece

BATCH_S = 0.3
LEAST, MOST = 32, 512  # tokens
_CHEAPER = 0.8  # of what a token cost in a batch half as long


class Pace:
    """The tokens of the next batch (`size`), told from how long those before took.

    >>> pace = Pace()
    >>> pace.took(32, 1.0); pace.took(64, 1.1); pace.size
    128
    >>> pace.took(128, 2.1); pace.size
    64
    """

    def __init__(self) -> None:
        self.size = LEAST
        self._token_s = float("inf")

    def took(self, tokens: int, seconds: float) -> None:
        """Takes note of a batch; the rest of a prompt, which is shorter than one, tells nothing."""
        if tokens < self.size:
            return
        token_s, before = seconds / tokens, self._token_s
        self._token_s = token_s
        if seconds <= BATCH_S or token_s < _CHEAPER * before:
            self.size = min(2 * self.size, MOST)
        else:
            self.size = max(self.size // 2, LEAST)


def settled_and_typed(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """A prompt in two parts: what the conversation has come to, and the message at its end, if there is one.

    That is the last text; with pictures in it, all texts and pictures at the end.

    >>> from minichat.template.pieces import Control, Image, Text
    >>> settled_and_typed([Control("[INST]"), Text("Hel")])
    ([Control(name='[INST]')], [Text(text='Hel')])
    >>> len(settled_and_typed([Control("[INST]"), Text("What is"), Image("a.png"), Text("on")])[1])
    3
    """
    from minichat.template.pieces import Image, Text

    place = len(pieces)
    while place and isinstance(pieces[place - 1], Text | Image):
        place -= 1
    if not any(isinstance(piece, Image) for piece in pieces[place:]):
        place = max(place, len(pieces) - 1)
    return pieces[:place], pieces[place:]
