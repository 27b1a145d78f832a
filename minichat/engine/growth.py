"""A longer context in the place of a shorter one, with what the KV cache held: no token is computed twice.

The state is taken out of the old context, that is freed, the new one is opened, and the state put into it. So at most
the longer cache and a copy of what was used of the shorter one are in memory at a time.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from minichat.machine import available_bytes, budget_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minichat.fit import Demand, Device, Room


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


def can_grow(
    demand: Demand, opened: int, wanted: int, carried_bytes: int, gpus: Callable[[], Sequence[Device]]
) -> bool:
    """Whether there is room now to change an open context of `opened` tokens for one of `wanted`.

    carried_bytes: the state that goes from one to the other. gpus: what the devices have left.
    """
    from minichat.fit import Room

    devices = tuple(gpus()) if demand.gpu_layers else ()
    return is_room(demand, opened, wanted, carried_bytes, Room(available_bytes(), devices), budget_bytes())


def is_room(demand: Demand, opened: int, wanted: int, carried_bytes: int, room: Room, budget: int | None) -> bool:
    """Whether a context of `opened` tokens can be changed for one of `wanted`.

    room: what is free now, beside the context that is open. budget: what may be taken in all, if that is bounded.
    """
    before, after = demand.at(opened), demand.at(wanted)
    if after.devices - before.devices > room.on_devices:
        return False
    if budget is not None:
        return after.ram + carried_bytes <= budget
    is_unified = any(device.is_unified for device in room.devices)
    more = after.ram - before.ram + (after.devices - before.devices if is_unified else 0)
    return room.ram is None or more + carried_bytes <= room.ram


def next_size(opened: int, needed: int, most: int) -> int:
    """Twice as long, or twice that …, until `needed` tokens find room; `most` at most.

    >>> next_size(2048, 2049, 32768), next_size(2048, 9000, 32768), next_size(2048, 2049, 3000)
    (4096, 16384, 3000)
    """
    size = opened
    while size < needed and size < most:
        size *= 2
    return min(size, most)
