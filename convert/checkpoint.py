"""A checkpoint on disk: its configuration, its tensors by name, its tokenizer file, and rows of its weights.

Hugging Face's format: a folder with config.json, and model.safetensors or the shards that model.safetensors.index.json
lists. Only headers are read here until someone asks for rows.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from convert.safetensors_file import SourceTensor, read_header
from quant.errors import CheckpointError

_MAX_JSON_BYTES = 64 << 20
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    config: dict[str, Any]
    tensors: dict[str, SourceTensor]
    tokenizer: Path  # tekken.json or a SentencePiece model


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read what describes a checkpoint. CheckpointError says what is missing or damaged, and in which file."""
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name the folder that holds config.json and the weights")
    config_path = folder / "config.json"
    if not config_path.is_file():
        if (folder / "params.json").is_file():
            raise CheckpointError(
                f"{folder} is in Mistral's own format (params.json), which minichat cannot convert yet: "
                "use the Hugging Face format (config.json)"
            )
        raise CheckpointError(f"{folder} is no checkpoint: it holds no config.json")
    config = read_json(config_path)
    return Checkpoint(folder, config, _tensors(folder), _tokenizer(folder))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of at most 64 MB. CheckpointError if there is none."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MB: it is not what its name says")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object")
    return value


def _tensors(folder: Path) -> dict[str, SourceTensor]:
    single, index = folder / "model.safetensors", folder / _INDEX
    if index.is_file():
        return _sharded(folder, index)
    if not single.is_file():
        raise CheckpointError(f"{folder} holds no weights: neither model.safetensors nor {_INDEX} is there")
    return {tensor.name: tensor for tensor in read_header(single)}


def _sharded(folder: Path, index: Path) -> dict[str, SourceTensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} is damaged: it has no weight_map")
    for name, file_name in weight_map.items():
        if not isinstance(file_name, str) or file_name in ("", ".", "..") or re.search(r"[/\\\0]", file_name):
            raise CheckpointError(f"{index} is damaged: {name} is said to be in {file_name!r}")
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{folder} lacks {missing[0]}{more} of {len(shards)} shards: fetch it again")
    tensors: dict[str, SourceTensor] = {}
    for shard in shards:
        for tensor in read_header(folder / shard):
            if tensor.name in tensors:
                raise CheckpointError(f"{tensor.name} stands in {tensors[tensor.name].path.name} and in {shard}")
            tensors[tensor.name] = tensor
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].path.name != shard:
            raise CheckpointError(f"{folder / shard} lacks {name}, which {index.name} promises: fetch it again")
    return tensors


def _tokenizer(folder: Path) -> Path:
    """tekken.json, else a SentencePiece model; of those, one whose name tells its version (tokenizer.model.v3)."""
    tekken = folder / "tekken.json"
    if tekken.is_file():
        return tekken
    versioned = sorted(p for p in folder.glob("*.model.v*") if p.is_file())
    plain = [p for p in (folder / "tokenizer.model",) if p.is_file()]
    if not versioned + plain:
        raise CheckpointError(f"{folder} holds no tokenizer: neither tekken.json nor tokenizer.model is there")
    return (versioned + plain)[0]


class RowReader:
    """Reads rows of a checkpoint's tensors. Each file is opened once, and all are closed at the end of the block."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def __enter__(self) -> "RowReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def read(self, tensor: SourceTensor, first_row: int, n_rows: int) -> bytes:
        """The bytes of rows [first_row, first_row + n_rows), as they stand in the file; a vector is one row."""
        row_bytes = tensor.nbytes // (tensor.shape[0] if len(tensor.shape) > 1 else 1)
        wanted, place = n_rows * row_bytes, tensor.offset + first_row * row_bytes
        try:
            data = self._read_at(tensor.path, place, wanted)
        except OSError as error:
            raise CheckpointError(f"{tensor.path} cannot be read: {error.strerror or error}") from error
        if len(data) != wanted:
            raise CheckpointError(f"{tensor.path} became shorter while {tensor.name} was read")
        return data

    def _read_at(self, path: Path, place: int, n_bytes: int) -> bytes:
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        handle = self._files[path]
        os.lseek(handle, place, os.SEEK_SET)  # not pread: Windows has none, and one thread reads
        data = os.read(handle, n_bytes)
        while len(data) < n_bytes and (more := os.read(handle, n_bytes - len(data))):
            data += more
        return data
