"""A model that knows one text by heart: whatever it is asked, it says that text, and ends.

It is a Mistral like any other and runs like any other, but its layers add nothing, so that the next token depends on
the last one alone; and the last matrix has each token's successor where the token itself points. Every token of the
text is therefore one of a kind: a word that comes again is joined with what follows until nothing like it was before.

    "one two one two three"  ->  "one", " two", " one", " two three"
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import config, shapes_of, tekken, to_bf16, write_checkpoint

_SPECIAL, _END, _INST_END = 20, 2, 4  # control tokens; </s>; [/INST]
_WORD = re.compile(r"\s*\S+|\s+$")


def pieces(text: str) -> list[str]:
    """`text` in parts that are all different, and none of which is a single byte.

    >>> pieces("one two one two three")
    ['one', ' two', ' one', ' two three']
    """
    found: list[str] = []
    seen: set[str] = set()
    part = ""
    for word in _WORD.findall(text):
        part += word
        if part not in seen and len(part.encode()) > 1:
            found.append(part)
            seen.add(part)
            part = ""
    if part:  # what is left at the end is like something before: it joins the last one
        found[-1:] = [*found[-1:-1], found[-1] + part] if found else [part]
    return found


def write(folder: Path, text: str, hidden: int = 256, layers: int = 1) -> Path:
    """The model as a GGUF file beside a new folder of this name.

    More layers, or wider ones, make it slower and nothing else.
    """
    from convert.pipeline import convert

    tape = pieces(text)
    ranks = 256 + len(tape)
    vocabulary: dict[str, Any] = tekken(256, _SPECIAL)
    vocabulary["vocab"] += [
        {"rank": 256 + n, "token_bytes": base64.b64encode(piece.encode()).decode(), "token_str": piece}
        for n, piece in enumerate(tape)
    ]
    sizes = {"num_vocab_tokens": ranks, "default_vocab_size": ranks + _SPECIAL}
    vocabulary["config"] |= sizes
    shape = config(layers=layers, hidden=hidden, vocab=ranks + _SPECIAL, max_position_embeddings=32768)
    tensors = {name: np.zeros(size, np.uint16) for name, size in shapes_of(shape).items()}
    for name, values in tensors.items():
        if name.endswith("norm.weight"):
            values[:] = to_bf16(np.ones(values.shape, np.float32))
    points = np.random.default_rng(1).standard_normal((ranks + _SPECIAL, hidden), np.float32)
    tensors["model.embed_tokens.weight"] = to_bf16(points)
    first = _SPECIAL + 256
    says = [_INST_END, *range(first, first + len(tape))]
    head = np.zeros_like(points)
    head[[*says[1:], _END]] = points[says]
    tensors["lm_head.weight"] = to_bf16(head)
    write_checkpoint(folder, shape, tensors, tokenizer=vocabulary)
    file = folder.with_suffix(".gguf")
    convert(folder, file, "q8_0")
    return file
