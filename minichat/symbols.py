"""The symbols that SentencePiece finds in any text: `[REFERENCE_DOC_0]` to `[REFERENCE_DOC_19]`, `[REF]`, `[/REF]`.

V3's vocabulary has the first twenty as tokens of the type "user-defined", V7's all of them. They are no control tokens:
mistral-common makes them of a user's text, and so does minichat, for the ids are to be the same. llama.cpp finds them
too, but puts a space before the text after each, and none before one at the beginning. So texts are cut here, and
llama.cpp is given what lies between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

KNOWN = re.compile(r"\[(/?REF|REFERENCE_DOC_[0-9]+)\]")

Encode = Callable[[str], "list[int]"]


class Symbols:
    """Texts -> ids for a vocabulary with such symbols, which `ids` holds by name (at least one).

    encode: text -> ids by llama.cpp, with the vocabulary's own space before the text.
    absent: a character that is in no token of the vocabulary. It becomes bytes, which merge with nothing: so a text
        behind it gets the ids that it gets in the middle of a text.
    """

    def __init__(self, ids: Mapping[str, int], encode: Encode, absent: str) -> None:
        self._ids = ids
        self._encode = encode
        self._absent = absent
        self._names = re.compile("|".join(map(re.escape, sorted(ids, key=len, reverse=True))))

    def encode(self, text: str) -> list[int]:
        """The ids of a text that is not empty; as `encode` gives them where no symbol is in it."""
        if not (found := list(self._names.finditer(text))):
            return self._encode(text)
        behind = self._encode(self._absent)
        space = behind[: -len(self._absent.encode())]
        before = text[: found[0].start()]
        ids = self._encode(before) if before else space
        for symbol, after in zip(found, [*found[1:], None], strict=True):
            ids.append(self._ids[symbol[0]])
            rest = text[symbol.end() : after.start() if after else None]
            ids += self._encode(self._absent + rest)[len(behind) :] if rest else []
        return ids


def absent_character(tokens: list[str]) -> str:
    """A character for private use that no token has.

    >>> absent_character(["a", "\\ue000b"]) == "\\ue001"
    True
    """
    taken = set("".join(tokens))
    return next(chr(code) for code in range(0xE000, 0x110000) if chr(code) not in taken)
