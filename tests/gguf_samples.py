"""A small GGUF file with every kind of key and tensors of three types, for tests of reading and writing."""

import random
from pathlib import Path

from convert import gguf_writer as w
from quant.types import by_name

METADATA = {
    "general.architecture": w.string("llama"),
    "general.name": w.string("Überprüfung"),
    "llama.block_count": w.u32(3),
    "llama.rope.freq_base": w.f32(1e6),
    "tokenizer.ggml.add_bos_token": w.boolean(True),
    "tokenizer.ggml.tokens": w.strings(["<s>", "é", "", "Ġthe"]),
    "tokenizer.ggml.token_type": w.i32s([3, 1, 1, -1]),
    "tokenizer.ggml.scores": w.f32s([0.0, -1.5]),
}
TENSORS = [
    ("token_embd.weight", (3, 256), by_name("q4_K")),
    ("output_norm.weight", (7,), by_name("f32")),
    ("blk.0.attn_q.weight", (2, 32), by_name("q8_0")),
]


def write(path: Path, metadata: dict[str, w.Value] = METADATA, step: int = 50) -> tuple[dict[str, bytes], str]:
    """A whole file; its tensors' bytes and its sha256."""
    layout = w.lay_out(metadata, TENSORS)
    data = {t.name: random.Random(t.name).randbytes(t.nbytes) for t in layout.tensors}
    with path.open("wb") as file:
        writer = w.Writer(file, layout)
        for content in data.values():
            for place in range(0, len(content), step):
                writer.append(memoryview(content)[place : place + step])
        digest = writer.finish()
    assert path.stat().st_size == layout.file_bytes
    return data, digest
