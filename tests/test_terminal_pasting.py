"""Paths of pictures that are pasted, or dropped onto the terminal, in the ways in which terminals type them."""

from __future__ import annotations

from pathlib import Path

import pytest
from picture_files import noise, saved
from PIL import Image
from typing_hand import ENTER, chat_of, paste, typed

from minichat.attachments import attach
from minichat.terminal.pasting import attaching

PNG = saved(Image.fromarray(noise(3, 4)), "PNG")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("cat.png", "my cat.png", "é日.png", "a(1).png", "picture", "it's.png", 'quote".png'):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "false.png").write_text("text")
    return tmp_path


@pytest.mark.parametrize(
    ("pasted", "name"),
    [
        ("{}/cat.png", "cat.png"),
        ("{}/cat.png ", "cat.png"),
        ("{}/cat.png\n", "cat.png"),
        ("'{}/my cat.png' ", "my cat.png"),
        ('"{}/my cat.png"', "my cat.png"),
        ("{}/my\\ cat.png ", "my cat.png"),
        ("{}/my cat.png", "my cat.png"),
        ("file://{}/my%20cat.png", "my cat.png"),
        ("file://localhost{}/my%20cat.png\n", "my cat.png"),
        ("file://{}/%C3%A9%E6%97%A5.png", "é日.png"),
        ("{}/é日.png", "é日.png"),
        ("{}/a\\(1\\).png", "a(1).png"),
        ("{}/a(1).png", "a(1).png"),
        ("'{}/it'\\''s.png'", "it's.png"),
        ("{}/it's.png", "it's.png"),
        ("{}/picture", "picture"),
    ],
)
def test_a_path_as_terminals_type_it_attaches_the_picture(folder: Path, pasted: str, name: str) -> None:
    found = attaching(pasted.format(folder), "look at ")
    assert found is not None and found.endswith(" ")
    looked: list[Path | str] = []

    class Seen:
        source = "picture:" + "0" * 64

    attach(found, Path(), lambda file, _: looked.append(file) or Seen())  # type: ignore[arg-type,func-returns-value,return-value]
    assert looked == [folder / name]


@pytest.mark.parametrize(
    ("pasted", "found"),
    [
        ("cat.png", "@cat.png "),
        ("./cat.png", "@./cat.png "),
        ("~/cat.png", "@~/cat.png "),
        ("'cat.png' 'my cat.png'", '@cat.png @"my cat.png" '),
        ("./cat.png my\\ cat.png\n", '@./cat.png @"my cat.png" '),
    ],
)
def test_names_from_here(folder: Path, pasted: str, found: str) -> None:
    assert attaching(pasted) == found


@pytest.mark.parametrize(
    "pasted",
    [
        *(
            "",
            " ",
            "notes.txt",
            "false.png",
            "no.png",
            "./",
            "/",
            "~",
            "picture",
            "cat.png notes.txt",
            "~nobody/cat.png",
        ),
        *("see cat.png", "cat.png is here", "'cat.png", "https://host/cat.png", "file://host/cat.png", 'quote".png'),
        *("cat.png; rm x", "a\0b.png", "/" * 5000, "./cat.png " * 21, "/dev/zero", "/dev/tty", "/dev/stdin"),
    ],
)
def test_other_pastes_stay_as_they_are(folder: Path, pasted: str) -> None:
    assert attaching(pasted) is None


@pytest.mark.parametrize("before", ["/export ", "/", "@", '@"', "a", "see@"])
def test_where_no_file_is_attached_none_is(folder: Path, before: str) -> None:
    assert attaching("./cat.png", before) is None


def test_it_is_typed_as_if_by_hand_and_undone_at_once(folder: Path) -> None:
    assert typed(f"What is {paste(f'{folder}/my cat.png')}there?{ENTER}") == f'What is @"{folder}/my cat.png" there?'
    assert typed(f"What is {paste('./cat.png')}\x1f?{ENTER}", chat_of()) == "What is ./cat.png?"
    assert typed(f"{paste('one' + chr(10) + 'two')}{ENTER}") == "one\ntwo"
