"""A checkpoint on disk: what describes it, its tensors by name, its tokenizer file, and the bytes of its weights.

    Hugging Face's format    config.json    model.safetensors, or the shards that model.safetensors.index.json lists
    Mistral's own            params.json    consolidated.safetensors, or consolidated-00001-of-00002.safetensors ...

A repo may hold both: the weights are read from one of them. Only headers are read here until someone asks for bytes.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from convert.safetensors_file import SourceTensor, is_tensor_name, read_header
from quant.errors import CheckpointError

_MAX_JSON_BYTES = 4 << 20  # parsed, JSON may take 25 times as much memory; an index has some 100 kB
_PART_BYTES = 4 << 20
_HUB, _NATIVE = "model.safetensors", "consolidated.safetensors"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_NUMBERED = re.compile(r"consolidated-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """`native`: the weights are in Mistral's own format. `weights`: their files, in order."""

    folder: Path
    native: bool
    config: dict[str, Any] | None  # config.json
    params: dict[str, Any] | None  # params.json
    weights: tuple[Path, ...]
    tensors: dict[str, SourceTensor]
    tokenizer: Path  # tekken.json or a SentencePiece model


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read what describes a checkpoint. CheckpointError says what is missing or damaged, and in which file."""
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name the folder that holds config.json and the weights")
    config, params = (_described(folder / name) for name in ("config.json", "params.json"))
    if config is None and params is None:
        raise CheckpointError(f"{folder} is no checkpoint: it holds neither config.json nor params.json")
    native = config is None or (params is not None and not _has_weights(folder, _HUB))
    weights, tensors = _native(folder) if native else _indexed(folder, _HUB)
    return Checkpoint(folder, native, config, params, weights, tensors, _tokenizer(folder))


def _described(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _has_weights(folder: Path, single: str) -> bool:
    """Whether there is any file of weights in this format; an index alone is none."""
    stem, suffix = single.split(".")
    return (folder / single).is_file() or any(folder.glob(f"{stem}-*-of-*.{suffix}"))


def read_json(path: Path, max_bytes: int = _MAX_JSON_BYTES) -> dict[str, Any]:
    """The object in a JSON file of at most `max_bytes`. CheckpointError if there is none."""
    try:
        if path.stat().st_size > max_bytes:
            raise CheckpointError(f"{path} is larger than {max_bytes >> 20} MB: it is not what its name says")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object")
    return value


Weights = tuple[tuple[Path, ...], dict[str, SourceTensor]]


def _native(folder: Path) -> Weights:
    """Mistral's own weights: one file, shards with an index, or shards whose names tell how many there are."""
    if (folder / _NATIVE).is_file() or (folder / f"{_NATIVE}.index.json").is_file():
        return _indexed(folder, _NATIVE)
    numbered = sorted(path for path in folder.glob("consolidated-*") if _NUMBERED.fullmatch(path.name))
    if not numbered:
        raise CheckpointError(f"{folder} holds no weights: neither {_HUB} nor {_NATIVE} is there")
    count = int(numbered[0].stem.rsplit("-", 1)[1])
    wanted = [f"consolidated-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(min(count, 10_000))]
    return _read_shards(folder, wanted)


def _indexed(folder: Path, single: str) -> Weights:
    """One file of weights, or the shards that an index lists."""
    index = folder / f"{single}.index.json"
    if not index.is_file():
        if not (folder / single).is_file():
            lost = f": it holds shards, and lacks {index.name}" if _has_weights(folder, single) else ""
            raise CheckpointError(f"{folder} holds no weights{lost or f': neither {single} nor {index.name} is there'}")
        return _read_shards(folder, [single])
    if (folder / single).is_file():
        raise CheckpointError(f"{folder} holds both {single} and {index.name}: remove the one that is left over")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} is damaged: it has no weight_map")
    for name, file_name in weight_map.items():
        if not is_tensor_name(name):
            raise CheckpointError(f"{index} is damaged: {name[:40]!r} is no tensor's name")
        if not isinstance(file_name, str) or not _FILE_NAME.fullmatch(file_name):
            raise CheckpointError(f"{index} is damaged: {name} is said to be in {repr(file_name)[:80]}")
    weights, tensors = _read_shards(folder, sorted(set(weight_map.values())))
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].path.name != shard:
            raise CheckpointError(f"{folder / shard} lacks {name}, which {index.name} promises: fetch it again")
    return weights, tensors


def _read_shards(folder: Path, shards: list[str]) -> Weights:
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
    return tuple(folder / shard for shard in shards), tensors


def _tokenizer(folder: Path) -> Path:
    """tekken.json, else a SentencePiece model; of those, one whose name tells its version (tokenizer.model.v3)."""
    tekken = folder / "tekken.json"
    if tekken.is_file():
        return tekken
    versioned = sorted(p for p in folder.glob("*.model.v*") if _FILE_NAME.fullmatch(p.name) and p.is_file())
    plain = [p for p in (folder / "tokenizer.model",) if p.is_file()]
    if not versioned + plain:
        raise CheckpointError(f"{folder} holds no tokenizer: neither tekken.json nor tokenizer.model is there")
    return (versioned + plain)[0]


def same_bytes(first: SourceTensor, second: SourceTensor) -> bool:
    """Whether two tensors of a checkpoint hold the same. CheckpointError if they cannot be read."""
    if first.nbytes != second.nbytes or first.dtype != second.dtype:
        return False
    if (first.path, first.offset) == (second.path, second.offset):
        return True
    with ByteReader() as reader:
        for place in range(0, first.nbytes, _PART_BYTES):
            count = min(_PART_BYTES, first.nbytes - place)
            ours, theirs = (reader.read(tensor.path, tensor.offset + place, count) for tensor in (first, second))
            if ours != theirs:
                return False
    return True


class ByteReader:
    """Reads bytes of a checkpoint's files. Each file is opened once, and all are closed at the end of the block."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def __enter__(self) -> "ByteReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def read(self, path: Path, offset: int, n_bytes: int) -> bytes:
        """`n_bytes` bytes from `offset` on. CheckpointError if the file cannot be read or is shorter."""
        try:
            data = self._read_at(path, offset, n_bytes)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        if len(data) != n_bytes:
            raise CheckpointError(f"{path} became shorter while it was read")
        return data

    def _read_at(self, path: Path, offset: int, n_bytes: int) -> bytes:
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        handle = self._files[path]
        os.lseek(handle, offset, os.SEEK_SET)  # not pread: Windows has none, and one thread reads
        data = os.read(handle, n_bytes)
        while len(data) < n_bytes and (more := os.read(handle, n_bytes - len(data))):
            data += more
        return data
