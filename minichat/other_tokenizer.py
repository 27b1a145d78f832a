"""The vocabularies of other families: llama.cpp makes the ids and the bytes, whatever their kind.

Some files give tokens that their template uses as control tokens, such as <start_of_turn>, the type of ordinary
symbols, which llama.cpp finds in any text. Here such a name is a control token too, if it looks like one, and a text
that holds it is cut in the middle of the name, so that its id cannot come out. The marks of a thought, <think> and
</think>, are such tokens wherever the vocabulary has them as symbols: templates often write one of the two only.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minichat.tokenizer import CONTROL, USER_DEFINED, Tokenizer
from quant.errors import GgufError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
        template = metadata.get("tokenizer.chat_template")
        for token_id, (token, kind) in enumerate(zip(self._tokens, self._types, strict=True)):
            if kind == USER_DEFINED and isinstance(template, str) and _is_control(token, template):
                self.controls[token] = token_id
        spaced = metadata.get("tokenizer.ggml.add_space_prefix", metadata.get("tokenizer.ggml.model") == "llama")
        self.begins_with_space = spaced is True

    @cached_property
    def _hidden(self) -> re.Pattern[str] | None:
        """Finds the names of control tokens that llama.cpp would find in a text."""
        names = [name for name, token_id in self.controls.items() if self._types[token_id] != CONTROL]
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True)))) if names else None

    def _encode_text(self, text: str) -> list[int]:
        if self._ids_of is None:
            raise GgufError("this vocabulary encodes text in the engine only")
        if self._hidden is None:
            return self._ids_of(text)
        ids: list[int] = []
        done = 0
        for found in self._hidden.finditer(text):
            ids += self._ids_of(text[done : found.start() + 1])
            done = found.start() + 1
        return ids + self._ids_of(text[done:])

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


def _is_control(token: str, template: str) -> bool:
    """Whether a symbol of the vocabulary is what its template takes for a control token.

    >>> _is_control("<start_of_turn>", "{{ '<start_of_turn>user\\n\\n' }}"), _is_control("user", "{{ 'user' }}")
    (True, False)
    """
    return token in _THOUGHTS or (token in template and _SPECIAL.fullmatch(token) is not None)
