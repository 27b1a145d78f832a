"""An answer that a grammar allows: llama.cpp's GBNF, one token at a time.

A token is drawn by the ordinary samplers first, and that one is held against the grammar. Only if it is refused is the
grammar applied to all candidates, and drawn again from what is left: what a model that knows its task mostly says costs
next to nothing, and a token comes out as likely as if the grammar had been applied to all at once, but for top-k and
the like, which then count what is left.

What the grammar sees is text. Control tokens have none, so they are never allowed; the tokens that end an answer are
where the grammar is complete.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minichat.engine import binding
from minichat.engine.candidates import Candidates
from minichat.engine.grammar_check import ROOT, check
from minichat.engine.llama import Llama
from minichat.engine.types import Sampling
from minichat.engine.watchdog import watch
from minichat.tokenizer import Tokenizer
from quant.errors import GrammarError

_LONGEST_DRAW_S = 20.0
_NEAR = 1024  # candidates that are tried before all of them are


class Constrained:
    """Draws the tokens of one answer. samplers: the chain of `sampler.chain` for the resolved `sampling`."""

    def __init__(self, llama: Llama, tokenizer: Tokenizer, samplers: Any, sampling: Sampling, grammar: Any) -> None:
        self._c = c = binding.load()
        self._llama, self._tokenizer, self._samplers, self._grammar = llama, tokenizer, samplers, grammar
        self._characters = codecs.getincrementaldecoder("utf-8")("strict")
        self._candidates = Candidates(c, llama.vocabulary)
        self._misfits: set[int] = set()  # what cannot be drawn now, whatever the grammar says
        self._wordless = {token for token in tokenizer.wordless if not llama.ends(token)}
        self._at = -1
        self._enough = 1 if not sampling.temperature else sampling.top_k or llama.vocabulary

    def draw(self, at: int = -1) -> int | None:
        """The next token; None where the grammar is complete and the vocabulary has no token for the end.

        at: which id of the last batch it stands behind, as in `Llama.sample`.

        Raises GrammarError if the grammar asks for something that no token of the vocabulary begins. A grammar that is
        so ambiguous that llama.cpp follows ever more of its ways at once ends the process.
        """
        with watch("to find a token that the grammar allows", _LONGEST_DRAW_S):
            self._at = at
            token = self._draw()
            if token is not None:
                self._c.llama_sampler_accept(self._grammar, token)  # aborts on a token that is not allowed
        return token

    def _draw(self) -> int | None:
        token: int | None = self._llama.sample(self._samplers, self._at)
        if token is None or token in self._wordless or not self._allows(token) or not self._goes_on(token):
            self._misfits = {*self._wordless}
            token = self._draw_from_allowed()
            while token is not None and not self._goes_on(token):
                self._misfits.add(token)
                token = self._draw_from_allowed()
        return token

    def _allows(self, token: int) -> bool:
        self._candidates.only(token)
        self._c.llama_sampler_apply(self._grammar, self._candidates.pointer)
        return self._candidates.allowed() == 1

    def _goes_on(self, token: int) -> bool:
        """Whether the answer is UTF-8 with this token, whose bytes are then counted in; llama.cpp lets others pass."""
        before = self._characters.getstate()
        if self._llama.ends(token):
            return not before[0]  # not in the middle of a character
        try:
            self._characters.decode(self._tokenizer.token_bytes(token))
            is_sound = not b"\xed\xa0" <= self._characters.getstate()[0] < b"\xee"  # half a surrogate
        except UnicodeDecodeError:
            is_sound = False
        if not is_sound:
            self._characters.setstate(before)
        return is_sound

    def _draw_from_allowed(self) -> int | None:
        allowed = self._fill(_NEAR) if self._enough < _NEAR < self._llama.vocabulary else 0
        if allowed < self._enough:
            allowed = self._fill(None)
        if not allowed:
            if any(map(self._llama.ends, range(self._llama.vocabulary))):
                raise GrammarError("the grammar asks for a character that no token of the model's vocabulary begins")
            return None
        self._c.llama_sampler_apply(self._samplers, self._candidates.pointer)
        return self._candidates.selected()

    def _fill(self, best: int | None) -> int:
        """Makes what the grammar allows, of all tokens or of the `best` ones, the candidates; how many they are.

        Not more of them than the samplers look at: the rest only costs time.
        """
        self._candidates.fill(self._llama.logits(self._at), without=self._misfits)
        self._keep(best or self._llama.vocabulary)
        self._c.llama_sampler_apply(self._grammar, self._candidates.pointer)
        self._keep(self._enough)
        return self._candidates.allowed()

    def _keep(self, best: int) -> None:
        if best < self._candidates.size:
            with _freed(self._c, self._c.llama_sampler_init_top_k(best)) as top:
                self._c.llama_sampler_apply(top, self._candidates.pointer)


@contextmanager
def constrained(
    llama: Llama, tokenizer: Tokenizer, samplers: Any, sampling: Sampling, text: str
) -> Iterator[Constrained]:
    """What draws an answer of the grammar `text`; freed on leaving.

    Raises GrammarError for a text that llama.cpp does not take: it is parsed in a process of its own first, because
    some invalid ones take the process down.
    """
    text, start = _from_a_text_on(text) if tokenizer.begins_with_space else (text, ROOT)
    check(text, start)
    c = binding.load()
    grammar = c.llama_sampler_init_grammar(llama.vocab, text.encode(), start.encode())
    if not grammar:
        raise GrammarError("llama.cpp does not take the grammar")
    with _freed(c, grammar):
        yield Constrained(llama, tokenizer, samplers, sampling, grammar)


def _from_a_text_on(text: str) -> tuple[str, str]:
    """The grammar for a vocabulary that puts a space before each text, which is no part of it, and its first rule.

    >>> _from_a_text_on('root ::= "a"')
    ('root ::= "a"\\ntext ::= " " root\\n', 'text')
    """
    start = "text"
    while start in text:
        start += "-x"
    return f'{text}\n{start} ::= " " {ROOT}\n', start


@contextmanager
def _freed(c: Any, sampler: Any) -> Iterator[Any]:
    try:
        yield sampler
    finally:
        c.llama_sampler_free(sampler)
