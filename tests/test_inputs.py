"""What is piped in: as a prompt, and line by line."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from picture_files import saved
from PIL import Image

from minichat.inputs import Line, Lines, read_question, read_text
from quant.errors import DataError, UsageError


def pipe_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "stdin").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", (tmp_path / "stdin").open())


@pytest.mark.parametrize(
    ("raw", "question", "byte"),
    [
        (b"ab\xff\xfecd\x80", "ab\ufffd\ufffdcd\ufffd", 2),
        (b"\xef\xbb\xbfx\xff", "x\ufffd", 4),
        (b"a\xc3", "a\ufffd", 1),
    ],
)
def test_what_is_no_text_is_replaced_with_one_warning(
    raw: bytes,
    question: str,
    byte: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe_in(monkeypatch, tmp_path, raw)
    assert read_question("-") == question
    said = capsys.readouterr().err
    assert said.startswith(f"minichat: warning: standard input is not UTF-8 text (byte {byte})")
    assert said.count("\n") == 1


def test_good_text_has_no_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe_in(monkeypatch, tmp_path, "Größe 🐈\n".encode())
    assert read_question("Was ist das?") == "Größe 🐈\n\nWas ist das?"
    assert capsys.readouterr().err == ""


def test_data_must_be_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, tmp_path, b'["\xff"]')
    with pytest.raises(DataError, match=r"standard input is not UTF-8 text \(byte 2\)"):
        read_text("-")


def test_a_prompt_of_odd_bytes_only_is_a_prompt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, tmp_path, b"\xff")
    assert read_question(None) == "\ufffd"
    pipe_in(monkeypatch, tmp_path, b"\n \n")
    with pytest.raises(UsageError, match="empty"):
        read_question(None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_is_no_prompt(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = saved(Image.new("RGB", (1, 1)), kind)
    for prompt in ("What is this?", None, "-"):
        pipe_in(monkeypatch, tmp_path, raw)
        with pytest.raises(UsageError, match=rf"standard input is a picture \({kind}\).*--image - "):
            read_question(prompt)
    with pytest.raises(UsageError, match="--images FILE"):
        lines(raw, 100)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"BM\x9a\0\xff", "of the kind BMP"),
        (b"\0\0\0\x18ftypheic\0\xff", "a picture of the kind HEIC"),
        (b"%PDF-1.4\n%\xff\0", "of the kind PDF"),
    ],
)
def test_other_pictures_are_none_either(raw: bytes, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, tmp_path, raw)
    with pytest.raises(UsageError, match=rf"standard input is {what}, and no text: of pictures, minichat reads JPEG"):
        read_question("What is this?")


def test_a_text_may_begin_as_a_picture_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, tmp_path, "GIF89a: größer als GIF87a?".encode())
    assert read_question(None) == "GIF89a: größer als GIF87a?"
    pipe_in(monkeypatch, tmp_path, "BMW: größer".encode("latin-1"))
    assert read_question(None) == "BMW: gr\ufffd\ufffder"
    assert lines(b"GIF89a\nGIF87a\n") == [(1, "GIF89a"), (2, "GIF87a")]


def test_a_file_in_the_home_folder(home: Path) -> None:
    (home / "talk.json").write_text("[]")
    assert read_text("~/talk.json") == "[]"


def lines(raw: bytes, longest_bytes: int = 100) -> list[tuple[int, str | None]]:
    return [(line.number, line.text) for line in Lines(io.BytesIO(raw), longest_bytes)]


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb", ["a", "b"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
        (b" a \x00\x1b[2J\n", [" a \x00\x1b[2J"]),
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\x85c"]),
        (b"x" * 100 + b"\nb\n", [None, "b"]),
        (b"x" * 99 + b"\nb\n", ["x" * 99, "b"]),
        (b"x" * 1000 + b"\nb\n" + b"y" * 300, [None, "b", None]),
    ],
)
def test_lines(raw: bytes, texts: list[str | None]) -> None:
    assert lines(raw) == list(enumerate(texts, 1))


def test_odd_bytes_in_lines_are_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(b"a\nb\xff\n\xfe\n") == [(1, "a"), (2, "b\ufffd"), (3, "\ufffd")]
    said = capsys.readouterr().err
    assert said.startswith("minichat: warning: line 2 of standard input is not UTF-8 text (byte 1)")
    assert said.count("\n") == 1


def test_how_much_is_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"abc\n\xc3\xa9\nlast")
    with (tmp_path / "lines").open("rb") as stream:
        stream.seek(4)
        found = Lines(stream)
        assert found.total_bytes == 7
        assert [(line, found.read_bytes) for line in found] == [(Line(1, "é"), 3), (Line(2, "last"), 7)]
    assert Lines(io.BytesIO(b"")).total_bytes is None


def test_a_line_is_there_before_the_next_one() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        found = iter(Lines(stream))
        os.write(writing, b"one\ntw")
        assert next(found) == Line(1, "one")
        later = threading.Thread(target=lambda: (time.sleep(0.05), os.write(writing, b"o\n"), os.close(writing)))
        later.start()
        assert list(found) == [Line(2, "two")]
        later.join()


def test_a_folder_is_no_input(tmp_path: Path) -> None:
    class Folder(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    with pytest.raises(DataError, match="standard input: Is a directory"):
        list(Lines(Folder()))
