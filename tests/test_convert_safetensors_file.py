import json
import random
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import SHARDED, write_safetensors

from convert.files import LocalFiles
from convert.safetensors_file import SourceTensor
from convert.safetensors_file import read_header as read_header_of
from quant.errors import CheckpointError

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.ones((4,), np.float16)


def read_header(path: Path) -> list[SourceTensor]:
    with closing(LocalFiles(path.parent)) as files:
        return read_header_of(path, files)


def test_names_shapes_and_places(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": A, "b": B})
    content = path.read_bytes()
    found = read_header(path)
    assert [(t.name, t.dtype, t.shape) for t in found] == [("a", "F32", (2, 3)), ("b", "F16", (4,))]
    for tensor, values in zip(found, (A, B), strict=True):
        assert content[tensor.offset : tensor.offset + tensor.nbytes] == values.tobytes()


def test_a_file_that_transformers_wrote() -> None:
    found = read_header(SHARDED / "model-00003-of-00003.safetensors")
    assert [(t.name, t.dtype, t.shape) for t in found] == [("lm_head.weight", "BF16", (1280, 256))]


def change(name: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(header: dict[str, Any]) -> None:
        header[name][key] = value

    return apply


def move(header: dict[str, Any]) -> None:
    header["b"]["data_offsets"] = [16, 24]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another size": (change("a", "shape", [2, 4]), "has the bytes"),
    "an unknown type": (change("a", "dtype", "F12"), "makes no sense"),
    "a type that is no text": (change("a", "dtype", ["F32"]), "makes no sense"),
    "a negative size": (change("a", "shape", [-2, -3]), "makes no sense"),
    "a size of true": (change("a", "shape", [True, 6]), "makes no sense"),
    "a size beyond all": (change("a", "shape", [1 << 60, 1 << 60]), "makes no sense"),
    "no shape": (lambda h: h["a"].pop("shape"), "makes no sense"),
    "an entry that is no object": (lambda h: h.update(a=3), "makes no sense"),
    "one offset": (change("a", "data_offsets", [24]), "has the bytes"),
    "overlapping": (move, "does not begin where"),
    "past the end": (change("b", "data_offsets", [1000, 1008]), "reaches past its end"),
    "bytes of no tensor": (lambda h: h.pop("b"), "belong to no tensor"),
    "a gap": (lambda h: h.pop("a"), "does not begin where"),
}


@pytest.mark.parametrize("case", WRONG)
def test_headers_that_disagree_with_the_file(tmp_path: Path, case: str) -> None:
    apply, message = WRONG[case]
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": A, "b": B}, apply)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


def raw(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


@pytest.mark.parametrize(
    "content",
    [
        b"", b"1234567", bytes(8), raw(b"{", 1 << 63), raw(b"[1]"), raw(b"\xff\xfe"), raw(b"[" * 200_000), raw(b"3"),
        raw(b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    ],
)  # fmt: skip
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_header(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_header(tmp_path / "a.safetensors")


def test_every_truncation_is_found(tmp_path: Path) -> None:
    whole, cut = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_safetensors(whole, {"a": A, "b": B})
    content = whole.read_bytes()
    for size in range(0, len(content), 3):
        cut.write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            read_header(cut)


def test_mutated_headers_are_read_or_refused(tmp_path: Path) -> None:
    whole, mutant = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_safetensors(whole, {"a": A, "b": B})
    content = whole.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert json.loads(content[8 : 8 + length])
    rng = random.Random(1)
    for _ in range(300):
        bad = bytearray(content)
        bad[rng.randrange(8 + length)] = rng.choice(b'0123456789"{}[],:x\xff\x00')
        mutant.write_bytes(bad)
        try:
            found = read_header(mutant)
        except CheckpointError:
            continue
        assert all(t.offset + t.nbytes <= len(bad) for t in found)


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "\u202ea", "\ud800", "n" * 201])
def test_a_name_that_no_error_could_show(tmp_path: Path, name: str) -> None:
    text = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"x")
    with pytest.raises(CheckpointError, match="is no tensor's name") as error:
        read_header(tmp_path / "a.safetensors")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < len(str(tmp_path)) + 100
