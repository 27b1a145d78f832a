"""Projectors' files that libmtmd would not survive are refused, in one line; what is let through it survives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import seeing
from forked_engine import ForkedEngines
from gguf_mutations import Parts, mutated
from seeing import Seeing

from convert.gguf_file import read_header
from convert.gguf_keys import ARRAY, BOOL, F32, I32, STRING, U32
from minichat.engine.client import Engine
from minichat.engine.eyesight import SoundProjector, read_sound_projector
from minichat.engine.types import Done, LoadOptions, Sampling
from minichat.pictures.size import Limits, grid
from minichat.projectors import Projector
from minichat.template.pieces import Tokens
from quant.errors import DataError, EngineDiedError, GgufError, MinichatError

SEEDS = 60
_OF = "clip.vision."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Seeing:
    return seeing.seeing("mistral3-vision", tmp_path_factory.mktemp("small"), "q8_0")


def key(name: str, value: object, kind: int | None = None) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        found = parts.key(name)
        found.value, found.kind = value, found.kind if kind is None else kind

    return change


def added(name: str, value: object, kind: int) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        new = deepcopy(parts.keys[0])
        new.name, new.value, new.kind = name.encode(), value, kind
        parts.keys.append(new)

    return change


def dropped(name: str) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts.keys.remove(parts.key(name))

    return change


def tensor(named: str, /, **fields: object) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        found = parts.tensor(named)
        for field, value in fields.items():
            setattr(found, field, value)

    return change


CASES: dict[str, tuple[Callable[[Parts], None], str]] = {
    "a size of another type": (key(f"{_OF}block_count", 3, I32), r"key 'clip\.vision\.block_count' of the type 5"),
    "a name that is a list": (key("general.name", [STRING, None, [b"a"]], ARRAY), "general.name"),
    "a key that another kind reads": (added("clip.minicpmv_version", 2, U32), "minicpmv_version"),
    "ears": (added("clip.has_audio_encoder", True, BOOL), "pictures alone"),
    "GELU": (key("clip.use_silu", False), "with SiLU"),
    "both": (added("clip.use_gelu", True, BOOL), "with SiLU"),
    "no heads": (key(f"{_OF}attention.head_count", 0), "0 heads"),
    "heads that do not divide": (key(f"{_OF}attention.head_count", 5), "5 heads"),
    "heads of two dimensions": (key(f"{_OF}attention.head_count", 24), "heads have 2 dimensions"),
    "no layers": (key(f"{_OF}block_count", 0), "has 0 layers"),
    "layers that are not there": (key(f"{_OF}block_count", 3), "lacks the tensor v.blk.2"),
    "layers without end": (key(f"{_OF}block_count", 1 << 31), "layers"),
    "a layer too many": (key(f"{_OF}block_count", 1), "another kind of model"),
    "no pixels": (key(f"{_OF}image_size", 0), "image_size"),
    "no room for a token": (key(f"{_OF}image_size", 27), "27 pixels a side"),
    "pictures without end": (key(f"{_OF}image_size", 65000), "65000 pixels a side"),
    "no patch": (key(f"{_OF}patch_size", 0), "patch_size"),
    "another patch": (key(f"{_OF}patch_size", 16), "v.patch_embd.weight has the shape"),
    "merges of nothing": (key(f"{_OF}spatial_merge_size", 0), "spatial_merge_size"),
    "merges of three": (key(f"{_OF}spatial_merge_size", 3), "mm.patch_merger.weight has the shape"),
    "another width": (key(f"{_OF}projection_dim", 65), "img_break"),
    "two colours": (key(f"{_OF}image_mean", [F32, None, [0.5, 0.5]]), "image_mean"),
    "colours that are integers": (key(f"{_OF}image_std", [U32, None, [1, 1, 1]]), "image_std"),
    "a colour that does not vary": (key(f"{_OF}image_std", [F32, None, [1.0, 0.0, 1.0]]), "image_std"),
    "no number": (key(f"{_OF}image_mean", [F32, None, [1.0, float("nan"), 1.0]]), "image_mean"),
    "no colours": (dropped(f"{_OF}image_mean"), "image_mean"),
    "no epsilon": (dropped(f"{_OF}attention.layer_norm_epsilon"), "epsilon"),
    "an epsilon that is no number": (key(f"{_OF}attention.layer_norm_epsilon", float("nan")), "epsilon"),
    "a kind that others have": (key("clip.projector_type", b"ldp"), "is of the kind 'ldp'"),
    "a matrix turned": (tensor("v.blk.0.ffn_up.weight", sizes=[64, 32]), "ffn_up.weight has the shape"),
    "a norm in halves": (tensor("v.pre_ln.weight", kind=1), "v.pre_ln.weight"),
    "a matrix of integers": (tensor("v.blk.0.attn_q.weight", kind=24), "attn_q"),
    "a name of another kind": (tensor("v.pre_ln.weight", name=b"v.post_ln.weight"), "v.pre_ln.weight|post_ln"),
    "a place before its own": (tensor("v.pre_ln.weight", offset=0), "v.pre_ln|over|behind"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_libmtmd_would_not_survive_is_refused(small: Seeing, tmp_path: Path, case: str) -> None:
    change, why = CASES[case]
    parts = Parts.of(small.projector.read_bytes())
    change(parts)
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(parts.pack())
    with pytest.raises(DataError, match=why) as caught:
        read_sound_projector(path, read_header(small.model).metadata, "the model")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_others_write_besides_is_let_through(small: Seeing, tmp_path: Path) -> None:
    parts = Parts.of(small.projector.read_bytes())
    added("clip.has_text_encoder", False, BOOL)(parts)
    added("clip.has_llava_projector", True, BOOL)(parts)
    added("general.url", b"somewhere", STRING)(parts)
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(parts.pack())
    assert read_sound_projector(path, read_header(small.model).metadata, "the model").patch == 28


def test_a_longest_side_that_is_no_whole_number_of_tokens(small: Seeing, tmp_path: Path) -> None:
    """Patches that are begun count, as for mistral-common: of 150 pixels six, which have 168."""
    parts = Parts.of(small.projector.read_bytes())
    key(f"{_OF}image_size", 150)(parts)
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(parts.pack())
    found = grid(4000, 3000, Limits(150, small.patch))
    assert (found.columns, found.rows) == (6, 4)
    with Engine(small.model, LoadOptions(ctx=128, projector=str(path), threads=1)) as engine:
        assert engine.wait_loaded().picture_tokens == 42
        large, larger = (seeing.noise(tmp_path / f"{n}.ppm", n, 4, patch=small.patch) for n in (6, 7))
        *_, done = engine.prefill([Tokens((1, 3)), large])
        assert isinstance(done, Done)
        assert done.stats.prompt_tokens == 2 + 28
        with pytest.raises(DataError, match="has 196 x 112 pixels; the model takes 150"):
            list(engine.prefill([Tokens((1, 3)), larger]))


def test_the_memory_that_a_picture_takes_is_what_libmtmd_logs() -> None:
    """Of a tower as wide as Mistral Small 3.1's: 759.90 MiB for 12,100 patches, and 183.14 for 2,916."""
    projector = SoundProjector(
        Path("mmproj.gguf"), Projector("pixtral", 5120, 1540, 14, 2), 880_000_000, b"", 1024, 4096
    )
    for side, mib in ((55, 759.90), (27, 183.14)):
        beside = 4 * (2 * side * side * 28 * 28 * 3 + 2 * side * side * 5120)
        assert projector.buffer_bytes(side * side) - beside == pytest.approx(mib * (1 << 20), rel=0.01)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkedEngines]:
    with ForkedEngines() as engines:
        monkeypatch.setattr("minichat.engine.starting.take", engines.take)
        yield engines


@pytest.mark.usefixtures("engines")
def test_damaged_projectors_end_no_engine(small: Seeing, tmp_path: Path) -> None:
    """Each is refused in one line, or read; those that seem sound are shown to libmtmd, with a picture."""
    raw, path, metadata = small.projector.read_bytes(), tmp_path / "mmproj.gguf", read_header(small.model).metadata
    refused = shown = 0
    for seed in range(SEEDS):
        path.write_bytes(mutated(raw, random.Random(seed)))
        try:
            read_sound_projector(path, metadata, "the model")
        except GgufError as error:
            assert "\n" not in str(error), seed
            refused += 1
            continue
        shown += 1
        try:
            with Engine(small.model, LoadOptions(ctx=64, projector=str(path), threads=1)) as engine:
                list(engine.generate(small.pieces(), Sampling(temperature=0), max_tokens=1))
        except EngineDiedError as error:
            pytest.fail(f"seed {seed}: {error}")
        except MinichatError as error:
            assert "\n" not in str(error), seed
    assert refused > SEEDS // 2
    assert shown > 1
