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


def test_a_value_that_is_known_at_the_end_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    before = {**METADATA, "late": w.strings(["0" * 64, "?"])}
    layout = w.lay_out(before, TENSORS)
    late = layout.with_value("late", w.strings(["abcd" * 16, "!"]))
    with path.open("w+b") as file:
        writer = w.Writer(file, layout, hashing=False)
        for tensor in layout.tensors:
            writer.append(memoryview(bytes(tensor.nbytes)))
        digest = writer.finish(late.header)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    reader = gguf.GGUFReader(path)
    assert reader.fields["late"].contents() == ["abcd" * 16, "!"]
    for key, value in METADATA.items():
        assert reader.fields[key].contents() == pytest.approx(value.value)
    assert late.header == w.lay_out({**METADATA, "late": w.strings(["abcd" * 16, "!"])}, TENSORS).header


def test_a_header_of_another_size_is_a_defect(tmp_path: Path) -> None:
    layout = w.lay_out({}, [])
    with (tmp_path / "a.gguf").open("w+b") as file, pytest.raises(ValueError, match="were planned"):
        w.Writer(file, layout).finish(layout.header + b"x")
