"""A longer context in the place of a shorter one, with what the KV cache held: no token is computed twice.

The state is taken out of the old context, that is freed, the new one is opened, and the state put into it. So at most
the longer cache and a copy of what was used of the shorter one are in memory at a time.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minichat.engine.resident import spare_bytes
from minichat.machine import budget_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minichat.fit import Demand, Device, Room

_STEP = 256


class Carried:
    """What a context holds of its sequence, copied out of it."""

    def __init__(self, c: Any, context: Any) -> None:
        self._c = c
        self._state = (ctypes.c_uint8 * state_bytes(c, context))()
        self._taken = c.llama_state_seq_get_data(context, self._state, len(self._state), 0)

    def put(self, context: Any) -> bool:
        """Puts it into an empty context of the same model and the same cache types. False if that does not take it."""
        put = self._c.llama_state_seq_set_data(context, self._state, self._taken, 0)
        return bool(self._taken) and put == self._taken


def state_bytes(c: Any, context: Any) -> int:
    """The size of what `Carried` would take."""
    return int(c.llama_state_seq_get_size(context, 0))


@dataclass(frozen=True)
class Growth:
    """What there is for a longer context in the place of one of `opened` tokens.

    carried_bytes: the state that goes from one to the other. room: what is free now, beside the context that is open.
    budget: bytes of RAM that may be taken in all, if that is bounded.
    """

    demand: Demand
    opened: int
    carried_bytes: int
    room: Room
    budget: int | None = None

    @classmethod
    def now(cls, demand: Demand, opened: int, carried_bytes: int, gpus: Callable[[], Sequence[Device]]) -> Growth:
        """With what is free at this moment; `gpus` tells it of the devices."""
        from minichat.fit import Room

        devices = tuple(gpus()) if demand.gpu_layers else ()
        return cls(demand, opened, carried_bytes, Room(spare_bytes(), devices), budget_bytes())

    def is_room(self, wanted: int) -> bool:
        """Whether a context of `wanted` tokens can be had."""
        ram, devices = self._more(wanted)
        return devices <= self.room.on_devices and (self._free is None or ram <= self._free)

    def refusal(self, wanted: int) -> str:
        """What it would take, what there is, and what would fit."""
        from minichat.fit import last
        from minichat.terminal.units import format_bytes

        ram, devices = self._more(wanted)
        steps = last(wanted // _STEP, lambda n: n * _STEP <= self.opened or self.is_room(n * _STEP))
        more, free = max(ram, 0) + max(devices, 0), max((self._free or 0) + self.room.on_devices, 0)
        return (
            f"a context of {wanted:,} tokens takes {format_bytes(more)} more than there is now, "
            f"and {format_bytes(free)} are free: {max(steps * _STEP, self.opened):,} tokens would fit"
        )

    @property
    def _free(self) -> int | None:
        return self.room.ram if self.budget is None else self.budget - self.demand.at(self.opened).ram

    def _more(self, wanted: int) -> tuple[int, int]:
        """Bytes in RAM and on devices."""
        before, after = self.demand.at(self.opened), self.demand.at(wanted)
        devices = after.devices - before.devices
        is_unified = any(device.is_unified for device in self.room.devices)
        return after.ram - before.ram + (devices if is_unified else 0) + self.carried_bytes, devices


def next_size(opened: int, needed: int, most: int) -> int:
    """Twice as long, or twice that …, until `needed` tokens find room; `most` at most.

    >>> next_size(2048, 2049, 32768), next_size(2048, 9000, 32768), next_size(2048, 2049, 3000)
    (4096, 16384, 3000)
    """
    size = opened
    while size < needed and size < most:
        size *= 2
    return min(size, most)
