import hashlib
import io
from pathlib import Path

import gguf
import pytest
from gguf_samples import METADATA, TENSORS, write

from convert import gguf_writer as w


def test_another_reader_finds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    data, _ = write(path)
    reader = gguf.GGUFReader(path)
    assert [t.name for t in reader.tensors] == [name for name, _, _ in TENSORS]
    for tensor, (_, shape, kind) in zip(reader.tensors, TENSORS, strict=True):
        assert tensor.data.tobytes() == data[tensor.name]
        assert tuple(tensor.shape) == shape[::-1]
        assert int(tensor.tensor_type) == kind.ggml_id
    for key, value in METADATA.items():
        assert (
            reader.fields[key].contents() == pytest.approx(value.value) or reader.fields[key].contents() == value.value
        )


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    _, digest = write(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_the_writer_holds_to_the_plan() -> None:
    writer = w.Writer(io.BytesIO(), w.lay_out({}, TENSORS))
    with pytest.raises(ValueError, match="were planned"):
        writer.finish()
    with pytest.raises(ValueError, match=r"token_embd.weight: 433 bytes where 432 were planned"):
        writer.append(memoryview(bytes(433)))
