"""Prompt lookup: what stands behind the last tokens' earlier occurrence is a guess at what comes next.

An answer that edits, quotes or sums up says much of its prompt again. The text is indexed by pairs of neighbours; of
the places where the last two tokens stood before, the one that more tokens before them agree with is followed. Where a
match breaks off, as in an edit, a single token near that place is enough to go on behind it.

A picture's rows, which are negative ids, are in the text, and never guessed at: no answer holds one.

One token costs the same however long the text is.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 16  # tokens that are compared: whether 16 or 60 agree, the guess is as good
_PLACES = 4  # earlier places of a pair that are looked at
_NEAR = 24  # tokens behind the end of a match where a single token takes it up again
_NEAR_FOR = 8  # tokens of the answer for which that is tried


class Lookup:
    """A text that grows. `matched` tokens before its end stand before the place of the guess too; 0: there is no guess.

    >>> lookup = Lookup()
    >>> lookup.follow([1, 2, 3, 4, 9, 2, 3])
    >>> lookup.matched, lookup.guess(2)
    (2, [4, 9])
    """

    def __init__(self) -> None:
        self._text: list[int] = []
        self._last: dict[int, int] = {}  # a pair of tokens -> the last place behind it
        self._before: list[int] = []  # for each place, the one before it behind the same pair; -1 if there is none
        self._at = 0  # where the guess begins
        self.matched = 0
        self._broke_at, self._broke_since = 0, _NEAR_FOR

    def follow(self, text: Sequence[int]) -> None:
        """Makes the text another one; what the two have in common at the beginning is not looked at again."""
        common = min(len(self._text), len(text))
        if self._text[:common] != list(text[:common]):
            common = next(n for n in range(common) if self._text[n] != text[n])
        while len(self._text) > common:
            self._forget()
        for token in text[common:]:
            self._append(token)
        self.matched, self._broke_since = 0, _NEAR_FOR
        self._search()

    def add(self, token: int) -> None:
        """The next token of the text, guessed right or wrong."""
        if self.matched and self._text[self._at] == token:
            self._append(token)
            self._at, self.matched = self._at + 1, min(self.matched + 1, LONGEST)
            if self.matched == LONGEST:
                return
        else:
            if self.matched:
                self._broke_at, self._broke_since = self._at, 0
            self._append(token)
            self.matched = 0
        self._broke_since += 1
        self._search()

    def guess(self, limit: int) -> list[int]:
        """The next tokens, `limit` of them, if there is a match. A text that repeats itself is taken to go on so."""
        if not self.matched:
            return []
        guessed = self._text[self._at : self._at + limit]
        period = len(self._text) - self._at
        while len(guessed) < limit:
            guessed.append(guessed[-period])
        return guessed[: next((n for n, token in enumerate(guessed) if token < 0), limit)]

    def _append(self, token: int) -> None:
        self._text.append(token)
        before = -1
        if len(self._text) > 1 and min(self._text[-2], token) >= 0:
            pair = _pair(self._text[-2], token)
            before = self._last.get(pair, -1)
            self._last[pair] = len(self._text)
        self._before.append(before)

    def _forget(self) -> None:
        """Takes the last token back."""
        before = self._before.pop()
        token = self._text.pop()
        if self._text and min(self._text[-1], token) >= 0:
            pair = _pair(self._text[-1], token)
            if before < 0:
                del self._last[pair]
            else:
                self._last[pair] = before

    def _search(self) -> None:
        """Looks for a longer match than the one there is."""
        place = self._before[-1] if self._before else -1
        for _ in range(_PLACES):
            if place < 0:
                break
            matched = self._agreement(place)
            if matched > self.matched:
                self._at, self.matched = place, matched
            place = self._before[place - 1]
        if not self.matched and self._broke_since < _NEAR_FOR:
            near = self._text[self._broke_at : min(self._broke_at + _NEAR, len(self._text) - 1)]
            if self._text[-1] in near:
                self._at, self.matched = self._broke_at + near.index(self._text[-1]) + 1, 1

    def _agreement(self, place: int) -> int:
        """How many tokens before `place` are those at the end."""
        text, end = self._text, len(self._text)
        agreed = 2
        while agreed < LONGEST and agreed < place and text[place - 1 - agreed] == text[end - 1 - agreed]:
            agreed += 1
        return agreed


def _pair(first: int, second: int) -> int:
    return first << 32 | second
