"""The table of what may be chosen."""

from __future__ import annotations

import math
from typing import Any

import pytest

from minichat.engine.sampler import DEFAULTS
from minichat.engine.types import LoadOptions, Sampling
from minichat.parameters import PARAMETERS, Parameter, nearest, parameter
from minichat.template import VERSIONS
from quant.errors import UsageError


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0", 0.0),
        ("temperature", " 99 ", 99.0),
        ("temperature", "1e-3", 0.001),
        ("top-k", "0", 0),
        ("top-k", "2147483647", 2**31 - 1),
        ("top-p", "1", 1.0),
        ("top-p", "1e-9", 1e-9),
        ("seed", "4294967295", 2**32 - 1),
        ("max-tokens", "1", 1),
        ("ctx", " Auto", "auto"),
        ("ctx", "4096", 4096),
        ("gpu-layers", "auto", "auto"),
        ("gpu-layers", "0", 0),
        ("cache-type", "Q8_0", "q8_0"),
        ("flash-attention", "off", "off"),
        ("device", "GPU", "gpu"),
        ("keys", " vi", "vi"),
        ("plain", "yes", True),
        ("private", "Off", False),
        ("format", "JSON", "json"),
        ("format", "Person.json", "Person.json"),
        ("system", " as it is\n", " as it is\n"),
        ("system", "", ""),
    ],
)
def test_a_text_becomes_a_value(name: str, text: str, value: object) -> None:
    parsed = PARAMETERS[name].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert PARAMETERS[name].check(parsed) == value
    if value != "":
        assert PARAMETERS[name].parse(PARAMETERS[name].shown(parsed)) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "99.1"),
        ("temperature", "-0.1"),
        ("temperature", "inf"),
        ("temperature", "nan"),
        ("temperature", ""),
        ("temperature", "0,2"),
        ("temperature", "True"),
        ("top-k", "-1"),
        ("top-k", "2147483648"),
        ("top-k", "1.0"),
        ("top-k", "9" * 5000),
        ("top-p", "0"),
        ("top-p", "1.01"),
        ("min-p", "2"),
        ("seed", "4294967296"),
        ("max-tokens", "0"),
        ("ctx", "15"),
        ("ctx", "all"),
        ("top-k", "auto"),
        ("cache-type", "q5_0"),
        ("flash-attention", "yes"),
        ("threads", "513"),
        ("device", "tpu"),
        ("plain", "maybe"),
        ("format", "  "),
        ("format", "a\0b"),
        ("template", "v8"),
    ],
)
def test_what_is_out_of_the_limits_is_refused_in_a_line(name: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        PARAMETERS[name].parse(text)
    said = str(error.value)
    assert said.startswith(f"{name} ")
    assert PARAMETERS[name].limits in said
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "0.2"),
        ("temperature", True),
        ("temperature", math.nan),
        ("temperature", 10**5000),
        ("temperature", None),
        ("top-k", 1.0),
        ("top-k", False),
        ("top-k", -(10**400)),
        ("plain", 1),
        ("plain", "on"),
        ("device", "GPU"),
        ("device", 1),
        ("system", 1),
        ("system", ["x"]),
        ("format", {}),
        ("format", ""),
    ],
    ids=lambda _: "",
)
def test_a_value_of_another_kind_is_not_converted(name: str, value: object) -> None:
    with pytest.raises(UsageError) as error:
        PARAMETERS[name].check(value)
    assert len(str(error.value)) < 200


def test_numbers_are_of_their_type() -> None:
    assert type(PARAMETERS["temperature"].check(1)) is float
    assert type(PARAMETERS["top-k"].check(1)) is int


@pytest.mark.parametrize("typed", ["top_k", "--top-k", "TOP-K", " top-k ", "Top_K"])
def test_a_name_may_be_typed_in_several_ways(typed: str) -> None:
    assert parameter(typed) is PARAMETERS["top-k"]


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("topk", "did you mean 'top-k'?"), ("seeed", "'seed'"), ("zzz", "there are temperature, "), ("", "there are")],
)
def test_a_wrong_name_gets_a_hint(typed: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        parameter(typed)
    assert hint in str(error.value)
    assert len(str(error.value)) < 400


def test_a_flood_of_names_is_cut() -> None:
    assert nearest("zzz", [f"name{n}" for n in range(1000)]).endswith("name19 …")


def test_the_table_agrees_with_what_it_is_for() -> None:
    assert set(PARAMETERS["template"].choices) == set(VERSIONS)
    for fields in (Sampling, LoadOptions):
        for name in fields.__dataclass_fields__:
            assert name in ("vocab_only", "projector") or name.replace("_", "-") in PARAMETERS
    for name in ("temperature", "top_k", "top_p", "min_p"):
        assert PARAMETERS[name.replace("_", "-")].check(getattr(DEFAULTS, name)) == getattr(DEFAULTS, name)


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=str)
def test_every_parameter_says_what_it_is(parameter: Parameter) -> None:
    assert parameter.help.endswith(".")
    assert parameter.limits
    assert bool(parameter.choices) == (parameter.kind == "choice")
    nothing: Any = None
    assert parameter.shown(nothing) == parameter.unset
