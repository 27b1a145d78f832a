import random
import struct
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_samples import METADATA, TENSORS, write

from convert import gguf_writer as w
from convert.gguf_file import LeadingKeys, read_header, read_leading_keys
from quant.errors import GgufError


def test_our_reader_finds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    data, _ = write(path)
    header = read_header(path)
    assert header.metadata == {key: pytest.approx(v.value) if v.kind == 6 else v.value for key, v in METADATA.items()}
    assert [(t.name, t.shape, t.kind) for t in header.tensors] == TENSORS
    content = path.read_bytes()
    for tensor in header.tensors:
        start = header.data_offset + tensor.offset
        assert content[start : start + tensor.nbytes] == data[tensor.name]
    assert header.file_bytes == len(content)


def test_our_reader_reads_what_another_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("a", 200)
    writer.add_int16("b", -3)
    writer.add_uint64("c", 1 << 40)
    writer.add_float64("d", 0.1)
    writer.add_custom_alignment(64)
    writer.add_array("e", [True, False])
    writer.add_array("f", ["x", "yé"])
    writer.add_tensor("t", np.ones((3, 5), np.float16))
    writer.add_tensor("u", np.ones((2, 3, 4), np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    header = read_header(path)
    assert {key: header.metadata[key] for key in "abcdef"} == {
        "a": 200, "b": -3, "c": 1 << 40, "d": 0.1, "e": [True, False], "f": ["x", "yé"],
    }  # fmt: skip
    assert [(t.name, t.shape, t.type_id, t.offset) for t in header.tensors] == [
        ("t", (3, 5), 1, 0),
        ("u", (2, 3, 4), 0, 64),
    ]


def header_with(tmp_path: Path, body: bytes, n_tensors: int = 0, n_keys: int = 0, version: int = 3) -> Path:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + body)
    return path


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def array(kind: int, count: int, body: bytes = b"") -> bytes:
    return text(b"k") + struct.pack("<IIQ", 9, kind, count) + body


def tensor(name: bytes = b"t", sizes: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


HUGE = (1 << 64) - 1
HOSTILE: dict[str, tuple[bytes, dict[str, int], str]] = {
    "tensors without end": (b"", {"n_tensors": HUGE}, "it claims"),
    "keys without end": (b"", {"n_keys": HUGE}, "it claims"),
    "more keys than bytes": (b"", {"n_keys": 60000}, "cut short"),
    "a key of all memory": (struct.pack("<Q", HUGE), {"n_keys": 1}, "bytes long"),
    "a string of all memory": (text(b"k") + struct.pack("<IQ", 8, HUGE), {"n_keys": 1}, "cut short"),
    "an array of all memory": (array(4, HUGE), {"n_keys": 1}, "too many values"),
    "an array of strings of all memory": (array(8, 1 << 22), {"n_keys": 1}, "cut short"),
    "a string in an array of all memory": (array(8, 1, struct.pack("<Q", HUGE)), {"n_keys": 1}, "cut short"),
    "an array longer than the file": (array(10, 1 << 20), {"n_keys": 1}, "cut short"),
    "arrays of arrays": (array(9, 1, struct.pack("<IQ", 9, 1) * 9), {"n_keys": 1}, "array has the type 9"),
    "an unknown type": (text(b"k") + struct.pack("<I", 77), {"n_keys": 1}, "unknown type 77"),
    "a key twice": ((text(b"k") + struct.pack("<IB", 7, 1)) * 2, {"n_keys": 2}, "twice"),
    "a key that is no text": (text(b"\xff") + struct.pack("<IB", 7, 1), {"n_keys": 1}, "not UTF-8"),
    "an alignment of 0": (text(b"general.alignment") + struct.pack("<II", 4, 0), {"n_keys": 1}, "alignment is 0"),
    "a text for an alignment": (
        text(b"general.alignment") + struct.pack("<I", 8) + text(b"x"),
        {"n_keys": 1},
        "alignment",
    ),
    "an old version": (b"", {"version": 1}, "its version is 1"),
    "the other byte order": (b"", {"version": 3 << 24}, "its version is"),
    "no dimensions": (tensor(sizes=()), {"n_tensors": 1}, "0 dimensions"),
    "too many dimensions": (tensor(sizes=(1,) * 5), {"n_tensors": 1}, "5 dimensions"),
    "an empty tensor": (tensor(sizes=(32, 0)), {"n_tensors": 1}, "cannot be"),
    "sizes that overflow": (tensor(sizes=(1 << 62, 1 << 62)), {"n_tensors": 1}, "past its end"),
    "a row of half a block": (tensor(sizes=(100,), kind=12), {"n_tensors": 1}, "cannot be of type q4_K"),
    "an unknown tensor type": (tensor(kind=4), {"n_tensors": 1}, "unknown tensor type 4"),
    "an odd offset": (tensor(offset=5), {"n_tensors": 1}, "no multiple of 32"),
    "a tensor past the end": (tensor(), {"n_tensors": 1}, "past its end"),
    "a tensor twice": (tensor() + tensor(offset=128) + bytes(500), {"n_tensors": 2}, "twice"),
    "tensors one over another": (tensor() + tensor(b"u", offset=32) + bytes(500), {"n_tensors": 2}, "overlaps"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    body, counts, message = HOSTILE[case]
    path = header_with(tmp_path, body, **counts)
    start = time.process_time()
    with pytest.raises(GgufError, match=message) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("content", [b"", b"GG", b"GGUF", b"PK\x03\x04" + bytes(99), b"GGUF" + bytes(47), b"\n" * 51])
def test_files_that_are_no_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match="is no usable GGUF file"):
        read_header(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="does not exist"):
        read_header(tmp_path / "a.gguf")
    with pytest.raises(GgufError, match="cannot be read"):
        read_header(tmp_path)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    whole, cut = tmp_path / "a.gguf", tmp_path / "b.gguf"
    write(whole)
    content = whole.read_bytes()
    header = read_header(whole)
    last = max(t.offset + t.nbytes for t in header.tensors) + header.data_offset
    for size in [*range(0, header.data_offset, 5), last - 1]:
        cut.write_bytes(content[:size])
        with pytest.raises(GgufError):
            read_header(cut)


def test_mutations_are_read_or_refused_in_bounded_time(tmp_path: Path) -> None:
    whole, mutant = tmp_path / "a.gguf", tmp_path / "b.gguf"
    write(whole)
    content = whole.read_bytes()
    header_bytes = read_header(whole).data_offset
    rng = random.Random(5)
    start, refused = time.process_time(), 0
    for _ in range(400):
        bad = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(header_bytes)
            bad[place : place + rng.choice((1, 4, 8))] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        mutant.write_bytes(bad)
        try:
            check_sound(read_header(mutant), len(bad))
        except GgufError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200
    assert time.process_time() - start < 30


def check_sound(header: Any, size: int) -> None:
    for info in header.tensors:
        assert header.data_offset + info.offset + info.nbytes <= size


def test_a_large_vocabulary_is_read_across_the_steps(tmp_path: Path) -> None:
    """Strings that lie over the ends of the pieces that the reader fetches."""
    tokens = [f"token {n} " + "x" * (n % 41) for n in range(100_000)]
    write(tmp_path / "a.gguf", {**METADATA, "tokenizer.ggml.tokens": w.strings(tokens)}, step=1000)
    header = read_header(tmp_path / "a.gguf")
    assert header.metadata["tokenizer.ggml.tokens"] == tokens
    assert header.metadata["tokenizer.ggml.scores"] == [0.0, -1.5]


# Keys as bytes, with their values: the oracle for headers that are cut. The last array goes on far behind the cuts.
KEYS: list[tuple[bytes, str, Any]] = [
    (text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"), "general.architecture", "llama"),
    (text(b"llama.block_count") + struct.pack("<II", 4, 40), "llama.block_count", 40),
    (text(b"n") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3), "n", [1, -2, 3]),
    (text(b"t") + struct.pack("<IIQ", 9, 8, 2) + text("é".encode()) + text(b""), "t", ["é", ""]),
    (text(b"b") + struct.pack("<IB", 7, 1), "b", True),
    (text(b"llama.context_length") + struct.pack("<IQ", 10, 4096), "llama.context_length", 4096),
    (text(b"tokens") + struct.pack("<IIQ", 9, 8, 5000) + b"".join(text(b"x") for _ in range(5000)), "tokens", None),
]
LEADING = b"GGUF" + struct.pack("<IQQ", 3, 1, len(KEYS) + 5) + b"".join(data for data, _, _ in KEYS)
SHOWN = 700  # bytes, of which the last are of the tokens


def leading(head: bytes, file_bytes: int = 1 << 34) -> LeadingKeys:
    return read_leading_keys(head, file_bytes, "org/repo/x.gguf")


def test_the_keys_before_a_cut_are_those_that_are_whole() -> None:
    ends, place = [], 24
    for data, _, _ in KEYS:
        place += len(data)
        ends.append(place)
    arrays = {"n": (ends[1], 3), "t": (ends[2], 2), "tokens": (ends[5], 5000)}  # where the key begins, how many
    for cut in range(SHOWN):
        found = leading(LEADING[:cut])
        whole = [(key, value) for (_, key, value), end in zip(KEYS, ends, strict=True) if end <= cut]
        assert list(found.metadata.items()) == whole
        told = {key: n for key, (begin, n) in arrays.items() if begin + 8 + len(key) + 4 + 4 + 8 <= cut}
        assert found.lengths == told
    assert len(leading(LEADING[:SHOWN]).metadata) == len(KEYS) - 1
    assert len(leading(LEADING).metadata["tokens"]) == 5000


def test_leading_keys_are_those_of_the_whole_file(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    content, header = (tmp_path / "a.gguf").read_bytes(), read_header(tmp_path / "a.gguf")
    assert leading(content[: header.data_offset], len(content)).metadata == header.metadata
    found = leading(content[:200], len(content))
    assert found.metadata == {key: header.metadata[key] for key in found.metadata} != {}


def test_a_file_that_ends_in_its_header_is_not_taken_for_one_that_goes_on() -> None:
    for size in range(SHOWN):
        with pytest.raises(GgufError, match=r"^org/repo/x\.gguf is no usable GGUF file: it"):
            leading(LEADING[:size], size)


@pytest.mark.parametrize("case", [case for case in HOSTILE if HOSTILE[case][1].keys() != {"n_tensors"}])
def test_hostile_heads_are_refused_or_cut(tmp_path: Path, case: str) -> None:
    body, counts, message = HOSTILE[case]
    head = header_with(tmp_path, body, **counts).read_bytes()
    start = time.process_time()
    try:
        found = leading(head)
    except GgufError as error:
        assert "\n" not in str(error) and str(error).startswith("org/repo/x.gguf is")
    else:  # as far as one can see, it goes on; or what is wrong is not asked for here
        assert message in ("cut short", "alignment", "alignment is 0")
        assert len(found.metadata) <= 1
    assert time.process_time() - start < 1


def test_mutated_heads_do_no_harm() -> None:
    rng, refused, start = random.Random(7), 0, time.process_time()
    for _ in range(3000):
        bad = bytearray(LEADING[: rng.randrange(24, SHOWN)])
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(bad))
            bad[place : place + rng.choice((1, 4, 8))] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        try:
            found = leading(bytes(bad))
        except GgufError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert len(found.metadata) <= len(KEYS) + 20
            assert all(0 <= n <= 8 << 20 for n in found.lengths.values())
    assert 500 < refused < 2900
    assert time.process_time() - start < 20
