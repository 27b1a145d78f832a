"""What a conversion tells: how far it is, and what it made."""

from dataclasses import dataclass
from pathlib import Path

CHECKING = "checking what is there"  # in the place of a tensor, while an earlier run's work is read again


@dataclass(frozen=True)
class Progress:
    """How far the output is: bytes made, bytes in all, and the tensor under way. `hint`: how it would go faster.

    `source_done_bytes`, `source_total_bytes`: of the files of weights, those read, with what was read before an
    interruption, and all.
    """

    done_bytes: int
    total_bytes: int
    tensor: str
    hint: str = ""
    source_done_bytes: int = 0
    source_total_bytes: int = 0


@dataclass(frozen=True)
class TensorReport:
    """One tensor of the file.

    `relative_error`: the root mean square of what quantizing changed, over that of the weights; 0 if not measured.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    size_bytes: int
    relative_error: float


@dataclass(frozen=True)
class Report:
    """What was made. `template` is the version of the instruct template, None for a base model.

    `notice`: a line that the licence wants told. `remarks`: what a person is to be told once. `projector`: the file of
    what sees, made besides, of the type `projector_target`, if the model sees.
    """

    path: Path
    size_bytes: int
    sha256: str
    target: str
    architecture: str
    template: str | None
    parameters: int
    context_length: int
    licence: str | None
    notice: str | None
    remarks: tuple[str, ...]
    tensors: tuple[TensorReport, ...]
    projector: Path | None = None
    projector_bytes: int = 0
    projector_sha256: str | None = None
    projector_target: str | None = None
    projector_tensors: tuple[TensorReport, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        """Of the weights alone, without the header."""
        return 8 * sum(tensor.size_bytes for tensor in self.tensors) / self.parameters
