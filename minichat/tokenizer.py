"""Pieces -> token ids, and token ids -> bytes, exactly as mistral-common makes them.

The vocabulary is read from a GGUF's header. Mistral's are of two kinds:

  Tekken         byte-level BPE, through tiktoken (see minichat.tekken): llama.cpp gets it wrong.
  SentencePiece  through llama.cpp, which gets it right: a function that calls it is handed to `load`.

Those of other families are minichat.other_tokenizer's.

A text is never searched for control tokens: their ids come from `Control` pieces only. A text that is no valid Unicode
is repaired as tiktoken does it: a pair of surrogates becomes its character, a lone one U+FFFD.

Loading costs a few hundredths of a second; what encodes is made when it is first needed. Never imports numpy or
llama_cpp, so the program's front can use it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from minichat.symbols import KNOWN, Symbols, absent_character
from minichat.tekken import Bpe
from minichat.template.pieces import Control, Image, Piece, Text
from quant.errors import GgufError, TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# tokenizer.ggml.token_type, as llama.cpp numbers them
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


class Header(Protocol):
    """What is needed of a GGUF's header; convert.gguf_file.GgufHeader has it."""

    @property
    def metadata(self) -> dict[str, Any]: ...


def load(
    header: Header,
    ids_of: Callable[[str], list[int]] | None = None,
    bytes_of: Callable[[int], bytes] | None = None,
    is_other: bool = False,
) -> Tokenizer:
    """The tokenizer for a GGUF's vocabulary.

    ids_of: text -> ids as llama.cpp makes them: no BOS, no search for control tokens, the vocabulary's own space before
        the text. Needed to encode text with any vocabulary but Tekken.
    bytes_of: id -> the bytes that llama.cpp makes of it. Needed for vocabularies of other families only.
    is_other: the model is of another family, though its vocabulary may be SentencePiece's.

    Raises GgufError for a file without a vocabulary and for one that contradicts itself.
    """
    model = header.metadata.get("tokenizer.ggml.model")
    if model == "gpt2" and header.metadata.get("tokenizer.ggml.pre") == "tekken":
        return TekkenTokenizer(header.metadata)
    if model == "llama" and not is_other:
        return SentencePieceTokenizer(header.metadata, ids_of)
    if model is None:
        raise GgufError("the file has no vocabulary (tokenizer.ggml.model): it is no language model")
    if not isinstance(model, str):
        raise GgufError(f"the file's vocabulary is damaged: it is of the kind {model!r:.40}")
    from minichat.other_tokenizer import OtherTokenizer

    return OtherTokenizer(header.metadata, ids_of, bytes_of)


class Tokenizer(ABC):
    """One vocabulary.

    controls: the ids of the control tokens by name, such as {"[INST]": 3}.
    bos, eos: the ids of `<s>` and `</s>`.
    begins_with_space: whether the vocabulary puts a space of its own before each text.
    n_vocab: the ids are 0 to n_vocab - 1.

    Methods raise GgufError for an id outside the vocabulary and for a control token that it lacks, TemplateError for a
    picture of which nobody knows the size.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        tokens = metadata.get("tokenizer.ggml.tokens")
        types = metadata.get("tokenizer.ggml.token_type")
        if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
            raise GgufError("the file's vocabulary is damaged: tokenizer.ggml.tokens is no list of strings")
        if not isinstance(types, list) or len(types) != len(tokens):
            raise GgufError("the file's vocabulary is damaged: tokenizer.ggml.token_type does not fit its tokens")
        self._tokens: list[str] = tokens
        self._types: list[int] = types
        self.n_vocab = len(tokens)
        self.controls: dict[str, int] = {token: i for i, token in enumerate(tokens) if types[i] == CONTROL}
        self.bos = self._special_id(metadata, "tokenizer.ggml.bos_token_id", default=1)
        self.eos = self._special_id(metadata, "tokenizer.ggml.eos_token_id", default=2)
        self.begins_with_space = False

    def _special_id(self, metadata: dict[str, Any], key: str, default: int) -> int:
        value = metadata.get(key, default)
        if type(value) is not int or not 0 <= value < self.n_vocab:
            raise GgufError(f"the file's vocabulary is damaged: {key} is none of its {self.n_vocab} tokens")
        return value

    def encode(self, pieces: Iterable[Piece]) -> list[int]:
        """The ids of a prompt. Each text is tokenized by itself, as mistral-common does it."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Control):
                ids.append(self._control(piece.name))
            elif isinstance(piece, Image):
                ids.extend(self._encode_image(piece))
            elif isinstance(piece, Text):
                ids.extend(self._encode_text(_well_formed(piece.text)) if piece.text else ())
            else:
                ids.extend(map(self._checked, piece.ids))
        return ids

    def _control(self, name: str) -> int:
        if name not in self.controls:
            raise GgufError(f"the model's vocabulary has no control token {name}: use another template")
        return self.controls[name]

    def _encode_image(self, image: Image) -> list[int]:
        if not image.columns or not image.rows:
            raise TemplateError(f"nobody has looked at the picture {image.source!r:.60}: its size is not known")
        row = [*[self._control("[IMG]")] * image.columns, self._control("[IMG_BREAK]")]
        return [*(row * image.rows)[:-1], self._control("[IMG_END]")]

    def _checked(self, token_id: int) -> int:
        if not 0 <= token_id < self.n_vocab:
            raise GgufError(f"token {token_id} is not in the model's vocabulary of {self.n_vocab}")
        return token_id

    def decode(self, ids: Iterable[int]) -> str:
        """The text of an answer, without its control tokens; bytes that are no UTF-8 become U+FFFD."""
        parts: list[bytes] = []
        first = True
        for token_id in ids:
            parts.append(self.answer_bytes(token_id, first))
            first = token_id in self.control_names
        return b"".join(parts).decode("utf-8", errors="replace")

    def answer_bytes(self, token_id: int, first: bool) -> bytes:
        """`token_bytes` for showing an answer. first: nothing, or a control token, came right before it.

        A text begins with a space in a SentencePiece vocabulary, which is no part of it: its first token loses it.
        """
        del first
        return self.token_bytes(token_id)

    @cached_property
    def control_names(self) -> dict[int, str]:
        """The names of the control tokens by id, such as {3: "[INST]"}."""
        return {token_id: name for name, token_id in self.controls.items()}

    @cached_property
    def wordless(self) -> frozenset[int]:
        """The ids that stand for nothing that can be written: control tokens, and what is not known."""
        unknown = (token_id for token_id, kind in enumerate(self._types) if kind in (UNKNOWN, CONTROL))
        return frozenset((*unknown, *self.controls.values()))

    @abstractmethod
    def _encode_text(self, text: str) -> list[int]:
        """The ids of a text that is not empty and valid Unicode."""

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """What the token adds to a text; b"" for a control token. May be a part of a character's UTF-8."""

    @abstractmethod
    def text(self, ids: Sequence[int]) -> str:
        """A prompt with its control tokens by name, equal to `.text` of mistral-common's encoded requests.

        A form for people: a `[INST]` that somebody typed looks the same as the control token.
        """

    def warm_up(self) -> None:  # noqa: B027  (some have nothing to make)
        """Makes now what the first `encode` would make; may run while the model is being loaded."""


class TekkenTokenizer(Tokenizer):
    """Tekken: first control tokens (1,000 in Mistral's own), then the 256 single bytes, then merged ones by rank."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        super().__init__(metadata)
        begin = next((i for i, kind in enumerate(self._types) if kind == NORMAL), self.n_vocab)
        end = next((i for i in range(begin, self.n_vocab) if self._types[i] != NORMAL), self.n_vocab)
        if NORMAL in self._types[end:]:
            raise GgufError("the file's vocabulary is damaged: a control token stands among Tekken's ordinary ones")
        self._ordinary = range(begin, end)
        self.controls = {token: i for i, token in enumerate(self._tokens) if i not in self._ordinary}
        self._bpe = Bpe(self._tokens[begin:end])

    def warm_up(self) -> None:
        self._bpe.encode("a")

    def _encode_text(self, text: str) -> list[int]:
        return [self._ordinary[rank] for rank in self._bpe.encode(text)]

    def token_bytes(self, token_id: int) -> bytes:
        if self._checked(token_id) not in self._ordinary:
            return b""
        return self._bpe.token_bytes[token_id - self._ordinary.start]

    def text(self, ids: Sequence[int]) -> str:
        parts: list[str] = []
        for is_ordinary, group in groupby(map(self._checked, ids), key=lambda token_id: token_id in self._ordinary):
            if is_ordinary:
                parts.append(b"".join(map(self.token_bytes, group)).decode("utf-8", errors="replace"))
            else:
                parts.extend(self._tokens[token_id] for token_id in group)
        return "".join(parts)


class SentencePieceTokenizer(Tokenizer):
    """SentencePiece: ▁ stands for a space; 256 tokens <0x00> to <0xFF> stand for what has no token of its own."""

    def __init__(self, metadata: dict[str, Any], sentencepiece: Callable[[str], list[int]] | None) -> None:
        super().__init__(metadata)
        self._sentencepiece = sentencepiece
        kinds = zip(self._tokens, self._types, strict=True)
        symbols = {token: i for i, (token, kind) in enumerate(kinds) if kind == USER_DEFINED and KNOWN.fullmatch(token)}
        self._symbols: Symbols | None = None
        if symbols and sentencepiece is not None:
            self._symbols = Symbols(symbols, sentencepiece, absent_character(self._tokens))
        self.begins_with_space = True
        for token, kind in zip(self._tokens, self._types, strict=True):
            if kind == BYTE and not re.fullmatch("<0x[0-9A-F]{2}>", token):
                raise GgufError(f"the file's vocabulary is damaged: {token!r:.40} is no name of a byte, like <0x0A>")

    def _encode_text(self, text: str) -> list[int]:
        if self._sentencepiece is None:
            raise GgufError("a SentencePiece vocabulary encodes text in the engine only")
        return self._symbols.encode(text) if self._symbols else self._sentencepiece(text)

    def token_bytes(self, token_id: int) -> bytes:
        kind, token = self._types[self._checked(token_id)], self._tokens[token_id]
        if kind == CONTROL:
            return b""
        if kind == BYTE:
            return bytes.fromhex(token[3:5])
        return (" \u2047 " if kind == UNKNOWN else token.replace("▁", " ")).encode("utf-8", errors="replace")

    def answer_bytes(self, token_id: int, first: bool) -> bytes:
        token = self.token_bytes(token_id)
        return token[1:] if first and self._types[token_id] == NORMAL and token.startswith(b" ") else token

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self._tokens[self._checked(token_id)] for token_id in ids)


def _well_formed(text: str) -> str:
    """The text without surrogates: pairs joined, lone ones as U+FFFD. Most texts have none.

    >>> _well_formed("a\\ud83d\\ude00b\\ud800") == "a\\U0001f600b\\ufffd"
    True
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
