"""What a conversion will write, decided from headers before the first byte: names, shapes, types, places, the size."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.checkpoint import Checkpoint
from convert.config import ModelConfig, read_config
from convert.metadata import build_metadata, build_origin
from convert.outputs import Output, make_output
from convert.provenance import Provenance
from convert.quantization import block_size
from convert.sampling import recommended
from convert.sources import in_file_order
from convert.tensors import ConstantTensor, PlannedTensor, plan_tensors
from convert.vision_plan import make_vision_output
from convert.vocab import load_vocabulary
from quant.recipe import Model, choose
from quant.types import QuantType, Target


@dataclass(frozen=True)
class Plan:
    """A conversion: the text model's file, and that of what sees, if there is one to make.

    `tensors` are those of both, as their bytes follow each other in the checkpoint.
    """

    config: ModelConfig
    text: Output
    projector: Output | None
    tensors: Sequence[PlannedTensor | ConstantTensor]
    template: str | None
    provenance: Provenance
    set_aside: int  # tensors of the part that sees, if it is left out

    @property
    def parameters(self) -> int:
        """Of the text model."""
        return sum(math.prod(tensor.shape) for tensor in self.text.tensors if isinstance(tensor, PlannedTensor))

    @property
    def outputs(self) -> list[Output]:
        """The files that it makes, the text model first."""
        return [self.text] if self.projector is None else [self.text, self.projector]

    @property
    def kinds(self) -> dict[str, QuantType]:
        """The type of every tensor, by name."""
        return {t.name: kind for out in self.outputs for t, kind in zip(out.tensors, out.kinds, strict=True)}

    @property
    def file_bytes(self) -> int:
        """Of all files."""
        return sum(output.layout.file_bytes for output in self.outputs)


def make_plan(
    checkpoint: Checkpoint,
    target: Target,
    name: str,
    template: str,
    provenance: Provenance,
    hashes: dict[str, str],
    search: str,
    projector: Target | None = None,
) -> Plan:
    """Decide all that can be decided from headers, and refuse what cannot be converted.

    `projector`: what the part that sees is made to, if the model has one; None leaves it out.
    """
    config = read_config(checkpoint.config, checkpoint.params, checkpoint.native)
    block = block_size(checkpoint.config, checkpoint.params)
    planned = plan_tensors(config, checkpoint.tensors, checkpoint.native, block, checkpoint.files)
    vocabulary = load_vocabulary(checkpoint.tokenizer, config.vocab_size)
    if template == "auto":
        chosen = None if _is_base(name, checkpoint.folder, provenance.repo) else vocabulary.template
    else:
        chosen = None if template == "none" else template
    recipe = target.name if search == "standard" else f"{target.name}, {search} search"
    origin = build_origin(provenance, _version(), recipe, hashes)
    metadata = build_metadata(config, vocabulary, target, name, chosen, origin) | recommended(checkpoint.folder)
    model = Model(config.n_layers, config.n_heads, config.n_kv_heads)
    text: list[PlannedTensor | ConstantTensor] = [*planned.tensors, *planned.constants]
    types = choose(target, [(tensor.name, tensor.shape) for tensor in text], model)
    sight = None
    if projector is not None:
        told = build_origin(provenance, _version(), projector.name, hashes)
        sight = make_vision_output(checkpoint, config, planned, block, vocabulary, projector, name, told)
    seeing = [tensor for tensor in (sight.tensors if sight else ()) if isinstance(tensor, PlannedTensor)]
    return Plan(
        config=config,
        text=make_output(
            target, [*planned.constants, *in_file_order(planned.tensors, checkpoint.weights)], types, metadata
        ),
        projector=sight,
        tensors=[*planned.constants, *in_file_order([*planned.tensors, *seeing], checkpoint.weights)],
        template=chosen,
        provenance=provenance,
        set_aside=0 if seeing else len(planned.seeing),
    )


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("minichat")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _is_base(name: str, folder: Path, repo: str | None) -> bool:
    """Whether a model's name, its repo's, or its folder's (a hub's cache hides it two levels up) says base model.

    No file of a checkpoint tells: base models come with the tokenizer of the instruct ones. The base models of
    Mistral 7B are those whose names do not say "instruct".
    """
    parts = folder.resolve().parts
    names = (
        name,
        (repo or "").rsplit("/", 1)[-1],
        parts[-1],
        *(part for part in parts[-3:-2] if part.startswith("models--")),
    )
    words = [re.split(r"[^a-z0-9.]+", text.lower()) for text in names]
    if any("base" in of_name for of_name in words):
        return True
    is_7b = any("7b" in of_name and any(re.fullmatch(r"v0\.\d", word) for word in of_name) for of_name in words)
    return is_7b and not any("instruct" in text.lower() for text in names)
