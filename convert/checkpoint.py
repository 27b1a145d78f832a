"""A checkpoint: what describes it, its tensors by name, its tokenizer file, and where the bytes of its weights are.

    Hugging Face's format    config.json    model.safetensors, or the shards that model.safetensors.index.json lists
    Mistral's own            params.json    consolidated.safetensors, or consolidated-00001-of-00002.safetensors ...

A repo may hold both: the weights are read from one of them. Of the weights, only headers are read here. They may be
elsewhere (`convert.files`); all that describes them is in the folder.
"""

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from convert.fields import read_json
from convert.files import LocalFiles, WeightFiles
from convert.provenance import LICENCE_FILES
from convert.safetensors_file import SourceTensor
from convert.shards import FILE_NAME, HUB, NATIVE, has_weights, read_indexed, read_native, weights_named
from quant.errors import CheckpointError

DESCRIPTIONS = (
    "config.json",
    "params.json",
    "generation_config.json",
    "preprocessor_config.json",
    f"{HUB}.index.json",
    f"{NATIVE}.index.json",
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
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


def wanted_files(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """(small files, files of weights) to fetch of a repo that holds files of these names, for `open_checkpoint`.

    The small ones describe the model, its tokenizer, origin and licence. Of weights in both formats one is taken, as
    there. Pickles, which can run code when they are read, never are. CheckpointError if this is no checkpoint that
    minichat converts.

    >>> wanted_files(["README.md", "config.json", "a.bin", "model.safetensors", "tekken.json", "onnx/config.json"])
    (['config.json', 'tekken.json', 'README.md'], ['model.safetensors'])
    """
    here = {name for name in names if FILE_NAME.fullmatch(name)}
    if not here & {"config.json", "params.json"}:
        raise CheckpointError(f"it holds no checkpoint: neither config.json nor params.json is there{_instead(here)}")
    is_native = "config.json" not in here or ("params.json" in here and not has_weights(here, HUB))
    weights = weights_named(here, NATIVE if is_native else HUB)
    if not weights:
        raise CheckpointError(f"it holds no weights that minichat reads, which are safetensors{_instead(here)}")
    tokenizer = _tokenizer_named(here)
    if tokenizer is None:
        raise CheckpointError("it holds no tokenizer: neither tekken.json nor tokenizer.model is there")
    left_over = {f"{name}.index.json" for name in weights}
    small = [name for name in DESCRIPTIONS if name in here and name not in left_over]
    return [*small, tokenizer, *(name for name in ("README.md", *LICENCE_FILES) if name in here)], weights


def _instead(names: Collection[str]) -> str:
    """What is there, for an error."""
    if any(name.endswith(_PICKLES) for name in names):
        return " (its weights are pickles, which can run code when they are read: minichat never does)"
    return " (it holds GGUF files, which need no conversion)" if any(n.endswith(".gguf") for n in names) else ""


def _tokenizer(folder: Path) -> Path:
    name = _tokenizer_named({path.name for path in folder.iterdir() if path.is_file()})
    if name is None:
        raise CheckpointError(f"{folder} holds no tokenizer: neither tekken.json nor tokenizer.model is there")
    return folder / name


def _tokenizer_named(names: Collection[str]) -> str | None:
    """tekken.json, else a SentencePiece model; of those, one whose name tells its version (tokenizer.model.v3)."""
    versioned = sorted(name for name in names if fnmatchcase(name, "*.model.v*") and FILE_NAME.fullmatch(name))
    return next((name for name in ("tekken.json", *versioned, "tokenizer.model") if name in names), None)


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
