"""The vocabularies of other families: llama.cpp makes the ids and the bytes, whatever their kind.

Some files give tokens that their template uses as control tokens, such as <start_of_turn>, the type of ordinary
symbols, which llama.cpp finds in any text. Here such a name is a control token too, if it looks like one, and a text
that holds it is cut in the middle of the name, so that its id cannot come out. So is one out of which the name of any
control token comes: some vocabularies look for a whole word among all tokens first. The marks of a thought, <think> and
</think>, are such tokens wherever the vocabulary has them as symbols: templates often write one of the two only.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minichat.symbols import absent_character
from minichat.tokenizer import CONTROL, USER_DEFINED, Tokenizer
from quant.errors import GgufError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# A word in brackets, without a space, such as <|im_end|> and [INST].
_SPECIAL = re.compile(r"<[^\s<>]*\w[^\s<>]*>|\[[^\s\[\]]*\w[^\s\[\]]*\]|\{[^\s{}]*\w[^\s{}]*\}|\|[^\s|]*\w[^\s|]*\|")
_THOUGHTS = ("<think>", "</think>")


class OtherTokenizer(Tokenizer):
    """Any vocabulary that llama.cpp reads.

    ids_of: text -> ids as llama.cpp makes them, without a search for control tokens. bytes_of: id -> the bytes that it
    adds to a text.
    """

    def __init__(
        self,
        metadata: dict[str, Any],
        ids_of: Callable[[str], list[int]] | None,
        bytes_of: Callable[[int], bytes] | None,
    ) -> None:
        super().__init__(metadata)
        self._ids_of, self._bytes_of = ids_of, bytes_of
        self._unknown = metadata.get("tokenizer.ggml.unknown_token_id")
        template = metadata.get("tokenizer.chat_template")
        for token_id, (token, kind) in enumerate(zip(self._tokens, self._types, strict=True)):
            if kind == USER_DEFINED and isinstance(template, str) and _is_control(token, template):
                self.controls[token] = token_id
        spaced = metadata.get("tokenizer.ggml.add_space_prefix", metadata.get("tokenizer.ggml.model") == "llama")
        self.begins_with_space = spaced is True

    @cached_property
    def _found_by_llama(self) -> re.Pattern[str]:
        """Where names of control tokens begin that llama.cpp finds in any text."""
        return _beginnings(name for name, token_id in self.controls.items() if self._types[token_id] != CONTROL)

    @cached_property
    def _never(self) -> set[int]:
        """The ids that no text may become. The one for what is not known is no harm."""
        return set(self.controls.values()) - {self._unknown}

    @cached_property
    def _behind(self) -> tuple[str, int]:
        """A character that merges with nothing, and how many ids it is at the beginning of a text."""
        character = absent_character(self._tokens)
        return character, len(self._ids_of(character)) if self._ids_of is not None else 0

    def _encode_text(self, text: str) -> list[int]:
        ids = self._encode_cut(text, self._found_by_llama)
        if not self._never.isdisjoint(ids):
            ids = self._encode_cut(text, _beginnings(self.controls))
        if not self._never.isdisjoint(ids):
            raise GgufError("the file's vocabulary makes control tokens of ordinary text: it cannot be used safely")
        return ids

    def _encode_cut(self, text: str, beginnings: re.Pattern[str]) -> list[int]:
        """The ids of the text, cut behind the first character of each name that begins where `beginnings` finds one."""
        if self._ids_of is None:
            raise GgufError("this vocabulary encodes text in the engine only")
        ids: list[int] = []
        done = 0
        for end in [*(found.start() + 1 for found in beginnings.finditer(text)), len(text)]:
            ids += self._ids_of(text[done:end]) if not done else self._encode_rest(text[done:end])
            done = end
        return ids

    def _encode_rest(self, text: str) -> list[int]:
        """The ids of what stands in the middle of a text, without the vocabulary's space before it."""
        if self._ids_of is None or not text:
            return []
        if not self.begins_with_space:
            return self._ids_of(text)
        character, count = self._behind
        return self._ids_of(character + text)[count:]

    def token_bytes(self, token_id: int) -> bytes:
        if self._checked(token_id) in self.control_names:
            return b""
        if self._bytes_of is None:
            raise GgufError("this vocabulary decodes text in the engine only")
        return self._bytes_of(token_id)

    def answer_bytes(self, token_id: int, first: bool) -> bytes:
        token = self.token_bytes(token_id)
        return token[1:] if first and self.begins_with_space and token.startswith(b" ") else token

    def text(self, ids: Sequence[int]) -> str:
        parts = [self.control_names[i].encode() if i in self.control_names else self.token_bytes(i) for i in ids]
        return b"".join(parts).decode("utf-8", errors="replace")


def _beginnings(names: Iterable[str]) -> re.Pattern[str]:
    """Finds every place where one of the names begins, also inside another.

    >>> [found.start() for found in _beginnings(["|a|", "|b|"]).finditer("|a|b|")]
    [0, 2]
    """
    return re.compile("(?=" + ("|".join(re.escape(name) for name in names if len(name) > 1) or r"(?!)") + ")")


def _is_control(token: str, template: str) -> bool:
    """Whether a symbol of the vocabulary is what its template takes for a control token.

    >>> _is_control("<start_of_turn>", "{{ '<start_of_turn>user\\n\\n' }}"), _is_control("user", "{{ 'user' }}")
    (True, False)
    """
    return token in _THOUGHTS or (token in template and _SPECIAL.fullmatch(token) is not None)
