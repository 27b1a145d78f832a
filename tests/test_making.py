"""Checkpoints that see, in the store: both of their files, made once."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest
from checkpoints import MERGING
from program import fails, minichat

from convert.gguf_file import read_header
from minichat import making
from minichat.making import ConvertOptions, convert_into, converted
from minichat.manifest import Manifest, ModelName
from minichat.store import Store
from minichat.work import Silent
from quant.errors import UsageError

NAME = ModelName("sees")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MERGING, tmp_path / "sees"))


def made(folder: Path, projector: str | None = None) -> Manifest:
    return convert_into(Store.default(), folder, "q8_0", NAME, Silent(), ConvertOptions(projector=projector)).manifest


def taken(folder: Path) -> Manifest:
    return converted(folder, NAME, "q8_0", Store.default(), Silent())


def types_of(manifest: Manifest) -> set[str]:
    path = Store.default().projector(manifest)
    assert path is not None
    return {tensor.kind.name for tensor in read_header(path).tensors}


def test_both_files_are_in_the_store(folder: Path) -> None:
    manifest = taken(folder)
    assert manifest.sees
    assert types_of(manifest) == {"f16", "f32"}
    assert manifest.projector_bytes == read_header(Store.default().projector(manifest) or Path()).file_bytes
    assert taken(folder) == manifest  # not made again


@pytest.mark.parametrize(
    ("projector", "types"), [("q8_0", {"q8_0", "f16", "f32"}), ("f32", {"f32"}), ("fp32", {"f32"})]
)
def test_what_was_asked_for_is_what_is_run(folder: Path, projector: str, types: set[str]) -> None:
    asked = made(folder, projector)
    assert types_of(asked) == types
    assert taken(folder) == asked


def test_what_was_left_out_on_purpose_stays_so(folder: Path) -> None:
    blind = made(folder, "none")
    assert (blind.sees, blind.projector_bytes) == (False, 0)
    assert taken(folder) == blind
    assert made(folder).sees


def test_one_made_when_minichat_did_not_see_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(making, "folder_sees", lambda _: False)  # the stamp of such a one
        old = made(folder, "none")
    again = taken(folder)
    assert (old.blob, old.full_name) == (again.blob, again.full_name)
    assert again.sees


def test_a_type_that_there_is_not(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown type of a projector 'q9'"):
        made(folder, "q9")


def test_from_outside(tmp_path: Path) -> None:
    out = tmp_path / "small.gguf"
    done = minichat("convert", MERGING, "-q", "q8_0", "--mmproj", "F16", "-o", out)
    assert {path.name for path in tmp_path.glob("*.gguf")} == {"small.gguf", "mmproj-small.gguf"}
    assert "mmproj-small.gguf" in done.stdout
    assert done.stderr == ""
    fails(2, "--mmproj q9: one of fp16, q8_0, f32, none", "convert", MERGING, "--mmproj", "q9", "-o", out)
    done = minichat("convert", MERGING, "-q", "q8_0", "--mmproj", "none", "-o", tmp_path / "blind.gguf")
    assert not (tmp_path / "mmproj-blind.gguf").exists()
    assert done.stderr == "text only: the vision encoder (24 tensors) is left out\n"


def test_the_worked_example() -> None:
    assert doctest.testmod(making).failed == 0
