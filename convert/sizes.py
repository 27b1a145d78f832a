"""How large a GGUF would become, from the description of its model alone: no weights, no vocabulary, no network.

Exact but for the header, most of which is the vocabulary: every token's text and type, and in Tekken's, the large ones,
its merge.
"""

import math
from collections.abc import Iterable

from convert.config import ModelConfig
from convert.gguf_file import padded
from convert.tensors import expected_tensors
from convert.vision import VisionConfig
from convert.vision_tensors import BREAK, expected
from quant.recipe import Model, choose, choose_vision
from quant.types import Target, parse_target

_BYTES_PER_TOKEN, _BYTES_PER_TEKKEN_TOKEN = 23, 60  # measured with Mistral's vocabularies
_MAX_SENTENCEPIECE = 65_536  # tokens
_BYTES_PER_TENSOR = 80


def sizes_of(config: ModelConfig, targets: Iterable[str]) -> dict[str, int]:
    """The size in bytes of the GGUF of such a model for each target."""
    shapes = [(name, shape) for name, _, shape, _ in expected_tensors(config, native=True)]
    model = Model(config.n_layers, config.n_heads, config.n_kv_heads)
    per_token = _BYTES_PER_TOKEN if config.vocab_size <= _MAX_SENTENCEPIECE else _BYTES_PER_TEKKEN_TOKEN
    header = per_token * config.vocab_size + _BYTES_PER_TENSOR * len(shapes)
    found = {}
    for name in targets:
        types = choose(parse_target(name), shapes, model)
        found[name] = header + sum(padded(types[tensor].nbytes(math.prod(shape))) for tensor, shape in shapes)
    return found


def vision_size(vision: VisionConfig, target: Target) -> int:
    """The size in bytes of the file of what sees."""
    shapes = [*((name, shape) for name, _, shape, _ in expected(vision, native=True)), (BREAK, (vision.text_width,))]
    types = choose_vision(target, shapes)
    return sum(padded(types[name].nbytes(math.prod(shape))) + _BYTES_PER_TENSOR for name, shape in shapes)
