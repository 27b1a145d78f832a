"""A checkpoint: what describes it, its tensors by name, its tokenizer file, and where the bytes of its weights are.

    Hugging Face's format    config.json    model.safetensors, or the shards that model.safetensors.index.json lists
    Mistral's own            params.json    consolidated.safetensors, or consolidated-00001-of-00002.safetensors ...

A repo may hold both: the weights are read from one of them. Of the weights, only headers are read here. They may be
elsewhere (`convert.files`); all that describes them is in the folder.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.fields import read_json
from convert.files import LocalFiles, WeightFiles
from convert.safetensors_file import SourceTensor
from convert.shards import FILE_NAME, HUB, has_weights, read_indexed, read_native
from quant.errors import CheckpointError

_PART_BYTES = 4 << 20


@dataclass(frozen=True)
class Checkpoint:
    """`native`: the weights are in Mistral's own format. `weights`: their files, in order, and how many bytes each has;
    `files` gives these.
    """

    folder: Path
    native: bool
    config: dict[str, Any] | None  # config.json
    params: dict[str, Any] | None  # params.json
    weights: dict[Path, int]
    tensors: dict[str, SourceTensor]
    tokenizer: Path  # tekken.json or a SentencePiece model
    files: WeightFiles = field(compare=False)


def open_checkpoint(folder: Path, files: WeightFiles | None = None) -> Checkpoint:
    """Read what describes a checkpoint. CheckpointError says what is missing or damaged, and in which file.

    `files`: where the weights are, if not in the folder. Nothing of it is closed here.
    """
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name the folder that holds config.json and the weights")
    config, params = (_described(folder / name) for name in ("config.json", "params.json"))
    if config is None and params is None:
        raise CheckpointError(f"{folder} is no checkpoint: it holds neither config.json nor params.json")
    with contextlib.ExitStack() as stack:
        if files is None:
            files = LocalFiles(folder)
            stack.callback(files.close)
        native = config is None or (params is not None and not has_weights(files.names(), HUB))
        paths, tensors = read_native(folder, files) if native else read_indexed(folder, HUB, files)
        weights = {path: files.size(path) for path in paths}
    return Checkpoint(folder, native, config, params, weights, tensors, _tokenizer(folder), files)


def _described(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _tokenizer(folder: Path) -> Path:
    """tekken.json, else a SentencePiece model; of those, one whose name tells its version (tokenizer.model.v3)."""
    tekken = folder / "tekken.json"
    if tekken.is_file():
        return tekken
    versioned = sorted(p for p in folder.glob("*.model.v*") if FILE_NAME.fullmatch(p.name) and p.is_file())
    plain = [p for p in (folder / "tokenizer.model",) if p.is_file()]
    if not versioned + plain:
        raise CheckpointError(f"{folder} holds no tokenizer: neither tekken.json nor tokenizer.model is there")
    return (versioned + plain)[0]


def same_bytes(first: SourceTensor, second: SourceTensor, files: WeightFiles) -> bool:
    """Whether two tensors of a checkpoint hold the same. MinichatError if they cannot be read."""
    if first.nbytes != second.nbytes or first.dtype != second.dtype:
        return False
    if (first.path, first.offset) == (second.path, second.offset):
        return True
    for place in range(0, first.nbytes, _PART_BYTES):
        count = min(_PART_BYTES, first.nbytes - place)
        ours, theirs = (files.read(tensor.path, tensor.offset + place, count) for tensor in (first, second))
        if ours != theirs:
            return False
    return True
