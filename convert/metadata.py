"""The keys of the GGUF: what the model is, where it came from, its shape, its vocabulary, and which template it was
trained on.

Names and meanings are those of the GGUF specification; `minichat.*` are ours. Every key is written with the type that
llama.cpp reads it as.

    minichat.template         version of the instruct template; absent for a base model
    minichat.version          of the program that made the file
    minichat.recipe           how the types of the tensors were chosen: the target, and the search if it is no standard
    minichat.source.repo, minichat.source.revision                 on the hub, if the checkpoint's folder tells
    minichat.source.files, minichat.source.sha256                  what was read, and its hashes
    minichat.notice           a line that the licence wants to travel with every copy
"""

from collections.abc import Mapping

from convert.config import ModelConfig
from convert.gguf_writer import Value, boolean, bools, f32, f32s, i32s, string, strings, u32
from convert.provenance import Provenance
from convert.vocab import Vocabulary
from quant.types import Target

TEMPLATE_KEY = "minichat.template"
HASHES_KEY = "minichat.source.sha256"
QUANTIZATION_VERSION = 2  # of ggml's block formats


def build_metadata(
    config: ModelConfig,
    vocabulary: Vocabulary,
    target: Target,
    name: str,
    template: str | None,
    origin: Mapping[str, Value],
) -> dict[str, Value]:
    """All keys, in the order in which they are written. `template` None: a base model, which has none."""
    metadata = {
        "general.architecture": string(config.architecture),
        "general.type": string("model"),
        "general.name": string(name),
        "general.file_type": u32(target.file_type),
        "general.quantization_version": u32(QUANTIZATION_VERSION),
        **origin,
        **{f"{config.architecture}.{key}": value for key, value in _shape(config).items()},
        **{f"tokenizer.ggml.{key}": value for key, value in _tokenizer(vocabulary).items()},
    }
    if template is not None:
        metadata[TEMPLATE_KEY] = string(template)
    return metadata


def build_origin(provenance: Provenance, version: str, recipe: str, hashes: Mapping[str, str]) -> dict[str, Value]:
    """The keys that say where a file came from. `hashes`: the sha256 of every source file, by name."""
    texts = {
        "general.license": provenance.licence,
        "general.license.name": provenance.licence_name,
        "general.license.link": provenance.licence_link,
        "minichat.version": version,
        "minichat.recipe": recipe,
        "minichat.source.repo": provenance.repo,
        "minichat.source.revision": provenance.revision,
        "minichat.notice": provenance.notice,
    }
    keys = {key: string(text) for key, text in texts.items() if text is not None}
    return keys | {"minichat.source.files": strings(list(hashes)), HASHES_KEY: strings(list(hashes.values()))}


def _shape(config: ModelConfig) -> dict[str, Value]:
    keys = {
        "block_count": u32(config.n_layers),
        "context_length": u32(config.context_length),
        "embedding_length": u32(config.hidden),
        "feed_forward_length": u32(config.feed_forward),
        "vocab_size": u32(config.vocab_size),
        "attention.head_count": u32(config.n_heads),
        "attention.head_count_kv": u32(config.n_kv_heads),
        "attention.key_length": u32(config.head_dim),
        "attention.value_length": u32(config.head_dim),
        "attention.layer_norm_rms_epsilon": f32(config.norm_eps),
        "rope.dimension_count": u32(config.head_dim),
        "rope.freq_base": f32(config.rope_theta),
    }
    if config.attention.window:
        keys["attention.sliding_window"] = u32(config.attention.window)
        keys["attention.sliding_window_pattern"] = bools(config.attention.sliding)
        keys["logit_scale"] = f32(1.0)  # Granite's graph divides by it
    return keys


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Value]:
    keys = {
        "model": string(vocabulary.model),
        "pre": string(vocabulary.pre),
        "tokens": strings(vocabulary.tokens),
        "token_type": i32s(vocabulary.types),
        "bos_token_id": u32(vocabulary.bos),
        "eos_token_id": u32(vocabulary.eos),
        "unknown_token_id": u32(vocabulary.unknown),
        "add_bos_token": boolean(True),
        "add_eos_token": boolean(False),
        "add_space_prefix": boolean(vocabulary.space_prefix),
    }
    if vocabulary.pad is not None:
        keys["padding_token_id"] = u32(vocabulary.pad)
    if vocabulary.merges is not None:
        keys["merges"] = strings(vocabulary.merges)
    if vocabulary.scores is not None:
        keys["scores"] = f32s(vocabulary.scores)
    return keys
