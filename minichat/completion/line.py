"""A half-typed command line of bash, in words: bash itself parts `mistral-small:24b` at its colon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word without its quotes. is_open: whether a quote in it is still open."""

    text: str
    is_open: bool = False


def split_line(line: str) -> list[Word]:
    r"""The words of a line up to the cursor; the last is the one under it, "" behind a blank. Nothing is expanded.

    >>> [word.text for word in split_line("minichat run 'a b' c\\ d")]
    ['minichat', 'run', 'a b', 'c d']
    >>> split_line('show "x')[-1], split_line("show ")[-1]
    (Word(text='x', is_open=True), Word(text='', is_open=False))
    """
    words, text, quote, is_word = [], "", "", False
    characters = iter(line)
    for character in characters:
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"':
                text += next(characters, "")
            else:
                text += character
        elif character in "'\"":
            quote, is_word = character, True
        elif character == "\\":
            text, is_word = text + next(characters, ""), True
        elif character in " \t\n":
            if is_word:
                words.append(Word(text))
            text, is_word = "", False
        else:
            text, is_word = text + character, True
    return [*words, Word(text, bool(quote))]


def behind_program(words: Sequence[Word], program: str = "minichat") -> Sequence[Word]:
    """The words behind the program's name, which assignments may stand before."""
    place = next((n for n, word in enumerate(words[:-1]) if word.text.rpartition("/")[2] == program), 0)
    return words[place + 1 :] or words[-1:]


def unbroken_length(word: Word, breaks: str) -> int:
    """How much of the word under the cursor stands before what readline takes for a word, which it will replace.

    breaks: bash's COMP_WORDBREAKS, which does not hold inside quotes.

    >>> unbroken_length(Word("mistral-small:24"), ' =:'), unbroken_length(Word("a:b", is_open=True), ' =:')
    (14, 0)
    """
    if word.is_open:
        return 0
    return max((word.text.rfind(character) + 1 for character in breaks if not character.isspace()), default=0)
