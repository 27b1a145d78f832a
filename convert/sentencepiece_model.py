"""A SentencePiece model file as a GGUF vocabulary.

The file is a protocol buffer, and of its hundred fields these count:

    1 pieces (each)    1 the piece, 2 its score (float32), 3 its type
    2 trainer          3 the kind of model (2 is byte pairs), 40 to 43 the ids of <unk>, <s>, </s> and <pad>
    3 normalizer       3 whether a space is put before the text, 4 whether double spaces are removed
"""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from convert.vocab import TokenType, Vocabulary
from quant.errors import CheckpointError

_MAX_FILE_BYTES = 64 << 20
_BYTE_PAIRS = 2
_NO_PAD = 0xFFFFFFFFFFFFFFFF  # -1


class _DamagedError(Exception):
    pass


def load(path: Path) -> Vocabulary:
    """The vocabulary of a SentencePiece model. CheckpointError, naming the file, if it is not sound."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is too large for a SentencePiece model")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return _vocabulary(path, data)
    except (_DamagedError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is no SentencePiece model, or is damaged: fetch it again") from error


def _vocabulary(path: Path, data: bytes) -> Vocabulary:
    tokens: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(_bytes(value)))
            tokens.append(_bytes(piece.get(1, b"")).decode())
            scores.append(struct.unpack("<f", _bytes(piece.get(2, bytes(4))))[0])
            types.append(_int(piece.get(3, TokenType.NORMAL)))
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer = dict(_fields(_bytes(value)))
    if not tokens or any(not 1 <= kind <= len(TokenType) for kind in types) or not all(map(math.isfinite, scores)):
        raise _DamagedError
    if _int(trainer.get(3, 1)) != _BYTE_PAIRS:
        raise CheckpointError(f"{path} is a SentencePiece model of another kind than byte pairs")
    if _int(normalizer.get(4, 1)):
        raise CheckpointError(f"{path} removes spaces from texts, as no tokenizer of Mistral's does")
    unknown, bos, eos = (_int(trainer.get(40 + n, n)) for n in range(3))
    pad = _int(trainer.get(43, _NO_PAD))
    if max(unknown, bos, eos) >= len(tokens):
        raise _DamagedError
    return Vocabulary(
        model="llama",
        tokens=tokens,
        types=types,
        scores=scores,
        unknown=unknown,
        bos=bos,
        eos=eos,
        pad=pad if pad < len(tokens) else None,
        template=_template(path, {t for t, kind in zip(tokens, types, strict=True) if kind == TokenType.CONTROL}),
        space_prefix=bool(_int(normalizer.get(3, 1))),
    )


def _template(path: Path, controls: set[str]) -> str:
    """The version in the file's name (tokenizer.model.v3), else what its control pieces can express.

    A version that minichat does not know is recorded as it is named, and refused by that name when it is run.
    """
    named = re.search(r"\.model\.(v\d+)(m\d+)?$", path.name)
    if named:
        return named[1]
    if "[SYSTEM_PROMPT]" in controls:
        return "v7"
    if "[AVAILABLE_TOOLS]" in controls:
        return "v3" if "[PREFIX]" in controls else "v2"
    return "v1"


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffer's message; 4- and 8-byte values stay bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _DamagedError
        if place + size > len(data):
            raise _DamagedError
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _DamagedError


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise _DamagedError
    return value


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _DamagedError
    return value
