"""How the 8-bit weights of a checkpoint are scaled: weight = number * scale, with a scale for each block of a matrix.

    written by                     numbers        scales stand in         a scale for
    llm-compressor FP8, W8A8       float8, int8   X.weight_scale          a row, the matrix, or blocks
    Hugging Face's FP8             float8         X.weight_scale_inv      the matrix, or blocks
    Mistral's own FP8              float8         X.qscale_weight         the matrix

All scales multiply, whatever their names. Which matrices are 8-bit at all is seen from their types: what the `ignore`
list of a checkpoint names is stored as ordinary floats and read as such. Scales of activations and of the KV cache are
needless here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convert.fields import Fields, shown
from convert.safetensors_file import SourceTensor
from quant.errors import CheckpointError

DTYPES = ("F8_E4M3", "I8")
SCALE_DTYPES = ("BF16", "F16", "F32")
NEEDLESS = (".input_scale", ".activation_scale", ".qscale_act", ".q_scale", ".k_scale", ".v_scale", ".output_scale")
_SCALES = (".weight_scale", ".weight_scale_inv", ".qscale_weight")
_FORMATS = ("float-quantized", "int-quantized", "naive-quantized", None)
_ADVICE = "convert the bf16 checkpoint instead"


@dataclass(frozen=True)
class Scale:
    """The scales of a matrix. `source` holds one for each block of (rows, columns) weights, in row-major order."""

    source: SourceTensor
    block: tuple[int, int]


def block_size(config: Mapping[str, Any] | None, params: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """The (rows, columns) that share a scale, where the configuration names them; None: the scales' shapes tell.

    CheckpointError for weights of other than 8 bits, or quantized in a way that minichat cannot read.
    """
    sizes: set[tuple[int, int]] = set()
    for file, values, key in (("config.json", config, "quantization_config"), ("params.json", params, "quantization")):
        method = Fields(file, values or {}).inside(key)
        if method.values:
            sizes |= _sizes(method)
    if len(sizes) > 1:
        raise CheckpointError(
            f"the weights are quantized in blocks of several sizes, which minichat cannot read: {_ADVICE}"
        )
    return sizes.pop() if sizes else None


def scale_of(
    name: str, shape: tuple[int, ...], tensors: Mapping[str, SourceTensor], block: tuple[int, int] | None
) -> Scale:
    """The scales of the 8-bit matrix `name` of a (rows, columns) shape. CheckpointError if there are none that fit."""
    stem = name.removesuffix(".weight")
    found = [tensors[stem + suffix] for suffix in _SCALES if stem + suffix in tensors]
    if len(found) != 1 or len(shape) != 2:
        raise CheckpointError(f"{name} has 8-bit weights and {len(found) or 'no'} scales: fetch the checkpoint again")
    source = found[0]
    if source.dtype not in SCALE_DTYPES:
        raise CheckpointError(
            f"{source.name} has the type {source.dtype}, and minichat reads {', '.join(SCALE_DTYPES)}"
        )
    rows, columns = shape
    if all(size == 1 for size in source.shape):
        return Scale(source, (rows, columns))
    if source.shape in ((rows,), (rows, 1)):
        return Scale(source, (1, columns))
    if block is not None and source.shape == (-(-rows // block[0]), -(-columns // block[1])):
        return Scale(source, block)
    raise CheckpointError(f"{source.name} has the shape {source.shape}, which does not fit weights of {shape}")


def _sizes(method: Fields) -> set[tuple[int, int]]:
    """The block sizes that a quantization's description names, none for scales of rows or matrices."""
    kind = method.get("quant_method")
    if kind == "compressed-tensors":
        return _compressed(method)
    if kind == "fp8" or method.get("qformat_weight") == "fp8_e4m3":
        size = method.get("weight_block_size")
        return {_pair(method, size)} if size is not None else set()
    raise CheckpointError(
        f"the weights are quantized already ({shown(kind or method.get('qformat_weight'))}), and minichat cannot read "
        f"them: {_ADVICE}"
    )


def _compressed(method: Fields) -> set[tuple[int, int]]:
    """llm-compressor's description: groups of modules, each with a scheme of its own."""
    sizes = set()
    if method.inside("sparsity_config").values.get("format", "dense") != "dense" or method.get("transform_config"):
        raise CheckpointError(f"{method.file}: sparse or rotated weights are unknown to minichat: {_ADVICE}")
    for name in method.inside("config_groups").values:
        group = method.inside("config_groups").inside(name)
        weights = group.inside("weights")
        if group.values.get("format", method.get("format")) not in _FORMATS or weights.get("num_bits") != 8:
            form = group.values.get("format", method.get("format"))
            raise CheckpointError(
                f"the weights are quantized already ({shown(form)}, {shown(weights.get('num_bits'))} bits), and "
                f"minichat reads 8 bits: {_ADVICE}"
            )
        if weights.get("symmetric") is False:
            raise CheckpointError(f"{method.file}: 8-bit weights with a zero point are unknown to minichat: {_ADVICE}")
        if weights.get("strategy") == "block":
            sizes.add(_pair(method, weights.get("block_structure")))
        elif weights.get("strategy") == "group":
            sizes.add((1, weights.size("group_size")))
    return sizes


def _pair(method: Fields, size: object) -> tuple[int, int]:
    if isinstance(size, list) and len(size) == 2:
        rows, columns = size
        if all(type(n) is int and 0 < n < 1 << 20 for n in size):
            return rows, columns
    raise CheckpointError(f"{method.file}: a block size of {shown(size)} makes no sense")
