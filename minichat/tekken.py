"""Tekken, Mistral's byte-level BPE: text -> ranks, through tiktoken.

A text is cut into parts by a pattern; within each part the pair of neighbouring tokens that is the token of lowest rank
is merged, again and again, beginning with single bytes. The pattern is not in a GGUF: it is the same in every Tekken
vocabulary that Mistral published, and it stands here. llama.cpp's own version of it leaves out combining marks, and so
splits Hindi, Bengali, Tamil, Thai and Arabic with vowel signs into tokens that the model was not trained on.

A rank is a token's place among the ordinary tokens: the ids in a model begin after its control tokens.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from convert.tekken import byte_letters
from quant.errors import GgufError, TemplateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tiktoken

# The first alternative that matches wins.
PATTERN = "|".join(
    (
        # a word with a small letter or a mark in it, and one sign or space before it
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
        # a word that begins with capitals
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
        r"\p{N}",  # each digit alone
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",  # signs
        r"\s*[\r\n]+",  # line ends and the spaces before them
        r"\s+(?!\S)",  # spaces, but for the one before a word
        r"\s+",
    )
)

# A run of 999,999 spaces overflows the stack of tiktoken's regex in `\s+(?!\S)`: runs longer than this are cut by hand.
LONGEST_SPACE_RUN = 10_000

# Unicode's White_Space without the line ends \r and \n. It is Rust's \s; Python's \s has four characters more.
_SPACE_RUN = re.compile("[\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]{2,}")


def byte_characters() -> dict[str, str]:
    """The characters that stand for bytes in a GGUF's byte-level vocabulary, as in GPT-2's, in the order of the bytes.

    The values are the characters U+0000 to U+00FF.

    >>> characters = byte_characters()
    >>> characters["A"], characters["Ġ"], next(iter(characters))
    ('A', ' ', 'Ā')
    """
    return {letter: chr(byte) for byte, letter in sorted(byte_letters().items())}


class Bpe:
    """The ordinary tokens of one vocabulary, in the order of their ranks, as a GGUF spells them.

    Raises GgufError for tokens that are no byte-level vocabulary. The bytes of 131,072 tokens cost some 0.05 s, the
    encoder 0.2 s: both are made when they are first needed.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        characters = byte_characters()
        if "".join(tokens[:256]) != "".join(characters):
            raise GgufError("the file's vocabulary is damaged: the 256 single bytes do not follow its control tokens")
        if not set("".join(tokens)) <= characters.keys():
            raise GgufError("the file's vocabulary is damaged: a token has a character that stands for no byte")

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each token, by rank."""
        table = {ord(character): byte for character, byte in byte_characters().items()}
        return [token.translate(table).encode("latin-1") for token in self._tokens]

    def encode(self, text: str) -> list[int]:
        """The ranks for a text without lone surrogates. A million characters of any kind take less than a second.

        Raises TemplateError for a text that tiktoken cannot cut.
        """
        ranks: list[int] = []
        for part, is_space_run in cut_space_runs(text, LONGEST_SPACE_RUN):
            encoder = self._whole_encoder if is_space_run else self._encoder
            try:
                ranks += encoder.encode(part, disallowed_special=())
            except ValueError as error:  # its regex gave up
                raise TemplateError(f"a text of {len(text)} characters cannot be tokenized: {error!s:.100}") from error
        return ranks

    @cached_property
    def _encoder(self) -> tiktoken.Encoding:
        return self._build(PATTERN)

    @cached_property
    def _whole_encoder(self) -> tiktoken.Encoding:
        """Takes the whole text for one part."""
        return self._build(r"[\s\S]+")

    def _build(self, pattern: str) -> tiktoken.Encoding:
        import tiktoken

        ranks = {token: rank for rank, token in enumerate(self.token_bytes)}
        if len(ranks) != len(self.token_bytes) or b"" in ranks:
            raise GgufError("the file's vocabulary is damaged: it has an empty token, or one token twice")
        return tiktoken.Encoding("tekken", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def cut_space_runs(text: str, longest: int) -> list[tuple[str, bool]]:
    """The text in parts that give the same ranks one by one; True marks a part that is one run of spaces.

    The pattern makes of  word, n spaces, word  the word, n - 1 spaces, and the last space with the next word (or
    alone); at the end of a text, the word and n spaces. No part that begins before a run of spaces reaches into it,
    so a cut there changes nothing. Spaces before a line end go with it, in an alternative that cannot overflow.

    >>> cut_space_runs("a    b", 3)
    [('a', False), ('   ', True), (' b', False)]
    """
    parts: list[tuple[str, bool]] = []
    done = 0
    for run in _SPACE_RUN.finditer(text) if len(text) > longest else ():
        start, end = run.span()
        if end - start <= longest or text[end : end + 1] in ("\r", "\n"):
            continue
        if end < len(text):
            end -= 1
        parts += [(text[done:start], False), (text[start:end], True)]
        done = end
    return [part for part in [*parts, (text[done:], False)] if part[0]]
