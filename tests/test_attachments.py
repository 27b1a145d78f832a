"""`@path` in a message: what is attached, what stays text, what is refused."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from minichat import attachments
from minichat.attachments import File, attach, fenced
from quant.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    (tmp_path / "a b.txt").write_text("blank")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("import os\n")
    return tmp_path


def test_a_file_comes_before_the_message_under_its_name(folder: Path) -> None:
    attached = attach("What is in @notes.txt", folder)
    assert attached.content == "notes.txt:\n```\none\ntwo\n```\n\nWhat is in @notes.txt"
    assert attached.files == (File("notes.txt", "one\ntwo\n"),)


def test_files_come_in_their_order_and_each_once(folder: Path) -> None:
    attached = attach("@src/main.py and @notes.txt, @notes.txt too", folder)
    assert [file.name for file in attached.files] == ["src/main.py", "notes.txt"]
    assert attached.content.count("one\ntwo\n") == 1
    assert attached.content.endswith("```\n\n@src/main.py and @notes.txt, @notes.txt too")


@pytest.mark.parametrize(
    "text",
    [
        "@notes.txt",
        "see @notes.txt.",
        "(@notes.txt)",
        '"@notes.txt"?',
        "a\n@notes.txt\nb",
        "@notes.txt…",
        "@./notes.txt!",
    ],
)
def test_what_is_around_a_name_does_not_belong_to_it(folder: Path, text: str) -> None:
    assert [Path(file.name).name for file in attach(text, folder).files] == ["notes.txt"]


def test_a_name_may_end_like_a_sentence(folder: Path) -> None:
    (folder / "why?").write_text("because")
    (folder / "why").write_text("no")
    assert attach("@why?", folder).files == (File("why?", "because"),)


def test_names_with_blanks_are_quoted(folder: Path) -> None:
    assert attach('look at @"a b.txt" please', folder).files == (File("a b.txt", "blank"),)
    assert attach("look at @a b.txt please", folder).files == ()


def test_the_home_folder(folder: Path, home: Path) -> None:
    (home / "mine.txt").write_text("mine")
    assert attach("@~/mine.txt", folder).files == (File("~/mine.txt", "mine"),)


@pytest.mark.parametrize(
    "text",
    [
        "no file at all",
        "me@notes.txt",  # an address
        "@property\ndef f(): ...",
        "@src",  # a word that happens to be a folder's name
        "@ @. @.. @... @/ @missing.txt @" + "x" * 10_000 + " @a\0b",
        '@"" @"missing file" @"',
        "@~nobody-of-this-name/x",
    ],
)
def test_what_is_no_file_stays_text(folder: Path, text: str) -> None:
    attached = attach(text, folder)
    assert (attached.content, attached.files) == (text, ())


@pytest.mark.parametrize("text", ["@src/", '@"src"', "@./src", "see @src/."])
def test_a_folder_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        attach(text, folder)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"zero\0byte", b"caf\xe9", b"\xff\xfe\x00"])
def test_what_is_no_text_is_refused(folder: Path, content: bytes) -> None:
    (folder / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"^@x\.bin is no text"):
        attach("@x.bin", folder)


def test_texts_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "8.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    (folder / "16.txt").write_bytes("ä\r\n".encode("utf-16"))
    assert [file.text for file in attach("@8.txt @16.txt", folder).files] == ["a\nb\n", "ä\n"]


def test_too_big_is_refused_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_BYTES", 10)
    attach("@notes.txt", folder)
    with pytest.raises(DataError, match=r"^@src/main\.py is too big"):
        attach("@notes.txt @src/main.py", folder)


def test_pipes_and_devices_are_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert attach("@pipe", folder).files == ()
    with pytest.raises(UsageError, match="no regular file"):
        attach("@./pipe", folder)
    with pytest.raises(UsageError, match="no regular file"):
        attach("@/dev/zero", folder)


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root reads all")
def test_an_unreadable_file_is_refused(folder: Path) -> None:
    (folder / "notes.txt").chmod(0)
    with pytest.raises(DataError, match=r"^@notes\.txt cannot be read: Permission denied"):
        attach("@notes.txt", folder)


def test_empty_files_and_files_without_an_end_of_line() -> None:
    assert fenced(File("a", "")) == "a:\n```\n```"
    assert fenced(File("a", "x")) == "a:\n```\nx\n```"


def test_no_content_closes_its_fence() -> None:
    """By CommonMark: a closing fence is a line of at least as many backticks as the opening one, and blanks."""
    draw = random.Random(1)
    for _ in range(2000):
        content = "".join(draw.choice(["`", "```", "~~~", "\n", " ", "x", "\t"]) for _ in range(draw.randrange(40)))
        lines = fenced(File("f", content)).split("\n")
        fence = lines[1]
        assert re.fullmatch("`{3,}", fence)
        closing = [line for line in lines[2:] if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}[ \t]*", line)]
        assert closing == [fence]
        assert lines[-1] == fence


def test_a_file_that_names_another_attaches_it_not(folder: Path) -> None:
    (folder / "a.txt").write_text("@notes.txt")
    assert [file.name for file in attach("@a.txt", folder).files] == ["a.txt"]


def test_a_paste_of_many_words_is_quick(folder: Path) -> None:
    text = "@property\n" * 5_000 + '@"' * 5_000 + "@" * 50_000
    assert attach(text, folder).files == ()
