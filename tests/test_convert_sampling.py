"""Recommended sampling settings, from generation_config.json to the GGUF."""

import json
from pathlib import Path

import gguf
import pytest
from checkpoints import config, random_tensors, write_checkpoint

from convert import sampling
from convert.gguf_file import read_header
from convert.pipeline import convert


@pytest.mark.parametrize(
    ("generation", "found"),
    [
        ({}, {}),
        ({"bos_token_id": 1, "eos_token_id": 2}, {}),
        ({"temperature": 0.15, "do_sample": True}, {"temp": 0.15}),
        ({"temperature": 1, "top_p": 0.9, "top_k": 50, "min_p": 0}, {"temp": 1, "top_p": 0.9, "top_k": 50, "min_p": 0}),
        ({"do_sample": False, "temperature": 1.0}, {"temp": 0}),
        ({"temperature": -1, "top_p": 2, "top_k": 1.5, "min_p": None}, {}),
        ({"temperature": True, "top_k": True, "top_p": "1"}, {}),
        ({"temperature": float("nan")}, {}),
    ],
)
def test_what_is_recommended(generation: dict[str, object], found: dict[str, float]) -> None:
    assert {key.removeprefix("general.sampling."): v.value for key, v in sampling.keys(generation).items()} == found


def test_the_keys_are_those_of_the_format(tmp_path: Path) -> None:
    shape = config(layers=1)
    write_checkpoint(tmp_path / "x", shape, random_tensors(shape))
    generation = {"temperature": 0.5, "top_k": 7, "top_p": 0.25, "min_p": 0.125}
    (tmp_path / "x" / "generation_config.json").write_text(json.dumps(generation))
    convert(tmp_path / "x", tmp_path / "x.gguf", "f32")
    metadata = read_header(tmp_path / "x.gguf").metadata
    names = gguf.Keys.General
    assert metadata[names.SAMPLING_TEMP] == 0.5
    assert metadata[names.SAMPLING_TOP_K] == 7
    assert metadata[names.SAMPLING_TOP_P] == 0.25
    assert metadata[names.SAMPLING_MIN_P] == 0.125
