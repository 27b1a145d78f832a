"""The files that one conversion writes at the same time: the model, and beside it what sees, if there is such a part.

Every tensor belongs to one of them, by its name. Each file is written from front to back (`convert.gguf_writer`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convert.gguf_writer import Layout, Value, Writer, lay_out
from convert.tensors import ConstantTensor, PlannedTensor
from quant.types import QuantType, Target


@dataclass(frozen=True)
class Output:
    """A file to write, decided to the last byte. `tensors` and `kinds` are in the order in which they are written."""

    tensors: Sequence[PlannedTensor | ConstantTensor]
    kinds: Sequence[QuantType]
    layout: Layout
    target: Target


def make_output(
    target: Target,
    tensors: Sequence[PlannedTensor | ConstantTensor],
    types: Mapping[str, QuantType],
    metadata: Mapping[str, Value],
) -> Output:
    """The file of these tensors, in this order, each of its type by name."""
    kinds = [types[tensor.name] for tensor in tensors]
    layout = lay_out(metadata, [(t.name, t.shape, kind) for t, kind in zip(tensors, kinds, strict=True)])
    return Output(tensors, kinds, layout, target)


class Outputs:
    """The writers of a conversion, as one. `written` and `flush` tell of each, in their order."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers
        self._by_tensor = {name: writer for writer in writers for name in writer.tensors}

    def append(self, tensor: str, data: memoryview) -> None:
        """The next bytes of a tensor: the one that its file is at."""
        self._by_tensor[tensor].append(data)

    @property
    def written(self) -> tuple[int, ...]:
        """Bytes written to each file."""
        return tuple(writer.written for writer in self._writers)

    @property
    def written_unpadded(self) -> int:
        """Bytes written to all of them, without the tensors' padding."""
        return sum(writer.written_unpadded for writer in self._writers)

    @property
    def total_unpadded(self) -> int:
        """The same of the whole files."""
        return sum(writer.total_unpadded for writer in self._writers)

    def flush(self) -> tuple[str, ...]:
        """All that was written is the system's, whatever becomes of this process; the sha256 of each so far."""
        return tuple(writer.flush() for writer in self._writers)
