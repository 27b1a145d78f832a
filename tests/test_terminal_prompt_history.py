"""What was typed before: its file, several chats at once, its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from typing_hand import CTRL_J, ENTER, UP, chat_of, hand, paste

from minichat.terminal import history_file
from minichat.terminal.history_file import HistoryFile, open_file, parse, written
from minichat.terminal.line_editor import LineEditor


def test_it_comes_back_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "history"
    with hand() as pipe:
        editor = LineEditor(chat_of(history_path=path))
        pipe.send_text(f"first{ENTER}second{CTRL_J}of two{ENTER}")
        editor.read()
        editor.read()
        again = LineEditor(chat_of(history_path=path))
        pipe.send_text(f"{UP}{ENTER}")
        assert again.read() == "second\nof two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b"")
    path.chmod(0o644)
    HistoryFile(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_private_writes_nothing(tmp_path: Path, home: Path) -> None:
    with hand() as pipe:
        pipe.send_text(f"secret{ENTER}")
        LineEditor(chat_of(history_path=None)).read()
    assert [path for path in home.rglob("*") if path.is_file()] == []


ENTRIES = ["plain", "two\nlines", "+plus\n# hash\n\nblank", "日本語 \U0001f44d", " blanks ", "\ttab\r", "\x1b[31m", "-"]


def test_every_entry_comes_back_as_it_was() -> None:
    assert parse(b"".join(written(entry, "now") for entry in ENTRIES)) == ENTRIES


def test_a_file_in_pieces_gives_what_is_whole() -> None:
    """Cut anywhere, in front or behind: no exception, and all entries but those at the cut."""
    whole = b"".join(written(entry, "now") for entry in ENTRIES)
    for cut in range(len(whole)):
        assert parse(whole[:cut])[:-1] == ENTRIES[: max(len(parse(whole[:cut])) - 1, 0)]
        rest = parse(whole[cut:])
        assert rest[1:] == ENTRIES[len(ENTRIES) - len(rest) :][1:]
    assert parse(b"\xff\xfe\x00garbage\n+\xff\n") == ["\N{REPLACEMENT CHARACTER}"]


def test_equal_entries_that_follow_one_another_are_one(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "history")
    for entry in ("a", "a", "b", "a"):
        file.add(entry)
    assert file.entries() == ["a", "b", "a"]


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MAX_BYTES", 2000)
    path = tmp_path / "history"
    file = HistoryFile(path)
    for i in range(500):
        file.add(f"entry {i}")
        assert path.stat().st_size <= 4100
    entries = file.entries()
    assert entries == [f"entry {i}" for i in range(500 - len(entries), 500)]
    assert len(entries) > 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("history*")) == [path]


def test_the_newest_of_too_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MAX_ENTRIES", 3)
    file = HistoryFile(tmp_path / "history")
    for i in range(5):
        file.add(str(i))
    assert file.entries() == ["2", "3", "4"]


def test_a_message_without_end_is_kept_for_this_chat_only(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with hand() as pipe:
        editor = LineEditor(chat_of(history_path=path))
        text = "x" * (history_file.MAX_ENTRY // 2) + "\n" + "y" * (history_file.MAX_ENTRY // 2)
        thread = Thread(target=lambda: pipe.send_text(f"{paste(text)}{ENTER}"))
        thread.start()
        assert editor.read() == text
        thread.join()
        assert list(editor._session.history.get_strings()) == [text]
    assert path.read_bytes() == b""


def test_a_link_to_the_file_stays_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MAX_BYTES", 100)
    (tmp_path / "dotfiles").mkdir()
    link = tmp_path / "history"
    link.symlink_to(tmp_path / "dotfiles" / "history")
    file = HistoryFile(link)
    for i in range(20):
        file.add(f"entry {i}")
    assert link.is_symlink()
    assert "entry 19" in (tmp_path / "dotfiles" / "history").read_text()


def test_where_there_is_no_place_it_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert open_file(tmp_path / "file" / "history") is None
    assert open_file(tmp_path) is None
    with hand() as pipe:
        editor = LineEditor(chat_of(history_path=tmp_path))
        pipe.send_text(f"one{ENTER}")
        editor.read()
        pipe.send_text(f"{UP}{ENTER}")
        assert editor.read() == "one"


def test_a_file_that_goes_away_ends_no_chat(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "folder" / "history")
    file.path.unlink()
    file.path.parent.rmdir()
    file.add("lost")
    assert file.entries() == []


WRITER = """
import sys
from pathlib import Path
from minichat.terminal import history_file
history_file.MAX_BYTES = int(sys.argv[3])
file = history_file.HistoryFile(Path(sys.argv[1]))
for i in range(300):
    file.add(f"{sys.argv[2]} {i}\\n" + "text " * 50)
"""


@pytest.mark.parametrize("most", [1 << 20, 40_000])
def test_several_chats_do_not_mix_their_entries(tmp_path: Path, most: int) -> None:
    """Also while the file is shortened under them; then the newest entries of each are there."""
    path = tmp_path / "history"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name, str(most)]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    entries = parse(path.read_bytes())
    for name in "abc":
        own = [int(entry.split("\n")[0].split()[1]) for entry in entries if entry.startswith(name)]
        assert own == sorted(own)
        assert most < 100_000 or own == list(range(300))
    assert all(entry.endswith("\n" + "text " * 50) for entry in entries)
