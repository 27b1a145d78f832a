"""The files of weights of a checkpoint: which they are, and the tensors in them.

Hugging Face's format    model.safetensors, or the shards that model.safetensors.index.json lists
Mistral's own            consolidated.safetensors, or consolidated-00001-of-00002.safetensors ...
"""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from convert.fields import read_json
from convert.files import SUFFIX, WeightFiles
from convert.safetensors_file import SourceTensor, is_tensor_name, read_header
from quant.errors import CheckpointError

HUB, NATIVE = "model.safetensors", "consolidated.safetensors"
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_NUMBERED = re.compile(r"consolidated-(\d{5})-of-(\d{5})\.safetensors")

Weights = tuple[tuple[Path, ...], dict[str, SourceTensor]]


def has_weights(names: Collection[str], single: str) -> bool:
    """Whether there is any file of weights in the format of `single`; an index alone is none.

    >>> has_weights({"model-00001-of-00002.safetensors"}, HUB)
    True
    """
    return single in names or any(is_shard(name, single) for name in names)


def is_shard(name: str, single: str) -> bool:
    """Whether a file is called like one of several that stand for `single`."""
    stem, suffix = single.split(".")
    return fnmatchcase(name, f"{stem}-*-of-*.{suffix}")


def weights_named(names: Collection[str], single: str) -> list[str]:
    """The files of weights that are there, by their names alone: shards, if an index promises them, or `single`.

    Without an index, only the shards of Mistral's own format can be put together.

    >>> weights_named({"model.safetensors", "model.safetensors.index.json", "consolidated.safetensors"}, HUB)
    ['model.safetensors']
    """
    shards = sorted(name for name in names if is_shard(name, single))
    has_index = f"{single}.index.json" in names
    if has_index and not shards and single not in names and single == HUB:  # shards may have any names
        shards = sorted(n for n in names if n.endswith(SUFFIX) and not n.startswith("consolidated"))
    if shards and (has_index or (single == NATIVE and single not in names)):
        return shards
    return [single] if single in names else []


def read_native(folder: Path, files: WeightFiles) -> Weights:
    """Mistral's own weights: one file, shards with an index, or shards whose names tell how many there are."""
    names = files.names()
    if NATIVE in names or (folder / f"{NATIVE}.index.json").is_file():
        return read_indexed(folder, NATIVE, files)
    numbered = sorted(name for name in names if _NUMBERED.fullmatch(name))
    if not numbered:
        raise CheckpointError(f"{folder} holds no weights: neither {HUB} nor {NATIVE} is there")
    count = int(numbered[0].removesuffix(".safetensors").rsplit("-", 1)[1])
    wanted = [f"consolidated-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(min(count, 10_000))]
    return _read_shards(folder, wanted, files)


def read_indexed(folder: Path, single: str, files: WeightFiles) -> Weights:
    """One file of weights, or the shards that an index lists."""
    index, names = folder / f"{single}.index.json", files.names()
    if not index.is_file():
        if single not in names:
            lost = f": it holds shards, and lacks {index.name}" if has_weights(names, single) else ""
            raise CheckpointError(f"{folder} holds no weights{lost or f': neither {single} nor {index.name} is there'}")
        return _read_shards(folder, [single], files)
    if single in names:
        raise CheckpointError(f"{folder} holds both {single} and {index.name}: remove the one that is left over")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} is damaged: it has no weight_map")
    for name, file_name in weight_map.items():
        if not is_tensor_name(name):
            raise CheckpointError(f"{index} is damaged: {name[:40]!r} is no tensor's name")
        if not isinstance(file_name, str) or not FILE_NAME.fullmatch(file_name):
            raise CheckpointError(f"{index} is damaged: {name} is said to be in {repr(file_name)[:80]}")
    weights, tensors = _read_shards(folder, sorted(set(weight_map.values())), files)
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].path.name != shard:
            raise CheckpointError(f"{folder / shard} lacks {name}, which {index.name} promises: fetch it again")
    return weights, tensors


def _read_shards(folder: Path, shards: list[str], files: WeightFiles) -> Weights:
    names = set(files.names())
    if missing := [shard for shard in shards if shard not in names]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{folder} lacks {missing[0]}{more} of {len(shards)} shards: fetch it again")
    tensors: dict[str, SourceTensor] = {}
    for shard in shards:
        for tensor in read_header(folder / shard, files):
            if tensor.name in tensors:
                raise CheckpointError(f"{tensor.name} stands in {tensors[tensor.name].path.name} and in {shard}")
            tensors[tensor.name] = tensor
    return tuple(folder / shard for shard in shards), tensors
