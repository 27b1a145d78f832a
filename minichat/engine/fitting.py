"""How to load a file on this machine: what its header tells, held against the memory that is free now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minichat.engine import binding, devices
from minichat.fit import Demand, Fit, Room, choose, parts_of
from minichat.machine import available_bytes
from minichat.memory import default_context, needed, shape_of_header
from quant.errors import GgufError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader
    from minichat.engine.types import LoadOptions

_MAX_NAME = 100  # characters of what a file calls itself


def fit_for(name: str, header: GgufHeader, options: LoadOptions) -> Fit | None:
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
    room = Room(ram - _of_the_draft(options) if ram is not None else None, tuple(devices.gpus(binding.load())))
    return choose(name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…", demand, options, room)


def _of_the_draft(options: LoadOptions) -> int:
    """What the model that guesses ahead takes; 0 where that cannot be told: whoever loads it says why."""
    from convert.gguf_file import read_header

    if options.draft is None:
        return 0
    try:
        header = read_header(Path(options.draft))
    except GgufError:
        return 0
    shape, weights_bytes = shape_of_header(header), sum(tensor.nbytes for tensor in header.tensors)
    need = needed(shape, weights_bytes, options.ctx or default_context(shape)) if shape is not None else None
    return need.total - need.process if need is not None else weights_bytes
