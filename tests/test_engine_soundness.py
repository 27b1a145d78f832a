"""Files made to do harm: each is refused in one line or answered from, and none ends or stops the front.

`make bench` shows twenty thousand damaged files; here it is a part of them, and those that were crafted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_engine import ForkedEngines
from gguf_mutations import Parts, mutated
from hostile_gguf import CASES, made
from shown_files import shown, sound_files

from minichat.engine.soundness import check_deeply, read_sound_header
from quant.errors import GgufError

N_MUTATED = 60
N_CRAFTED = 25  # of those that the header alone does not betray


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return sound_files(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def engines() -> Iterator[ForkedEngines]:
    with ForkedEngines() as engines:
        yield engines


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def is_refused(path: Path) -> bool:
    """By the header alone, in one line that names the file."""
    try:
        read_sound_header(path)
    except GgufError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
        return True
    return False


def test_sound_files_are_sound(sound: dict[str, bytes], tmp_path: Path) -> None:
    for content in sound.values():
        path = written(tmp_path / "x.gguf", content)
        assert not is_refused(path)
        check_deeply(path)


# What llama.cpp was seen to abort or crash on, and what is said of it now.
DEADLY = {
    "0 layers": "block_count is 0",
    "513 layers": "block_count is 513",
    "an epsilon of -1.0": "epsilon is -1.0",
    "an epsilon of nan": "epsilon is nan",
    "a scaling that is none": "rope.scaling.type is 'sideways'",
    "an alignment of 8": "no multiple of 32",
    "a norm of type 26": "is of type i32, not f32",
    "a matrix of type 24": "is no matrix of weights",
    "a vocabulary of the kind 'none'": "vocabulary is of the kind 'none'",
    "a vocabulary of the kind 'llama'": "no token for the byte 0x00",
    "scores for one token": "1 values for 280 tokens",
    "one of three parts": "one of several parts",
    "the architecture 'bert'": "no model that writes",
}


@pytest.mark.parametrize("case", DEADLY)
def test_what_ends_llama_cpp_is_refused_before(sound: dict[str, bytes], tmp_path: Path, case: str) -> None:
    path = written(tmp_path / "x.gguf", made(case, sound["plain"]))
    with pytest.raises(GgufError, match=DEADLY[case]):
        read_sound_header(path)


def test_windows_must_be_told(sound: dict[str, bytes], tmp_path: Path) -> None:
    for name, value in (("sliding_window", 0), ("sliding_window_pattern", [7, None, [0, 0]])):
        parts = Parts.of(sound["windows"])
        parts.key(f"granite_swa.attention.{name}").value = value
        with pytest.raises(GgufError, match="its attention has windows, and it does not tell where"):
            read_sound_header(written(tmp_path / "x.gguf", parts.pack()))


def test_a_model_with_all_that_models_have_is_let_through(sound: dict[str, bytes], tmp_path: Path) -> None:
    """Keys that files of other makers carry, in their types."""
    parts = CASES["heads for one layer"](Parts.of(sound["other"]))
    assert isinstance(parts, Parts)
    parts.key("llama.attention.head_count").value[2] = [2, 2]
    assert not is_refused(written(tmp_path / "x.gguf", parts.pack()))


def test_crafted_files_do_no_harm(
    sound: dict[str, bytes], engines: ForkedEngines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minichat.engine.starting.take", engines.take)
    assert len(CASES) >= 100
    left = [case for case in CASES if not is_refused(written(tmp_path / "x.gguf", made(case, sound["plain"])))]
    assert 30 < len(left) < 80
    for case in ("a token that stands there twice", *random.Random(7).sample(left, N_CRAFTED)):
        fate, line = shown(written(tmp_path / "x.gguf", made(case, sound["plain"])))
        assert fate != "died", (case, line)
        if case == "a token that stands there twice":
            assert line.endswith("is damaged: the token 'ea' stands in its vocabulary twice")


def test_damaged_files_do_no_harm(
    sound: dict[str, bytes], engines: ForkedEngines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minichat.engine.starting.take", engines.take)
    fates = []
    for seed in range(N_MUTATED):
        content = mutated(sound[sorted(sound)[seed % len(sound)]], random.Random(seed))
        path = written(tmp_path / "x.gguf", content)
        fates.append("refused" if is_refused(path) else shown(path)[0])
    assert set(fates) == {"answered", "refused"}
