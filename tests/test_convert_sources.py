import hashlib
from pathlib import Path

import pytest
from checkpoints import SHARDED, config, random_tensors, write_checkpoint, write_safetensors

from convert.checkpoint import open_checkpoint
from convert.config import parse_config
from convert.sources import SourceHashes, in_file_order, pieces
from convert.tensors import plan_tensors
from quant.errors import CheckpointError


@pytest.mark.parametrize("chunk_weights", [1, 1000, 70_000, 1 << 30])
def test_every_byte_is_read_once_and_in_order(tmp_path: Path, chunk_weights: int) -> None:
    """Headers, and tensors that the model does not need, too."""
    settings = config(vocab=301)
    weights = random_tensors(settings)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": weights["model.norm.weight"]}
    names = sorted([*weights, *extra])
    folder = write_checkpoint(tmp_path / "model", settings, {name: (weights | extra)[name] for name in names}, shards=2)
    checkpoint = open_checkpoint(folder)
    tensors = in_file_order(plan_tensors(parse_config(settings), checkpoint.tensors).tensors, checkpoint.weights)
    read: dict[Path, int] = dict.fromkeys(checkpoint.weights, 0)
    rows: dict[str, int] = {}
    for piece in pieces(tensors, checkpoint.weights, chunk_weights):
        assert piece.offset == read[piece.path]
        read[piece.path] += piece.nbytes
        if piece.tensor is not None:
            name, source = piece.tensor.name, piece.tensor.source
            assert piece.first_row == rows.get(name, 0)
            n_rows = piece.nbytes * source.shape[0] // source.nbytes if len(source.shape) > 1 else 1
            assert not piece.tensor.head_rows or n_rows % piece.tensor.head_rows == 0
            rows[name] = piece.first_row + n_rows
    assert read == {path: path.stat().st_size for path in checkpoint.weights}
    assert rows == {t.name: t.shape[0] if len(t.shape) > 1 else 1 for t in tensors}


def hashed(folder: Path, told: dict[str, str]) -> dict[str, str]:
    checkpoint = open_checkpoint(folder)
    hashes = SourceHashes(checkpoint, told)
    for path in checkpoint.weights:
        for part in path.read_bytes()[:1000], path.read_bytes()[1000:]:
            hashes.update((path, part))
    return hashes.finish()


def test_hashes_are_those_of_the_files() -> None:
    expected = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in SHARDED.iterdir() if p.suffix != ".npz"}
    assert hashed(SHARDED, {}) == expected
    assert hashed(SHARDED, expected) == expected
    hashes = SourceHashes(open_checkpoint(SHARDED), expected)
    assert hashes.are_known
    assert hashes.expected == expected
    assert not SourceHashes(open_checkpoint(SHARDED), {}).are_known


@pytest.mark.parametrize("name", ["config.json", "tekken.json", "model-00002-of-00003.safetensors"])
def test_another_file_than_the_hubs_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is not the file that the hub has"):
        hashed(SHARDED, {name: "0" * 64})


def test_a_checkpoint_of_empty_files_of_weights(tmp_path: Path) -> None:
    settings = config(layers=1)
    folder = write_checkpoint(tmp_path / "model", settings)
    write_safetensors(folder / "model.safetensors", {})
    assert [p.nbytes for p in pieces([], open_checkpoint(folder).weights, 1)] == [
        (folder / "model.safetensors").stat().st_size
    ]
