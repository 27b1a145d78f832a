"""A smaller model of the same vocabulary that guesses at the next tokens of a larger one.

It reads the same text into a context of its own and takes its likeliest token each time. What it says decides nothing:
`speculation` holds it against what the larger model's sampler draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.engine import sampler
from minichat.engine.llama import BATCH, DEFAULT_CTX, Llama
from minichat.engine.snapshots import common
from minichat.engine.types import LoadOptions, Sampling
from quant.errors import GgufError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader

_ALL_LAYERS = -1  # for llama.cpp
_SAME = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")


class Draft:
    """The guesses of one loaded model; its process keeps it until the end."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._kept = ExitStack()  # as long as it lives, so does the chain
        self._samplers = self._kept.enter_context(sampler.chain(Sampling(temperature=0.0)))

    def guess(self, text: Sequence[int], limit: int) -> list[int]:
        """At most `limit` likely tokens behind `text`; none once `abort()` was called or its context is full."""
        llama = self._llama
        if len(text) + limit > llama.ctx:
            return []
        llama.cut_back(min(common(llama.cached, text), len(text) - 1))
        while len(llama.cached) < len(text):
            done = len(llama.cached)
            if not llama.decode(text[done : done + BATCH]):
                return []
        guessed = [llama.sample(self._samplers)]
        while len(guessed) < limit and not llama.ends(guessed[-1]) and llama.decode(guessed[-1:]):
            guessed.append(llama.sample(self._samplers))
        return guessed[:limit]

    def abort(self, on: bool) -> None:
        """As in `Llama`."""
        self._llama.abort(on)


def open_draft(path: Path, options: LoadOptions, target: GgufHeader, on_gpu: bool = False) -> Draft:
    """The draft model for the model of this header. on_gpu: with all of its layers there; else it has none there.

    Raises GgufError for a file that is none, or whose vocabulary is another.
    """
    from minichat.engine.soundness import read_sound_header

    header = read_sound_header(path)
    ours, theirs = target.metadata, header.metadata
    if any(ours.get(key) != theirs.get(key) for key in _SAME):
        sizes = [len(metadata.get(_SAME[0]) or ()) for metadata in (theirs, ours)]
        told = f": {sizes[0]:,} tokens, not {sizes[1]:,}" if sizes[0] != sizes[1] else ""
        raise GgufError(
            f"{path} cannot draft for this model, its vocabulary is another{told}; take a model of the same family"
        )
    trained = theirs.get(f"{theirs.get('general.architecture')}.context_length")
    ctx = min(options.ctx or DEFAULT_CTX, trained if isinstance(trained, int) and trained > 0 else DEFAULT_CTX)
    layers = _ALL_LAYERS if on_gpu else 0
    llama = Llama(path, LoadOptions(ctx=ctx, threads=options.threads, device=options.device, gpu_layers=layers))
    if not llama.can_take_back:
        raise GgufError(f"{path} cannot draft: what it has read cannot be taken back; take a model of another kind")
    return Draft(llama)
