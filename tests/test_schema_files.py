"""Schemas from files, and files that hold none."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from minichat.schema.files import MAX_BYTES, read_schema
from quant.errors import DataError


def test_a_schema_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.json"
    file.write_bytes(b'\xef\xbb\xbf{"type": "object", "title": "\xc3\xa9"}')
    assert read_schema(str(file)) == {"type": "object", "title": "é"}
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"true")))
    assert read_schema("-") is True


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "Expecting value (line 1, column 1)"),
        (b"{'a': 1}", "Expecting property name enclosed in double quotes (line 1, column 2)"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"1e999", "1e999 is too large a number"),
        (b"9" * 5000, "a number with too many digits"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "s.json"
    file.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_schema(str(file))
    assert str(caught.value) == f"{file} is not valid JSON: {said}"


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    (tmp_path / "long").write_bytes(b" " * (MAX_BYTES + 1))
    for path, said in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "latin", "is not UTF-8 text (byte 1)"),
        (tmp_path / "long", "is longer than 1 MB"),
        ("a\0b", "it is no path"),
    ):
        with pytest.raises(DataError, match=r"^[^\n]*$") as caught:
            read_schema(str(path))
        assert said in str(caught.value)
