"""What a conversion will write of the part of a model that sees: its file, an mmproj, decided from headers."""

from collections.abc import Mapping
from pathlib import Path

from convert.checkpoint import Checkpoint
from convert.config import ModelConfig
from convert.gguf_writer import Value
from convert.outputs import Output, make_output
from convert.sources import in_file_order
from convert.tensors import TensorPlan
from convert.vision import VisionConfig, read_vision, sees
from convert.vision_metadata import build_vision_metadata
from convert.vision_tensors import BREAK_MARK, plan_vision
from convert.vocab import Vocabulary
from quant.errors import CheckpointError
from quant.recipe import choose_vision
from quant.types import Target


def make_vision_output(
    checkpoint: Checkpoint,
    config: ModelConfig,
    planned: TensorPlan,
    block: tuple[int, int] | None,
    vocabulary: Vocabulary,
    target: Target,
    name: str,
    origin: Mapping[str, Value],
) -> Output | None:
    """The file of what sees; None of a text model. `config`, `planned`, `block`, `vocabulary`: of its text model.

    CheckpointError for what cannot be converted; it tells that the text model may be made alone.
    """
    try:
        vision = _vision(checkpoint, config, planned)
        if vision is None:
            return None
        break_id = _break_id(vision, vocabulary, checkpoint.tokenizer)
        tensors = plan_vision(vision, planned.seeing, planned.tensors[0], break_id, checkpoint.native, block)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or make the text model alone (--mmproj none)") from error
    types = choose_vision(target, [(tensor.name, tensor.shape) for tensor in tensors])
    metadata = build_vision_metadata(vision, target, name, origin)
    return make_output(target, in_file_order(tensors, checkpoint.weights), types, metadata)


def _vision(checkpoint: Checkpoint, config: ModelConfig, planned: TensorPlan) -> VisionConfig | None:
    """What sees; None in a text model. CheckpointError if its tensors are there and nothing describes them."""
    if sees(checkpoint.config, checkpoint.params, checkpoint.native):
        return read_vision(checkpoint.config, checkpoint.params, checkpoint.native, config, checkpoint.folder)
    if planned.seeing:
        file, key = ("params.json", "vision_encoder") if checkpoint.native else ("config.json", "vision_config")
        first = next(iter(planned.seeing.values())).name
        raise CheckpointError(f"the tensor {first} is there, and {file} has no {key}: fetch both again")
    return None


def _break_id(vision: VisionConfig, vocabulary: Vocabulary, tokenizer: Path) -> int:
    """The id of [IMG_BREAK], whose embedding stands behind each row of a picture."""
    if BREAK_MARK not in vocabulary.tokens:
        raise CheckpointError(f"{tokenizer} has no token {BREAK_MARK}, and the model sees: fetch it again")
    found = vocabulary.tokens.index(BREAK_MARK)
    if vision.break_id not in (None, found):
        raise CheckpointError(
            f"params.json: image_break_token_id is {vision.break_id}, and {tokenizer} has {BREAK_MARK} at {found}"
        )
    return found
