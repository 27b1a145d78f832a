"""Whether a projector belongs to a model, which its header does not tell: both hold the embedding of [IMG_BREAK].

The projector's is a copy of the model's, as that was before it was quantized or trained further; those two point the
same way. Embeddings of two models have nothing in common: among thousands of dimensions they are at right angles.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.projectors import for_pictures
from quant.errors import DataError, QuantError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convert.gguf_file import GgufHeader
    from minichat.engine.eyesight import SoundProjector

_MARK, _EMBEDDINGS = "[IMG_BREAK]", "token_embd.weight"
_LEAST = 0.5  # cosine: of a copy at 4 bits over 0.99, of two models in 64 dimensions less than this but once in 10,000


def check_kin(projector: SoundProjector, model: Path, header: GgufHeader, tokens: Mapping[str, int], name: str) -> None:
    """DataError if the projector was made for another model than the one in this file, as far as that can be told.

    tokens: the ids of the model's control tokens. name: the model's.
    """
    likeness = _likeness(projector.row_end, model, header, tokens.get(_MARK))
    if likeness is not None and likeness < _LEAST:
        with for_pictures(name):
            raise DataError(
                f"{projector.path} belongs to another model (the likeness of their {_MARK} is {likeness:.2f} of 1)"
            )


def _likeness(row_end: bytes, model: Path, header: GgufHeader, token: int | None) -> float | None:
    """The cosine between a row of float32 and the model's embedding of the token; None where nothing can be said."""
    import numpy as np

    from quant.kernels import dequantize

    found = next((tensor for tensor in header.tensors if tensor.name == _EMBEDDINGS), None)
    if found is None or token is None or token >= found.shape[0]:
        return None
    ours = np.frombuffer(row_end, np.float32).astype(np.float64)
    row_bytes = found.kind.nbytes(found.shape[1])
    try:
        with model.open("rb") as file:
            file.seek(header.data_offset + found.offset + token * row_bytes)
            row = np.frombuffer(file.read(row_bytes), np.uint8)
        theirs = dequantize(row, found.kind).astype(np.float64)
    except (OSError, QuantError):  # the file is gone since; or of a type that ggml only computes with
        return None
    if theirs.size != ours.size:
        return None
    length = math.sqrt(float(ours @ ours) * float(theirs @ theirs))
    return float(ours @ theirs) / length if length > 0 and math.isfinite(length) else None
