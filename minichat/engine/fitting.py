"""How to load a file on this machine: what its header tells, held against the memory that is free now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minichat.engine import binding, devices
from minichat.fit import Demand, Fit, Room, choose, parts_of
from minichat.machine import available_bytes
from minichat.memory import shape_of_header

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader
    from minichat.engine.types import LoadOptions


def fit_for(name: str, header: GgufHeader, options: LoadOptions) -> Fit | None:
    """None for a file whose header does not tell enough. FitError, with the numbers, for one that there is no room for.

    name: what the error calls the model.
    """
    shape = None if options.vocab_only else shape_of_header(header)
    if shape is None:
        return None
    demand = Demand(
        shape,
        parts_of(header, shape.n_layers),
        cache_type=options.cache_type,
        flash=options.flash_attention != "off",
    )
    return choose(name, demand, options, Room(available_bytes(), tuple(devices.gpus(binding.load()))))
