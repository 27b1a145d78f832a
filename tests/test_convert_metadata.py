"""Keys and their types, held against gguf's writer, which llama.cpp's own converter uses."""

from pathlib import Path
from typing import Any

import gguf
import pytest
from checkpoints import config

from convert.config import ModelConfig, parse_config
from convert.gguf_writer import Writer, lay_out
from convert.metadata import build_metadata
from convert.vocab import Vocabulary
from quant.types import parse_target

VOCABULARY = Vocabulary(
    model="gpt2", pre="tekken", tokens=["<unk>", "<s>", "</s>", "a"], types=[3, 3, 3, 1], merges=["a b"], bos=1, eos=2,
    unknown=0, pad=3, template="v7-tekken",
)  # fmt: skip
PIECES = Vocabulary(
    model="llama", tokens=["<unk>", "<s>", "</s>", "a"], types=[2, 3, 3, 1], scores=[0.0, 0.0, 0.0, -1.0], bos=1, eos=2,
    unknown=0, pad=None, template="v3", space_prefix=True,
)  # fmt: skip


def official(path: Path, model: ModelConfig, vocabulary: Vocabulary) -> None:
    """The same keys through gguf's named methods."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("demo")
    writer.add_file_type(15)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(model.n_layers)
    writer.add_context_length(model.context_length)
    writer.add_embedding_length(model.hidden)
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_vocab_size(model.vocab_size)
    writer.add_head_count(model.n_heads)
    writer.add_head_count_kv(model.n_kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_layer_norm_rms_eps(model.norm_eps)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_unk_token_id(vocabulary.unknown)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(vocabulary.space_prefix)
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    writer.add_string("minichat.template", vocabulary.template or "")
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


def keys(path: Path) -> dict[str, tuple[Any, Any]]:
    fields = gguf.GGUFReader(path).fields
    return {name: (field.types, field.contents()) for name, field in fields.items() if not name.startswith("GGUF.")}


@pytest.mark.parametrize("vocabulary", [VOCABULARY, PIECES], ids=["tekken", "sentencepiece"])
def test_keys_and_types_are_the_formats(tmp_path: Path, vocabulary: Vocabulary) -> None:
    model = parse_config(config(vocab=4))
    metadata = build_metadata(model, vocabulary, parse_target("q4_K_M"), "demo", vocabulary.template, {})
    with (tmp_path / "ours.gguf").open("wb") as file:
        Writer(file, lay_out(metadata, []))
    official(tmp_path / "theirs.gguf", model, vocabulary)
    assert keys(tmp_path / "ours.gguf") == keys(tmp_path / "theirs.gguf")


def test_a_base_model_has_no_template() -> None:
    metadata = build_metadata(parse_config(config(vocab=4)), VOCABULARY, parse_target("f32"), "demo", None, {})
    assert "minichat.template" not in metadata
