"""Whether a model fits into memory: how much of it goes onto the GPUs, and how long its context may be. Pure.

`minichat.memory` tells what a model takes; here that is laid out over the places that llama.cpp uses:

    layers       the last `gpu_layers` of the model's n + 1, the output counting as the last one, are on the GPUs with
                 their part of the KV cache; the others, and the table of the input, are in RAM
    buffers      those of the graph wherever a layer is; the process itself, with the vocabulary, in RAM
    unified      a device that has no memory of its own takes from RAM what it takes

What is chosen leaves a margin for others. What is asked for needs none: it is refused only where it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minichat.engine.llama import DEFAULT_CTX, START_CTX
from minichat.engine.types import CacheType, LoadOptions
from minichat.memory import Shape, compute_bytes, kv_cache_bytes, process_bytes, touched_bytes
from minichat.terminal.units import format_bytes
from quant.errors import FitError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader

_LEAST_CTX = 512  # a chat in less is none
_MARGIN, _MOST_MARGIN = 0.05, 0.1  # of what is free; more than the first where that is less than:
_MARGIN_BYTES = 256_000_000
_STEP = 256
_LEAST_FILE_BYTES = 1_000_000
_CACHE_TYPES: tuple[CacheType, ...] = ("f16", "q8_0", "q4_0")


@dataclass(frozen=True)
class Device:
    """A GPU. free_bytes: of its memory. is_unified: whether that is a part of RAM."""

    name: str
    free_bytes: int
    is_unified: bool = False


@dataclass(frozen=True)
class Room:
    """What is free, in bytes; ram None where that is not known."""

    ram: int | None
    devices: tuple[Device, ...] = ()

    @property
    def on_devices(self) -> int:
        return sum(device.free_bytes for device in self.devices)


@dataclass(frozen=True)
class Parts:
    """Bytes of a file's tensors: before the layers, of each layer, behind them."""

    head: int
    layers: tuple[int, ...]
    tail: int

    @property
    def total(self) -> int:
        return self.head + sum(self.layers) + self.tail


@dataclass(frozen=True)
class Taken:
    """Bytes that a loaded model takes in RAM and on the GPUs."""

    ram: int
    devices: int


@dataclass(frozen=True)
class Demand:
    """What decides how much a model takes, but for its context."""

    shape: Shape
    parts: Parts
    gpu_layers: int = 0
    cache_type: CacheType = "f16"
    flash: bool = True

    def at(self, ctx: int, at_least: bool = False) -> Taken:
        """The bytes with a context of `ctx` tokens.

        at_least: without the KV cache of a graph that is not known, which may take less than is thought, or have none.
        """
        n = len(self.parts.layers)
        offloaded = max(0, min(self.gpu_layers, n + 1) - 1)  # layers without the output
        cache = 0 if at_least and not self.shape.is_exact else self.cache(ctx)
        on_gpu = cache * offloaded // n if n else 0
        touched, process = touched_bytes(self.shape, ctx, self.flash), process_bytes(self.shape)
        if self.gpu_layers == 0:
            return Taken(self.parts.total + cache + touched + process, 0)
        compute = compute_bytes(self.shape, ctx, self.flash)
        weights = sum(self.parts.layers[n - offloaded :]) + self.parts.tail
        rest = self.parts.total - weights
        return Taken(
            rest + cache - on_gpu + (touched if offloaded < n else compute // 8) + process,
            weights + on_gpu + compute,
        )

    def cache(self, ctx: int) -> int:
        """The bytes of the KV cache alone."""
        return kv_cache_bytes(self.shape, ctx, self.cache_type)

    def fits(self, ctx: int, room: Room, margin: bool = False) -> bool:
        """Whether all of it finds room. margin: for certain, and with something left for others."""
        taken = self.at(ctx, at_least=not margin)
        ram = taken.ram + (taken.devices if any(device.is_unified for device in room.devices) else 0)
        if room.ram is not None and ram > _left(room.ram, margin):
            return False
        return taken.devices <= sum(_left(device.free_bytes, margin) for device in room.devices)


@dataclass(frozen=True)
class Fit:
    """How to load a model. start: the context to open, in tokens; most: what it may grow to. demand: None where the
    header does not tell. note: what had to give way, in one line; "" if nothing had to. draft_on_gpu: whether the model
    that guesses ahead is on the GPUs; projector_on_gpu: the one that pictures are read with."""

    start: int
    most: int
    gpu_layers: int
    demand: Demand | None = None
    note: str = ""
    draft_on_gpu: bool = False
    projector_on_gpu: bool = False


def choose(name: str, demand: Demand, options: LoadOptions, room: Room) -> Fit:
    """How to load a model as `options` ask, in the room that there is. FitError, with the numbers, if it cannot be.

    >>> small3 = Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768, n_heads=32)
    >>> demand = Demand(small3, Parts(378_000_000, (335_000_000,) * 40, 550_000_000))
    >>> fit = choose("small3", demand, LoadOptions(), Room(24_000_000_000))
    >>> fit.start, fit.most, fit.note
    (2048, 32768, '')
    >>> choose("small3", demand, LoadOptions(), Room(18_000_000_000)).note
    'a context of 14,080 tokens fits into the 18.0 GB that are free; the model was trained for 32,768'
    >>> choose("small3", demand, LoadOptions(), Room(64_000_000_000, (Device("GPU", 12_000_000_000),))).gpu_layers
    29
    """
    shape = demand.shape
    if options.ctx is not None and 0 < shape.context_length < options.ctx:
        return Fit(options.ctx, options.ctx, options.gpu_layers or 0, demand)  # refused for another reason
    demand = replace(demand, gpu_layers=_layers(demand, options, room))
    trained = shape.context_length or DEFAULT_CTX
    if room.ram is None and not room.devices:
        most = options.ctx or min(trained, DEFAULT_CTX)
        return Fit(options.ctx or min(most, START_CTX), most, demand.gpu_layers, demand)
    if options.ctx is not None:
        if not demand.fits(options.ctx, room):
            raise FitError(_refusal(name, demand, options, room))
        return Fit(options.ctx, options.ctx, demand.gpu_layers, demand, _note(demand, options, room, None))
    least = min(trained, _LEAST_CTX)
    if not demand.fits(least, room):
        raise FitError(_refusal(name, demand, options, room))
    most = max(longest(demand, room, trained), least)
    note = _note(demand, options, room, most if most < trained else None)
    return Fit(min(most, START_CTX), most, demand.gpu_layers, demand, note)


def choose_with_draft(name: str, demand: Demand, options: LoadOptions, room: Room, draft: Demand) -> Fit:
    """As `choose`, with a second model beside it: all on the GPUs if all of the first one is there, too; else in RAM.

    >>> large = Demand(Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768), Parts(0, (335_000_000,) * 40, 0))
    >>> small = Demand(Shape(20, 2048, 8192, 2 * 8 * 128, 131072, 32768), Parts(0, (50_000_000,) * 20, 0))
    >>> rooms = [Room(64_000_000_000, (Device("GPU", free),)) for free in (24_000_000_000, 12_000_000_000)]
    >>> [choose_with_draft("large", large, LoadOptions(), room, small).draft_on_gpu for room in rooms]
    [True, False]
    """
    ctx = min(options.ctx or DEFAULT_CTX, draft.shape.context_length or DEFAULT_CTX)
    if room.devices and options.device != "cpu":
        offloaded = replace(draft, gpu_layers=len(draft.parts.layers) + 1)
        try:
            fit = choose(name, demand, options, _without(room, offloaded, ctx))
        except FitError:  # in RAM it may go
            fit = None
        if fit is not None and fit.gpu_layers > len(demand.parts.layers):
            return replace(fit, draft_on_gpu=True)
    return choose(name, demand, options, _without(room, replace(draft, gpu_layers=0), ctx))


@dataclass(frozen=True)
class Sight:
    """What reading pictures takes besides a model, in bytes: the projector's weights, and the buffers for the largest
    picture; for the least that is worth it."""

    weights: int
    largest: int
    least: int


def choose_with_sight(
    name: str, demand: Demand, options: LoadOptions, room: Room, sight: Sight, draft: Demand | None = None
) -> Fit:
    """As `choose`, with a projector beside it: on the GPU if all of the model is there, too; else in RAM.

    Room is left for the largest picture, or for the least one, where a context of common length is left beside it. A
    chat about texts is never refused for a projector's sake: what is free when a picture comes decides whether it is
    read, and how large.

    >>> model = Demand(Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768), Parts(0, (335_000_000,) * 40, 0))
    >>> sight = Sight(880_000_000, 900_000_000, 100_000_000)
    >>> rooms = [Room(64_000_000_000, (Device("GPU", free),)) for free in (24_000_000_000, 14_000_000_000)]
    >>> [choose_with_sight("model", model, LoadOptions(), room, sight).projector_on_gpu for room in rooms]
    [True, False]
    """

    def chosen(left: Room) -> Fit:
        if draft is None:
            return choose(name, demand, options, left)
        return choose_with_draft(name, demand, options, left, draft)

    largest, least = sight.weights + sight.largest, sight.weights + sight.least
    with suppress(FitError):
        if room.devices and options.device != "cpu":
            fit = chosen(_less(room, 0, largest))
            if fit.gpu_layers > len(demand.parts.layers):
                return replace(fit, projector_on_gpu=True)
    common = min(options.ctx or demand.shape.context_length or DEFAULT_CTX, DEFAULT_CTX)
    for taken in (largest, least):
        with suppress(FitError):
            fit = chosen(_less(room, taken, 0))
            if fit.most >= common:
                return fit
    return chosen(room)


def _without(room: Room, draft: Demand, ctx: int) -> Room:
    """What is left beside a draft model. Its process is the one of the other model."""
    taken = draft.at(ctx)
    in_ram = taken.ram - process_bytes(draft.shape) // 2  # llama.cpp has its vocabulary once more
    return _less(room, in_ram, taken.devices)


def _less(room: Room, in_ram: int, on_devices: int) -> Room:
    """What is left once so many bytes are taken."""
    devices = []
    for device in room.devices:
        part = min(device.free_bytes, on_devices)
        on_devices -= part
        in_ram += part if device.is_unified else 0
        devices.append(replace(device, free_bytes=device.free_bytes - part))
    if on_devices:
        devices = [replace(device, free_bytes=0) for device in devices]
    return Room(None if room.ram is None else max(0, room.ram - in_ram), tuple(devices))


def longest(demand: Demand, room: Room, trained: int, margin: bool = True) -> int:
    """The longest context that fits, up to what the model was trained for; 0 if none does."""
    if demand.fits(trained, room, margin):
        return trained
    steps = last(trained // _STEP, lambda n: demand.fits(n * _STEP, room, margin))
    return steps * _STEP


def parts_of(header: GgufHeader, n_layers: int) -> Parts:
    """The bytes of a file's tensors by where they are. A table that input and output share goes with the output."""
    head, tail, layers = 0, 0, [0] * n_layers
    has_output, table = False, 0
    for tensor in header.tensors:
        part, _, rest = tensor.name.partition(".")
        number = rest.partition(".")[0]
        if part == "blk" and number.isascii() and number.isdigit() and len(number) < 6 and int(number) < n_layers:
            layers[int(number)] += tensor.nbytes
        elif part.startswith("output"):
            tail += tensor.nbytes
            has_output = has_output or part == "output"
        else:
            head += tensor.nbytes
            table += tensor.nbytes if part == "token_embd" else 0
    return Parts(head - (0 if has_output else table), tuple(layers), tail + (0 if has_output else table))


def _layers(demand: Demand, options: LoadOptions, room: Room) -> int:
    """How many layers go onto the GPUs: as many as asked for, else as fit with a context of common length."""
    n = len(demand.parts.layers) + 1
    if not room.devices or options.device == "cpu":
        return 0
    if options.gpu_layers is not None:
        return min(options.gpu_layers, n)
    ctx = options.ctx or min(demand.shape.context_length or DEFAULT_CTX, DEFAULT_CTX)
    free = sum(_left(device.free_bytes, True) for device in room.devices)
    return last(n, lambda k: replace(demand, gpu_layers=k).at(ctx).devices <= free)


def _note(demand: Demand, options: LoadOptions, room: Room, most: int | None) -> str:
    """What is less than could be expected. most: the context that was chosen, None if it is as long as it can be."""
    n, said = len(demand.parts.layers) + 1, []
    if room.devices and options.gpu_layers is None and options.device != "cpu" and demand.gpu_layers < n:
        free = f"the {format_bytes(room.on_devices)} that are free on {_names(room.devices)}"
        said.append(f"{demand.gpu_layers} of {n} layers fit into {free}")
    if most is not None:
        free = "memory" if said or room.ram is None or room.devices else f"the {format_bytes(room.ram)} that are free"
        trained = demand.shape.context_length
        said.append(f"a context of {most:,} tokens fits into {free}; the model was trained for {trained:,}")
    return "; ".join(said)


def _refusal(name: str, demand: Demand, options: LoadOptions, room: Room) -> str:
    """What is needed, what there is, and what would fit."""
    trained = demand.shape.context_length or DEFAULT_CTX
    ctx = options.ctx or min(trained, _LEAST_CTX)
    taken, cache = demand.at(ctx), demand.cache(ctx)
    total = taken.ram + taken.devices
    where = f"{format_bytes(taken.devices)} of it on {_names(room.devices)}, " if taken.devices else ""
    weights, buffers = demand.parts.total, total - demand.parts.total - cache
    parts = f"{format_bytes(weights)} for weights, {format_bytes(cache)} for the context"
    needs = f"{format_bytes(total)} of memory, {where}{parts} and {format_bytes(buffers)} for buffers"
    free = [f"{format_bytes(room.ram)} of RAM"] if room.ram is not None else []
    free += [f"{format_bytes(device.free_bytes)} on {device.name}" for device in room.devices if demand.gpu_layers]
    return (
        f"{name} with a context of {ctx:,} tokens needs {needs}; free are {' and '.join(free) or 'none'}: "
        f"{_way_out(demand, options, room)}"
    )


def _way_out(demand: Demand, options: LoadOptions, room: Room) -> str:
    trained = demand.shape.context_length or DEFAULT_CTX
    ways = []
    if options.ctx is not None:
        upto = min(trained, options.ctx)
        fitting = [longest(demand, room, upto, margin) for margin in (True, False)]
        ways += [f"--ctx {ctx}" for ctx in fitting if ctx >= _LEAST_CTX][:1]
        smaller = _CACHE_TYPES[_CACHE_TYPES.index(demand.cache_type) + 1 :]
        types = (kind for kind in smaller if replace(demand, cache_type=kind).fits(options.ctx, room))
        ways += [f"--cache-type {kind}" for kind in types][:1]
    if room.devices and options.gpu_layers is not None:
        layers = _layers(demand, replace(options, gpu_layers=None), room)
        if replace(demand, gpu_layers=layers).fits(options.ctx or min(trained, _LEAST_CTX), room):
            ways.append(f"--gpu-layers {layers}")
    if ways:
        return f"{' or '.join(ways)} would fit"
    ctx = min(trained, _LEAST_CTX)
    others = demand.at(ctx).ram + demand.at(ctx).devices - demand.parts.total
    left = (room.ram or 0) + sum(device.free_bytes for device in room.devices if not device.is_unified) - others
    if left < _LEAST_FILE_BYTES:
        return "end other programs, no model would fit"
    return f"a file of {format_bytes(left)} would fit: end other programs, or take a smaller model"


def last(n: int, holds: Callable[[int], bool]) -> int:
    """The largest number from 1 to n for which something holds, that holds for all smaller ones, too; else 0.

    >>> last(10, lambda k: k * k < 50), last(10, lambda k: False)
    (7, 0)
    """
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _left(free: int, margin: bool) -> int:
    return free - max(int(free * _MARGIN), min(int(free * _MOST_MARGIN), _MARGIN_BYTES)) if margin else free


def _names(devices: Sequence[Device]) -> str:
    return " and ".join(device.name for device in devices)
