"""Where sampling settings come from, and which are refused."""

import pytest

from minichat.engine.sampler import DEFAULTS, chain, resolve
from minichat.engine.types import Sampling
from quant.errors import UsageError


def test_what_is_asked_for_goes_before_the_model_and_that_before_our_own() -> None:
    metadata = {"general.sampling.temp": 0.15, "general.sampling.top_k": 7}
    found = resolve(Sampling(top_k=3), metadata)
    assert (found.temperature, found.top_k, found.top_p, found.min_p) == (0.15, 3, DEFAULTS.top_p, DEFAULTS.min_p)


def test_damaged_metadata_is_passed_over() -> None:
    for temperature in ("hot", -1.0, float("nan"), float("inf"), [0.5], None):
        assert resolve(Sampling(), {"general.sampling.temp": temperature}).temperature == DEFAULTS.temperature
    for top_k in (1.5, -1, 2**40):
        assert resolve(Sampling(), {"general.sampling.top_k": top_k}).top_k == DEFAULTS.top_k


def test_zero_is_a_choice() -> None:
    assert resolve(Sampling(temperature=0, top_k=0, min_p=0, seed=0), {"general.sampling.temp": 1.0}) == Sampling(
        0, 0, DEFAULTS.top_p, 0, 0
    )


def test_each_answer_draws_a_seed() -> None:
    assert len({resolve(Sampling(), {}).seed for _ in range(5)}) > 1


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=-1),
        Sampling(temperature=float("nan")),
        Sampling(temperature=float("inf")),
        Sampling(top_k=-1),
        Sampling(top_p=0.0),
        Sampling(top_p=1.5),
        Sampling(min_p=-0.1),
        Sampling(min_p=1.1),
    ],
)
def test_absurd_settings_are_refused(sampling: Sampling) -> None:
    with pytest.raises(UsageError, match="out of range"), chain(resolve(sampling, {})):
        pass
