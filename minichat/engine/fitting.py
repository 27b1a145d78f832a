"""How to load a file on this machine: what its header tells, held against the memory that is free now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minichat.engine import binding, devices
from minichat.fit import Demand, Fit, Room, Sight, choose, choose_with_draft, choose_with_sight, parts_of
from minichat.machine import available_bytes
from minichat.memory import shape_of_header
from quant.errors import GgufError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader
    from minichat.engine.eyesight import SoundProjector
    from minichat.engine.types import LoadOptions

_LEAST_TOKENS = 256  # of a picture that something can be seen on
_MAX_NAME = 100  # characters of what a file calls itself


def fit_for(name: str, header: GgufHeader, options: LoadOptions, projector: SoundProjector | None = None) -> Fit | None:
    """None for a file whose header does not tell enough. FitError, with the numbers, for one that there is no room for.

    name: what the error calls the model.
    """
    shape = None if options.vocab_only else shape_of_header(header)
    if shape is None or shape.n_layers > len(header.tensors):
        return None
    demand = Demand(
        shape,
        parts_of(header, shape.n_layers),
        cache_type=options.cache_type,
        flash=options.flash_attention != "off",
    )
    ram = available_bytes()
    room = Room(ram, tuple(devices.gpus(binding.load())))
    name = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    draft = _draft(options)
    if projector is not None:
        sizes = (projector.buffer_bytes(tokens) for tokens in (projector.told.max_tokens, _LEAST_TOKENS))
        return choose_with_sight(name, demand, options, room, Sight(projector.weight_bytes, *sizes), draft)
    return (
        choose(name, demand, options, room) if draft is None else choose_with_draft(name, demand, options, room, draft)
    )


def _draft(options: LoadOptions) -> Demand | None:
    """What the model that guesses ahead takes; None where that cannot be told: whoever loads it says why."""
    from convert.gguf_file import read_header

    if options.draft is None or not options.speculation:
        return None
    try:
        header = read_header(Path(options.draft))
    except GgufError:
        return None
    shape = shape_of_header(header)
    if shape is None or shape.n_layers > len(header.tensors):
        return None
    return Demand(shape, parts_of(header, shape.n_layers))
