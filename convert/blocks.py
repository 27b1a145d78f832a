"""The bytes of a checkpoint's rows to the blocks of a GGUF tensor: the work of the pool's threads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.dequantize import apply_scales, to_float32
from convert.quantization import Scale
from convert.tensors import ConstantTensor, PlannedTensor, interleave_pairs
from quant.errors import UsageError
from quant.kernels import dequantize, fast_kernels_installed, make_quantizer, pack_q8_0
from quant.types import QuantType

_COMPILED = ("q4_K", "q5_K", "q6_K")
_WORTH_A_HINT = 200_000_000  # weights: some ten seconds


@dataclass(frozen=True)
class Made:
    """Blocks of some rows: (bytes,) uint8. The sums are those of squares over these rows; 0 unless measured."""

    blocks: NDArray[np.uint8]
    squared_error: float = 0.0
    squared_weights: float = 0.0


class Maker:
    """Makes blocks, on any number of threads, of tensors of these `kinds`, by name. `search`: see `quant.kernels`;
    `measure`: compare with the source.

    UsageError for a search that there is not, or that is of no use here.
    """

    def __init__(
        self,
        tensors: Sequence[PlannedTensor | ConstantTensor],
        kinds: Mapping[str, QuantType],
        search: str,
        measure: bool,
    ) -> None:
        self._kinds = kinds
        self.measures = measure
        if search == "fine" and all(kind.name != "q4_K" for kind in kinds.values()):
            raise UsageError("the fine search is for q4_K, and nothing of this becomes that: leave --search out")
        of_compiled = [tensor for tensor in tensors if kinds[tensor.name].name in _COMPILED]
        n_weights = sum(math.prod(tensor.shape) for tensor in of_compiled)
        self._quantizer = make_quantizer(n_weights, search)
        is_slow = n_weights >= _WORTH_A_HINT and not fast_kernels_installed()
        self.hint = "compiled kernels are faster: pip install 'minichat[fast]'" if is_slow else ""

    def settle(self) -> None:
        """Get the kernels ready, where that is soon. To be called before the work begins."""
        self._quantizer.settle()

    def constant(self, tensor: ConstantTensor) -> Made:
        """A whole tensor of one value."""
        rows = np.full((1, math.prod(tensor.shape)), tensor.value, np.float32)  # (1, columns)
        return Made(self._quantizer.quantize(rows, self._kinds[tensor.name], tensor.name))

    def make(self, tensor: PlannedTensor, first_row: int, data: bytes, scales: bytes | None) -> Made:
        """Blocks of the rows from `first_row` on.

        `data` and `scales` are as they stand in the checkpoint; of the scales, those of these rows.
        """
        kind, columns = self._kinds[tensor.name], tensor.shape[-1]
        if scales is not None and tensor.scale is not None:
            factors = to_float32(scales, tensor.scale.source.dtype)
            packed = self._packed(tensor, tensor.scale, data, factors)
            if packed is not None:
                return packed
            rows = to_float32(data, tensor.source.dtype).reshape(-1, columns)  # (rows, columns)
            apply_scales(
                rows, _table(tensor.scale, factors, columns), tensor.scale.block, first_row % tensor.scale.block[0]
            )
        elif tensor.source.dtype == "BF16":
            rows = np.frombuffer(data, "<u2").reshape(-1, columns)  # the kernels read bfloat16 bits
        else:
            rows = to_float32(data, tensor.source.dtype).reshape(-1, columns)
        rows = interleave_pairs(rows, tensor.head_rows) if tensor.head_rows else rows
        blocks = self._quantizer.quantize(rows, kind, tensor.source.name)
        return Made(blocks, *self._errors(rows, blocks, kind))

    def _packed(self, tensor: PlannedTensor, scale: Scale, data: bytes, factors: NDArray[np.float32]) -> Made | None:
        """int8 rows with a scale each are Q8_0 already, but for the layout."""
        kind = self._kinds[tensor.name]
        is_of_rows = scale.block in ((1, tensor.shape[1]), tensor.shape)
        if kind.name != "q8_0" or tensor.source.dtype != "I8" or not is_of_rows:
            return None
        codes = np.frombuffer(data, np.int8).reshape(-1, tensor.shape[-1])  # (rows, columns)
        of_rows = np.broadcast_to(factors.reshape(-1), codes.shape[:1])  # (rows,)
        if tensor.head_rows:
            codes = interleave_pairs(codes, tensor.head_rows)
            of_rows = interleave_pairs(of_rows[:, None], tensor.head_rows).reshape(-1)
        blocks = pack_q8_0(codes, np.ascontiguousarray(of_rows))
        if blocks is None:
            return None
        rows = codes.astype(np.float32) * of_rows[:, None] if self.measures else codes
        return Made(blocks, *self._errors(rows, blocks, kind))

    def _errors(self, rows: NDArray[Any], blocks: NDArray[np.uint8], kind: QuantType) -> tuple[float, float]:
        if not self.measures:
            return 0.0, 0.0
        weights = to_float32(rows.tobytes(), "BF16") if rows.dtype == np.uint16 else rows.reshape(-1)  # (n,)
        error = dequantize(blocks, kind) - weights  # (n,)
        return float(np.vdot(error, error)), float(np.vdot(weights, weights))


def _table(scale: Scale, factors: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """The scales of a matrix as (row blocks, column blocks)."""
    return factors.reshape(-1, -(-columns // scale.block[1]))
