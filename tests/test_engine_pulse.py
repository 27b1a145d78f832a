"""When an engine counts as stuck, and when it is only slow."""

from __future__ import annotations

import os

import pytest

from minichat.engine.pulse import MUTE_TICKS, STILL_TICKS, UNKNOWN_TICKS, Pulse, Signs, read_signs

STILL = Signs("S", (5, 5, 5))


def ticks(pulse: Pulse, signs: list[Signs | None]) -> list[str | None]:
    return [pulse.tick(each) for each in signs]


def speaking() -> Pulse:
    pulse = Pulse()
    pulse.heard()
    return pulse


def test_a_process_that_does_nothing_at_all_is_stuck() -> None:
    told = ticks(speaking(), [STILL] * (STILL_TICKS + 1))
    assert told == [None] * STILL_TICKS + [f"it did nothing for {STILL_TICKS} s"]


def test_a_stopped_process_is_stuck_even_before_it_ever_spoke() -> None:
    told = ticks(Pulse(), [Signs("T", (5, 5, 5))] * (STILL_TICKS + 1))
    assert told[-1] == f"it was stopped by a signal for {STILL_TICKS} s"
    assert told[:-1] == [None] * STILL_TICKS


@pytest.mark.parametrize("place", range(3))
def test_any_work_is_life(place: int) -> None:
    """A processor that it gets for a hundredth of a second now and then, or a page that it is given, is enough."""
    work = [[5, 5, 5] for _ in range(120)]
    for tick, each in enumerate(work):
        each[place] += tick // (STILL_TICKS - 1)
    assert not any(ticks(speaking(), [Signs("S", (a, b, c)) for a, b, c in work]))


def test_waiting_for_a_disk_is_no_end() -> None:
    assert not any(ticks(speaking(), [Signs("D", (5, 5, 5))] * (MUTE_TICKS - 1)))


def test_starting_slowly_is_no_end() -> None:
    assert not any(ticks(Pulse(), [STILL] * (MUTE_TICKS - 1)))


def test_a_word_begins_it_anew() -> None:
    pulse = speaking()
    for _ in range(20):
        assert not any(ticks(pulse, [STILL] * (STILL_TICKS - 1)))
        pulse.heard()


def test_a_process_that_works_and_never_answers_is_stuck_in_the_end() -> None:
    told = ticks(speaking(), [Signs("R", (n, 0, 0)) for n in range(MUTE_TICKS)])
    assert told[:-1] == [None] * (MUTE_TICKS - 1)
    assert told[-1] == f"it did not answer for {MUTE_TICKS} s"


def test_where_the_system_tells_nothing_silence_decides() -> None:
    assert ticks(speaking(), [None] * UNKNOWN_TICKS)[-1] == f"it did not answer for {UNKNOWN_TICKS} s"
    assert not any(ticks(Pulse(), [None] * 1000))


def test_the_signs_of_a_process_are_read() -> None:
    signs = read_signs(os.getpid())
    if signs is not None:  # Linux
        assert signs.state in "RS"
        assert signs.work[0] > 0
    assert read_signs(0) is None
