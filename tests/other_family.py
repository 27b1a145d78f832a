"""A GGUF of another family: a small model with ChatML, and a vocabulary that is not Mistral's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NAMES = {3: "<|im_start|>", 4: "<|im_end|>"}


def write(
    source: Path,
    path: Path,
    template: str | None = CHATML,
    symbols: Collection[int] = (),
    names: Mapping[int, str] = NAMES,
    add_bos: bool = False,
    pre: str = "qwen2",
    title: str = "Another model",
) -> Path:
    """`source` (minichat's own) again, as of another family.

    symbols: the tokens that get the type of a symbol. names: the tokens that get another name. add_bos: whether the
    file wants BOS, token 1, before a prompt. pre: how its vocabulary cuts texts into words, if it is a BPE. title: the
    model's name; llama.cpp knows some.
    """
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "llama")
    tokens = list(reader.fields["tokenizer.ggml.tokens"].contents())
    types = list(reader.fields["tokenizer.ggml.token_type"].contents())
    for token, name in names.items():
        tokens[token] = name
    for token in symbols:
        types[token] = 4
    changed: dict[str, Any] = {"tokens": tokens, "token_type": types, "pre": pre, "eos_token_id": 4}
    for key, field in reader.fields.items():
        name = key.removeprefix("tokenizer.ggml.")
        passed_over = ("GGUF.", "minichat.", "general.architecture", "general.name", "tokenizer.ggml.add_bos")
        if key.startswith(passed_over):
            continue
        value = changed.get(name, field.contents()) if key.startswith("tokenizer.ggml.") else field.contents()
        writer.add_key_value(key, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    writer.add_name(title)
    writer.add_bool("tokenizer.ggml.add_bos_token", add_bos)
    if template is not None:
        writer.add_chat_template(template)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
