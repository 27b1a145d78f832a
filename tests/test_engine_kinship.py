"""A projector of another model of the same width is told of when the first picture is to be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import seeing
from seeing import CHECKPOINTS

from convert.gguf_file import read_header
from convert.pipeline import convert
from minichat.engine.client import Engine
from minichat.engine.eyesight import read_sound_projector
from minichat.engine.kinship import check_kin
from minichat.engine.types import Done, LoadOptions, Sampling
from minichat.template.pieces import Tokens
from quant.errors import DataError

GREEDY = Sampling(temperature=0)
TOKENS = {"[IMG_BREAK]": 12}
BREAK = 12


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and one with another embedding of [IMG_BREAK]; the projector of each beside it."""
    from convert.checkpoint import open_checkpoint

    folder = tmp_path_factory.mktemp("kin")
    for name in ("one", "other"):
        checkpoint = Path(shutil.copytree(CHECKPOINTS / "mistral3-vision", folder / name / "checkpoint"))
        if name == "other":
            rows = open_checkpoint(checkpoint).tensors["language_model.model.embed_tokens.weight"]
            row_bytes = rows.nbytes // rows.shape[0]
            with rows.path.open("rb+") as file:
                file.seek(rows.offset + 1000 * row_bytes)
                row = file.read(row_bytes)
                file.seek(rows.offset + BREAK * row_bytes)
                file.write(row)
        projector = folder / name / "mmproj-model.gguf"
        convert(checkpoint, folder / name / "model.gguf", "f32", projector=projector, projector_type="f32")
    return folder / "one", folder / "other"


def check(model: Path, projector: Path, tokens: dict[str, int] = TOKENS) -> None:
    header = read_header(model)
    check_kin(read_sound_projector(projector, header.metadata, "one"), model, header, tokens, "one")


def test_its_own_and_anothers(both: tuple[Path, Path]) -> None:
    one, other = both
    for folder in both:
        check(folder / "model.gguf", folder / "mmproj-model.gguf")
    with pytest.raises(DataError, match=r"^one: .*other/mmproj-model.gguf belongs to another model \(.*--mmproj none"):
        check(one / "model.gguf", other / "mmproj-model.gguf")
    check(one / "model.gguf", other / "mmproj-model.gguf", {})  # a vocabulary without the token tells nothing


def test_a_model_file_that_is_gone_tells_nothing(both: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = both
    header = read_header(one / "model.gguf")
    projector = read_sound_projector(other / "mmproj-model.gguf", header.metadata, "one")
    check_kin(projector, tmp_path / "gone.gguf", header, TOKENS, "one")


@pytest.mark.parametrize("target", ["q8_0", "fp16", "bf16", "q4_K_M", "q4_0", "q6_K"])
def test_however_the_model_is_quantized(target: str, tmp_path: Path) -> None:
    projector = tmp_path / "mmproj-model.gguf"
    convert(
        CHECKPOINTS / "mistral3-vision", tmp_path / "model.gguf", target, projector=projector, projector_type="fp16"
    )
    check(tmp_path / "model.gguf", projector)


def test_the_engine_goes_on_without(both: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = both
    image = seeing.noise(tmp_path / "a.ppm", 2, 2)
    text = Tokens((1, 3, 1050, 4))
    with Engine(
        one / "model.gguf", LoadOptions(ctx=64, projector=str(other / "mmproj-model.gguf"), threads=1)
    ) as engine:
        for _ in range(2):
            with pytest.raises(DataError, match=r"belongs to another model.*--mmproj none"):
                list(engine.generate([Tokens((1, 3)), image, Tokens((4,))], GREEDY, 3))
            *_, done = engine.generate([text], GREEDY, 3)
            assert isinstance(done, Done) and len(done.tokens) > 0
