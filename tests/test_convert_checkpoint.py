import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SHARDED, config, random_tensors, write_checkpoint, write_native

from convert.checkpoint import open_checkpoint, wanted_files
from convert.fields import read_json
from quant.errors import CheckpointError


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", config(), shards=3)


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_rows_are_those_that_were_written(tmp_path: Path, shards: int, dtype: str) -> None:
    settings = config()
    tensors = random_tensors(settings, dtype)
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "model", settings, tensors, shards=shards))
    assert set(checkpoint.tensors) == set(tensors)
    assert sum(t.nbytes for t in checkpoint.tensors.values()) == sum(values.nbytes for values in tensors.values())
    assert [path.name for path in checkpoint.weights] == sorted(
        p.name for p in (tmp_path / "model").glob("*.safetensors")
    )
    with closing(checkpoint.files) as reader:
        for name, values in tensors.items():
            source = checkpoint.tensors[name]
            assert (source.dtype, source.shape) == (dtype, values.shape)
            assert reader.read(source.path, source.offset, source.nbytes) == values.tobytes()


def test_shards_that_transformers_wrote() -> None:
    checkpoint = open_checkpoint(SHARDED)
    assert len(checkpoint.tensors) == 39
    assert checkpoint.tokenizer.name == "tekken.json"


@pytest.mark.parametrize("shards", [1, 3])
def test_mistrals_own_format(tmp_path: Path, shards: int) -> None:
    """One file, or shards whose names tell how many there are; no index is needed."""
    folder = write_native(SHARDED, tmp_path / "native", shards)
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.native, checkpoint.config, len(checkpoint.weights)) == (True, None, shards)
    assert len(checkpoint.tensors) == 39
    if shards == 3:
        (folder / "consolidated-00002-of-00003.safetensors").unlink()
        assert "lacks consolidated-00002-of-00003.safetensors of 3 shards" in refused(folder)
        (folder / "consolidated-00001-of-00003.safetensors").rename(folder / "consolidated-00001-of-99999.safetensors")
        assert "more of 10000 shards" in refused(folder)  # a name that promises too much costs no time


def test_native_shards_with_an_index(tmp_path: Path) -> None:
    folder = write_native(SHARDED, tmp_path / "native", 2)
    places = {t.name: t.path.name for t in open_checkpoint(folder).tensors.values()}
    index = folder / "consolidated.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert len(open_checkpoint(folder).weights) == 2
    (folder / "consolidated.safetensors").write_bytes(b"")
    assert "holds both consolidated.safetensors and consolidated.safetensors.index.json" in refused(folder)
    (folder / "consolidated.safetensors").unlink()
    index.write_text(json.dumps({"weight_map": places | {"x": "consolidated-00001-of-00002.safetensors"}}))
    assert "lacks x, which consolidated.safetensors.index.json promises" in refused(folder)


def test_a_repo_with_both_formats_is_read_once(tmp_path: Path) -> None:
    """As published, Mistral's repos hold the weights twice."""
    both = write_native(SHARDED, tmp_path / "both")
    for path in SHARDED.iterdir():
        (both / path.name).write_bytes(path.read_bytes())
    checkpoint = open_checkpoint(both)
    assert not checkpoint.native
    assert checkpoint.params is not None
    assert {path.name[:5] for path in checkpoint.weights} == {"model"}
    for path in both.glob("model-*.safetensors"):
        path.unlink()
    assert open_checkpoint(both).native  # what was fetched of it counts, not the index
    (both / "params.json").unlink()
    assert "lacks model-00001-of-00003.safetensors and 2 more" in refused(both)


def test_folders_that_are_no_checkpoint(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent").endswith("absent does not exist")
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(tmp_path / "file")
    assert "is no checkpoint: it holds neither config.json nor params.json" in refused(tmp_path)
    (tmp_path / "params.json").write_text("{}")
    assert "holds no weights: neither model.safetensors nor consolidated.safetensors is there" in refused(tmp_path)


def test_missing_parts_are_named(sharded: Path) -> None:
    (sharded / "model-00002-of-00003.safetensors").unlink()
    assert "lacks model-00002-of-00003.safetensors of 3 shards" in refused(sharded)
    (sharded / "model-00001-of-00003.safetensors").unlink()
    assert "lacks model-00001-of-00003.safetensors and 1 more of 3 shards" in refused(sharded)
    (sharded / "model.safetensors.index.json").unlink()
    assert "holds no weights: it holds shards, and lacks model.safetensors.index.json" in refused(sharded)


def test_a_missing_tokenizer(sharded: Path) -> None:
    (sharded / "tekken.json").unlink()
    assert "holds no tokenizer" in refused(sharded)


def test_tekken_goes_before_sentencepiece_and_a_versioned_name_before_a_plain_one(sharded: Path) -> None:
    (sharded / "tokenizer.model").write_bytes(b"x")
    (sharded / "tokenizer.model.v3").write_bytes(b"x")
    assert open_checkpoint(sharded).tokenizer.name == "tekken.json"
    (sharded / "tekken.json").unlink()
    assert open_checkpoint(sharded).tokenizer.name == "tokenizer.model.v3"
    (sharded / "tokenizer.model.v3").unlink()
    assert open_checkpoint(sharded).tokenizer.name == "tokenizer.model"


def test_a_tokenizer_of_an_odd_name_is_none(sharded: Path) -> None:
    """Its name goes into the GGUF and into errors."""
    (sharded / "tekken.json").unlink()
    (sharded / "a\x1b[31m.model.v3").write_bytes(b"x")
    assert "holds no tokenizer" in refused(sharded)


def test_an_index_that_disagrees_with_the_shards(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    places = content["weight_map"]

    def with_map(changed: object) -> str:
        index.write_text(json.dumps({"weight_map": changed}))
        return refused(sharded)

    assert "lacks extra.weight" in with_map({**places, "extra.weight": "model-00001-of-00003.safetensors"})
    assert "lacks model.norm.weight" in with_map({**places, "model.norm.weight": "model-00001-of-00003.safetensors"})
    assert "is said to be in '../x'" in with_map({**places, "a": "../x"})
    assert "is said to be in 3" in with_map({**places, "a": 3})
    assert "has no weight_map" in with_map({})
    index.write_text("{")
    assert "is not JSON" in refused(sharded)


def test_a_tensor_in_two_shards(sharded: Path) -> None:
    first, second = (sharded / f"model-0000{n}-of-00003.safetensors" for n in (1, 2))
    second.write_bytes(first.read_bytes())
    assert "model-00001-of-00003.safetensors and in model-00002-of-00003.safetensors" in refused(sharded)


@pytest.mark.parametrize("text", ["", "[]", "{", "nan", "[" * 100_000, "3"])
def test_a_config_that_is_no_object(sharded: Path, text: str) -> None:
    (sharded / "config.json").write_text(text)
    assert "config.json is damaged" in refused(sharded)


def test_json_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(CheckpointError, match="larger than 4 MB"):
        read_json(path)
    with pytest.raises(CheckpointError, match="not JSON"):  # a vocabulary may be larger
        read_json(path, 64 << 20)


def test_a_file_that_shrinks_while_it_is_read(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    source = checkpoint.tensors["lm_head.weight"]
    with source.path.open("r+b") as file:
        file.truncate(source.offset + 100)
    with (
        closing(checkpoint.files) as reader,
        pytest.raises(CheckpointError, match=r"safetensors became shorter while it was read"),
    ):
        reader.read(source.path, source.offset, source.nbytes)


def test_large_reads_come_whole(tmp_path: Path) -> None:
    settings = config(vocab=3000)
    tensors = random_tensors(settings, "F32")
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "model", settings, tensors))
    source = checkpoint.tensors["lm_head.weight"]
    with closing(checkpoint.files) as reader:
        data = reader.read(source.path, source.offset, source.nbytes)
    assert np.array_equal(np.frombuffer(data, np.float32).reshape(3000, 256), tensors["lm_head.weight"])


# --- which files of a repo are wanted ---

HUB_SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
OWN_SHARDS = ["consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors"]
INDEX, OWN_INDEX = "model.safetensors.index.json", "consolidated.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["config.json", "model.safetensors"], ["model.safetensors"]),
        (["config.json", INDEX, *HUB_SHARDS], HUB_SHARDS),
        (["config.json", "params.json", INDEX, *HUB_SHARDS, "consolidated.safetensors"], HUB_SHARDS),
        (["config.json", "params.json", "consolidated.safetensors"], ["consolidated.safetensors"]),
        (["params.json", "consolidated.safetensors", "model.safetensors"], ["consolidated.safetensors"]),
        (["params.json", *OWN_SHARDS], OWN_SHARDS),
        (["params.json", OWN_INDEX, *OWN_SHARDS], OWN_SHARDS),
        (["config.json", INDEX, "a.safetensors", "b.safetensors"], ["a.safetensors", "b.safetensors"]),
    ],
)  # fmt: skip
def test_the_weights_that_are_wanted(names: list[str], weights: list[str]) -> None:
    more = ["tekken.json", "README.md", "pytorch_model.bin", "sub/model.safetensors", "tokenizer.json", "x.py"]
    small, found = wanted_files([*names, *more])
    assert found == weights
    assert set(small) == {name for name in names if name.endswith(".json")} | {"tekken.json", "README.md"}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("is_native", [False, True])
def test_what_is_wanted_can_be_opened_alone(tmp_path: Path, shards: int, is_native: bool) -> None:
    """Of a repo that holds everything in both formats, one set of files gives the same checkpoint."""
    whole = write_checkpoint(tmp_path / "whole", config(), shards=shards)
    write_native(whole, tmp_path / "native", shards=2)
    for path in (tmp_path / "native").iterdir():
        if path.name != "tekken.json":
            path.rename(whole / path.name)
    (whole / "tokenizer.model.v3").write_bytes(b"not needed")
    if is_native:
        (whole / "config.json").unlink()
    small, weights = wanted_files([path.name for path in whole.iterdir()])
    part = tmp_path / "part"
    part.mkdir()
    for name in (*small, *weights):
        (part / name).write_bytes((whole / name).read_bytes())
    expected, found = open_checkpoint(whole), open_checkpoint(part)
    assert (
        (found.native, found.tokenizer.name) == (expected.native, expected.tokenizer.name) == (is_native, "tekken.json")
    )
    assert {p.name: n for p, n in found.weights.items()} == {p.name: n for p, n in expected.weights.items()}
    assert [path.name for path in found.weights] == weights


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "neither config.json nor params.json is there"),
        (["mistral.Q4_K_M.gguf"], "it holds GGUF files, which need no conversion"),
        (["config.json", "tekken.json", "pytorch_model.bin"], "its weights are pickles"),
        (["params.json", "tekken.json", "consolidated.00.pth"], "its weights are pickles"),
        (["config.json", "tekken.json"], "no weights"),
        (["config.json", "tekken.json", *HUB_SHARDS], "no weights"),
        (["config.json", "tekken.json", "consolidated.safetensors"], "no weights"),
        (["params.json", "tekken.json", "model.safetensors"], "no weights"),
        (["config.json", "model.safetensors", "tokenizer.json"], "no tokenizer"),
        (["config.json", "../model.safetensors", "a/model.safetensors", "model.safetensors\0"], "no weights"),
    ],
)  # fmt: skip
def test_repos_that_hold_no_checkpoint(names: list[str], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        wanted_files(names)
    assert "\n" not in str(caught.value)
