"""Sessions on disk: what is kept, by whom, and what a disk can do to it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from datetime import timezone
from itertools import pairwise, product
from pathlib import Path

import pytest

from minichat.conversation import Conversation
from minichat.saved import Saved
from minichat.session import HEARD_EVERY_S, Session
from minichat.sessions import Sessions, check_name
from minichat.template.messages import Message
from quant.errors import DataError, StorageError, UsageError

MODEL = "demo"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def sessions(tmp_path: Path, warnings: list[str]) -> Sessions:
    return Sessions(tmp_path / "minichat" / "sessions", warnings.append)


def talk(conversation: Conversation, question: str = "Hi", answer: str = "Hello") -> Conversation:
    conversation.ask(question)
    conversation.answer(answer, (1, 2))
    return conversation


def kept(sessions: Sessions, name: str, *questions: str) -> str:
    session, conversation = sessions.new(name), Conversation("v7")
    for question in questions or ("Hi",):
        session.save(talk(conversation, question), MODEL)
    session.close()
    return session.name


def opened(sessions: Sessions, name: str) -> tuple[Saved, Conversation]:
    session, saved = sessions.open(name)
    session.close()
    return saved, Conversation(saved.template, saved.system, saved.messages)


def test_a_conversation_comes_back(sessions: Sessions) -> None:
    session, conversation = sessions.new("trip"), talk(Conversation("v7", "Be brief."))
    session.save(conversation, MODEL, 5)
    session.close()
    saved, again = opened(sessions, "trip")
    assert again == conversation
    assert (saved.model, saved.vocabulary, saved.title) == (MODEL, 5, "Hi")
    assert (saved.cut, saved.damaged_line, saved.forked_from) == (False, None, None)


def test_nothing_is_written_before_there_is_something_to_keep(sessions: Sessions) -> None:
    session = sessions.new()
    session.hear("x")
    session.save(Conversation("v7", "Be brief."), MODEL)
    session.close()
    assert not sessions.folder.exists()
    assert not session.is_on_disk


def test_the_files_are_the_users_alone(sessions: Sessions) -> None:
    kept(sessions, "trip")
    assert stat.S_IMODE(sessions.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((sessions.folder / "trip.jsonl").stat().st_mode) == 0o600


def test_a_save_appends_only_what_is_new(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), Conversation("v7")
    sizes = []
    for number in range(20):
        session.save(talk(conversation, f"question {number:02}"), MODEL)
        session.save(conversation, MODEL)  # nothing new
        sizes.append(session.path.stat().st_size)
    grown = [after - before for before, after in pairwise(sizes[1:])]
    assert max(grown) - min(grown) <= 4  # a digit more in a number
    before = session.path.read_bytes()
    conversation.messages[:] = conversation.messages[4:]
    session.save(conversation, MODEL)
    assert session.path.read_bytes().startswith(before)
    session.close()
    assert opened(sessions, "a")[1].messages == conversation.messages


def test_an_answer_marked_as_cut_is_a_change(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), talk(Conversation("v7"))
    session.save(conversation, MODEL)
    conversation.messages[-1] = Message("assistant", "Hello", (1, 2), cut=True)
    session.save(conversation, MODEL)
    session.close()
    assert opened(sessions, "a")[0].messages[-1].cut


def test_what_is_heard_is_written_every_half_second_at_most(sessions: Sessions, tmp_path: Path) -> None:
    now = [0.0]
    session = Session(tmp_path / "s" / "a.jsonl", sessions._warn, lambda: now[0])
    conversation = Conversation("v7")
    conversation.ask("Count")
    session.save(conversation, MODEL)
    start = session.path.stat().st_size
    sizes = set()
    for number in range(100):  # ten seconds
        session.hear(f"{number} ")
        sizes.add(session.path.stat().st_size)
        now[0] += 0.1
    assert len(sizes - {start}) <= 10 / HEARD_EVERY_S + 1
    heard = Sessions(session.path.parent).read("a")  # as after a kill
    assert heard.cut
    assert heard.messages[-1].text.startswith("0 1 2 ")
    assert len(heard.messages[-1].text.split()) > 90
    session.close()
    assert len(Sessions(session.path.parent).read("a").messages[-1].text.split()) == 100


def test_an_answer_takes_the_place_of_what_was_heard_of_it(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), Conversation("v7")
    conversation.ask("Hi")
    session.save(conversation, MODEL)
    session.hear("Hel")
    conversation.answer("Hello", (1, 2))
    session.save(conversation, MODEL)
    session.close()
    saved, again = opened(sessions, "a")
    assert again.messages == conversation.messages
    assert not saved.cut


def test_an_answer_that_came_to_nothing_is_forgotten(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), talk(Conversation("v7"))
    session.save(conversation, MODEL)
    session.hear("and more")  # /continue, and then the engine failed
    session.save(conversation, MODEL)
    session.close()
    saved, again = opened(sessions, "a")
    assert again.messages == conversation.messages
    assert not saved.cut


def test_a_cut_answer_that_was_kept_can_be_undone(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), Conversation("v7")
    conversation.ask("Hi")
    session.save(conversation, MODEL)
    session.hear("Hel")
    session.close()
    session, saved = sessions.open("a")
    assert [m.text for m in saved.messages] == ["Hi", "Hel"]
    conversation.messages[:] = saved.messages[:1]
    session.save(conversation, MODEL)
    session.close()
    assert [m.text for m in opened(sessions, "a")[0].messages] == ["Hi"]


def test_two_chats_do_not_share_a_session(sessions: Sessions) -> None:
    kept(sessions, "trip")
    first, saved = sessions.open("trip")
    second, copy = sessions.open("trip")
    assert (copy.forked_from, copy.name, second.name) == ("trip", "trip-2", "trip-2")
    one, two = (talk(Conversation("v7", None, s.messages), q) for s, q in ((saved, "one"), (copy, "two")))
    second.save(two, MODEL)
    first.save(one, MODEL)
    first.close()
    second.close()
    assert opened(sessions, "trip")[1].messages == one.messages
    assert opened(sessions, "trip-2")[1].messages == two.messages
    _, third = sessions.open("trip-2")
    _, fourth = sessions.open("trip-2")
    assert fourth.name == "trip-3"
    assert third.forked_from is None
    kept(sessions, "2026-11-21")
    held, _ = sessions.open("2026-11-21")
    assert sessions.open("2026-11-21")[0].name == "2026-11-21-2"
    held.close()


def test_new_sessions_of_one_moment_get_names_of_their_own(sessions: Sessions) -> None:
    several = [sessions.new() for _ in range(3)]
    for number, session in enumerate(several):
        session.save(talk(Conversation("v7"), str(number)), MODEL)
    assert len({session.name for session in several}) == 3
    for number, session in enumerate(several):
        session.close()
        assert opened(sessions, session.name)[0].title == str(number)


def test_the_newest_is_what_was_used_last_and_says_something(sessions: Sessions) -> None:
    assert sessions.newest() is None
    for number, name in enumerate(("b", "a", "c", "broken", "empty")):
        kept(sessions, name)
        path = sessions.folder / f"{name}.jsonl"
        if name == "broken":
            path.write_text("{}\n")
        elif name == "empty":
            session, _ = sessions.open(name)
            session.save(Conversation("v7"), MODEL)
            session.close()
        os.utime(path, (number, number))
    assert sessions.newest() == "c"
    assert list(sessions.names()) == ["empty", "broken", "c", "a", "b"]
    session, _ = sessions.open("b")  # and nothing said
    session.close()
    assert sessions.newest() == "b"


def test_a_list_has_what_the_files_say(sessions: Sessions) -> None:
    kept(sessions, "one", "What is\nthis?", "And that?")
    kept(sessions, "torn", "Torn?")
    with (sessions.folder / "torn.jsonl").open("ab") as file:
        file.write(b'{"from": 2, "gone": 0, "mess')
    kept(sessions, "damaged", "Damaged?")
    (sessions.folder / "damaged.jsonl").write_text("hello\nthere\n")
    (sessions.folder / ".hidden.jsonl").write_text("x")
    (sessions.folder / "a b.jsonl").write_text("x")
    (sessions.folder / "\x1b[31m.jsonl").write_text("x")
    (sessions.folder / "notes.txt").write_text("x")
    (sessions.folder / "folder.jsonl").mkdir()
    (sessions.folder / "link.jsonl").symlink_to(sessions.folder / "one.jsonl")
    os.mkfifo(sessions.folder / "pipe.jsonl")
    found = {one.name: one for one in sessions.list()}
    assert set(found) == {"one", "torn", "damaged"}
    assert (found["one"].title, found["one"].turns, found["one"].model) == ("What is this?", 2, MODEL)
    assert (found["torn"].title, found["torn"].turns, found["torn"].problem) == ("Torn?", 1, None)
    assert found["damaged"].problem is not None
    assert found["one"].used.tzinfo == timezone.utc


def test_a_list_of_an_answer_under_way_is_true(sessions: Sessions) -> None:
    kept(sessions, "a", "one")
    session, saved = sessions.open("a")
    conversation = Conversation("v7", None, saved.messages)
    conversation.ask("two")
    session.save(conversation, MODEL)
    session.hear("x" * 200_000)  # the summary is far from the end now
    (one,) = sessions.list()
    assert (one.title, one.turns) == ("one", 2)
    session.close()


def test_search_finds_words_in_questions_answers_and_results(sessions: Sessions) -> None:
    kept(sessions, "one", 'The "Straße"\nto Rome')
    kept(sessions, "two", "rome wasn't built")
    session, conversation = sessions.new("three"), Conversation("v7")
    conversation.ask("Hi")
    session.save(conversation, MODEL)
    session.hear("I know Ro")
    session.close()
    session, _ = sessions.open("three")
    session.hear("me")  # in two pieces
    session.close()
    found = {(one.name, one.turn, one.role) for one in sessions.search("ROME")}
    assert found == {("one", 1, "user"), ("two", 1, "user"), ("three", 1, "assistant")}
    assert [one.excerpt for one in sessions.search('"straße"')] == ['The "Straße" to Rome']
    assert not list(sessions.search("Paris"))
    assert not list(sessions.search(r"R.me"))


def test_search_leaves_out_what_was_taken_back(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), talk(Conversation("v7"), "secret")
    session.save(conversation, MODEL)
    conversation.clear()
    session.save(talk(conversation, "other"), MODEL)
    session.close()
    assert not list(sessions.search("secret"))


@pytest.mark.parametrize("name", ["a", "trip-to.Rome_2", "Größe", "日本", "x" * 64, "2026-11-21-0627", "_a"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".a", "-a", "a/b", "../a", "a\\b", "a b", "a\n", "\x1b[31m", "x" * 65, "a.", "con", "NUL.txt"),
        *("日" * 67, "日" * 65, "a\u202eb", "a\0b", "\ud800", "a:b"),
    ],
)
def test_bad_names(name: str, sessions: Sessions) -> None:
    for use in (sessions.new, sessions.open, sessions.read, sessions.find, sessions.remove, sessions.open_or_new):
        with pytest.raises(UsageError) as caught:
            use(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        sessions.rename(sessions.new("a"), name)


def test_names_are_found_without_regard_to_case_and_never_clash(sessions: Sessions) -> None:
    kept(sessions, "Trip")
    assert sessions.find("tRIP") == "Trip"
    assert sessions.find("trap") is None
    with pytest.raises(UsageError, match="already"):
        sessions.new("trip")
    with pytest.raises(UsageError, match="did you mean Trip"):
        sessions.open("Tripp")
    session, saved = sessions.open_or_new("trip")
    assert saved is not None
    session.close()
    session, saved = sessions.open_or_new("other")
    assert (session.name, saved) == ("other", None)


def test_a_session_is_renamed_and_goes_on(sessions: Sessions) -> None:
    kept(sessions, "Taken")
    session, conversation = sessions.new("a"), talk(Conversation("v7"))
    sessions.rename(session, "b")  # before there is a file
    session.save(conversation, MODEL)
    with pytest.raises(UsageError, match="already"):
        sessions.rename(session, "taken")
    sessions.rename(session, "c")
    sessions.rename(session, "C")
    session.save(talk(conversation, "again"), MODEL)
    session.close()
    assert sorted(sessions.names()) == ["C", "Taken"]
    assert opened(sessions, "C")[1].messages == conversation.messages


def test_a_rename_never_writes_over_another_session(sessions: Sessions, tmp_path: Path) -> None:
    session = sessions.new("a")
    session.save(talk(Conversation("v7")), MODEL)
    other = sessions.folder / "b.jsonl"
    other.write_text("precious")  # made behind our back, between the look and the move
    with pytest.raises(FileExistsError):
        session.move_to(other)
    assert other.read_text() == "precious"
    assert session.path.exists()
    session.close()


def test_a_session_in_use_is_not_removed(sessions: Sessions) -> None:
    kept(sessions, "a")
    session, _ = sessions.open("a")
    with pytest.raises(UsageError, match="in use"):
        sessions.remove("a")
    session.close()
    assert sessions.remove("A") == "a"
    assert not list(sessions.names())


def test_a_torn_line_is_cut_off_when_the_session_goes_on(sessions: Sessions) -> None:
    kept(sessions, "a", "one")
    path = sessions.folder / "a.jsonl"
    whole = path.read_bytes()
    for torn in (b'{"from": 2, "gone": 0, "mess', b"\0" * 100, b"{"):
        path.write_bytes(whole + torn)
        session, saved = sessions.open("a")
        session.save(talk(Conversation("v7", None, saved.messages), "two"), MODEL)
        session.close()
        assert [m.text for m in opened(sessions, "a")[0].messages] == ["one", "Hello", "two", "Hello"]
        assert path.read_bytes().startswith(whole)
    path.write_bytes(whole[:-1])  # all but the last line's end
    session, saved = sessions.open("a")
    session.save(talk(Conversation("v7", None, saved.messages), "two"), MODEL)
    session.close()
    assert len(opened(sessions, "a")[0].messages) == 4


@pytest.mark.parametrize("length", [0, 1, 10, 30])
def test_a_file_that_got_no_line_begins_anew(sessions: Sessions, length: int) -> None:
    kept(sessions, "a", "one")
    path = sessions.folder / "a.jsonl"
    path.write_bytes(path.read_bytes()[:length])
    session, saved = sessions.open("a")
    assert saved.messages == []
    session.save(talk(Conversation("v7"), "two"), MODEL)
    session.close()
    assert [m.text for m in opened(sessions, "a")[0].messages] == ["two", "Hello"]


def test_behind_damage_the_conversation_is_written_whole(sessions: Sessions) -> None:
    kept(sessions, "a", "one", "two", "three")
    path = sessions.folder / "a.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"rubbish\n", *lines[5:]]))
    session, saved = sessions.open("a")
    assert saved.damaged_line == 4
    assert [m.text for m in saved.messages] == ["one", "Hello"]
    session.save(talk(Conversation("v7", None, saved.messages), "four"), MODEL)
    session.close()
    saved, _ = opened(sessions, "a")
    assert saved.damaged_line is None
    assert [m.text for m in saved.messages] == ["one", "Hello", "four", "Hello"]


def test_a_full_disk_is_told_once_and_made_good(
    sessions: Sessions, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, conversation = sessions.new("a"), talk(Conversation("v7"), "one")
    session.save(conversation, MODEL)
    write, room = os.write, [10]

    def scarce(handle: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done, room[0] = write(handle, data[: room[0]]), 0
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", scarce)
        for question in ("two", "three"):
            conversation.ask(question)
            session.save(conversation, MODEL)
            session.hear("Hel")
            conversation.answer("Hello", None)
            session.save(conversation, MODEL)
    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    assert "\n" not in warnings[0]
    assert [m.text for m in sessions.read("a").messages] == ["one", "Hello"]  # nothing torn
    session.save(talk(conversation, "four"), MODEL)
    session.close()
    assert opened(sessions, "a")[1].messages == conversation.messages


def test_a_disk_that_is_full_from_the_start_leaves_no_file(
    sessions: Sessions, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    session = sessions.new("a")
    session.save(talk(Conversation("v7")), MODEL)
    session.close()
    assert len(warnings) == 1
    assert not list(sessions.folder.iterdir())


def test_a_disk_that_fails_to_sync_is_told(
    sessions: Sessions, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    session, conversation = sessions.new("a"), talk(Conversation("v7"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        session.save(conversation, MODEL)
    assert len(warnings) == 1
    session.save(conversation, MODEL)
    session.close()
    assert opened(sessions, "a")[1].messages == conversation.messages


def test_a_place_that_cannot_be_written_ends_no_chat(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("")
    sessions = Sessions(tmp_path / "file" / "sessions", warnings.append)
    session, conversation = sessions.new(), Conversation("v7")
    for _ in range(3):
        session.save(talk(conversation), MODEL)
        session.hear("x")
    session.close()
    assert len(warnings) == 1
    assert not sessions.list()
    assert not sessions.names()
    assert sessions.newest() is None


def test_an_interruption_in_the_middle_of_a_save_writes_nothing_twice(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(handle: int, *data: bytes) -> int:
        raise KeyboardInterrupt

    session, conversation = sessions.new("a"), Conversation("v7")
    for number, (call, again) in enumerate(product(("write", "fsync"), (True, False))):
        talk(conversation, str(number))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, call, interrupted)
            session.save(conversation, MODEL)
        if again:
            session.save(conversation, MODEL)
    session.save(conversation, MODEL)
    session.close()
    assert opened(sessions, "a")[1].messages == conversation.messages


def test_a_file_removed_meanwhile_is_written_anew(sessions: Sessions) -> None:
    session, conversation = sessions.new("a"), talk(Conversation("v7"), "one")
    session.save(conversation, MODEL)
    session.path.unlink()
    session.save(talk(conversation, "two"), MODEL)
    session.close()
    assert opened(sessions, "a")[1].messages == conversation.messages


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "foreign", "huge"])
def test_what_is_no_session_is_refused_in_one_line(
    sessions: Sessions, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(sessions, "a")
    path = sessions.folder / "a.jsonl"
    content = path.read_bytes()
    path.unlink()
    match what:
        case "link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "foreign":
            path.write_text('[{"role": "user", "content": "Hi"}]')
        case "huge":
            path.write_bytes(content)
            monkeypatch.setattr("minichat.session_file.MAX_BYTES", 20)
            monkeypatch.setattr("minichat.sessions.MAX_BYTES", 20)
    for use in (sessions.open, sessions.read):
        with pytest.raises((DataError, UsageError)) as caught:
            use("a")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_session_that_cannot_be_written_is_copied(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    kept(sessions, "a")

    def read_only(path: Path) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("minichat.sessions.open_file", read_only)
    session, saved = sessions.open("a")
    assert (saved.forked_from, session.name) == ("a", "a-2")
    assert len(saved.messages) == 2


def test_where_there_are_no_locks_sessions_are_kept_all_the_same(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unknown)
    kept(sessions, "a")
    session, saved = sessions.open("a")
    session.save(talk(Conversation("v7", None, saved.messages), "two"), MODEL)
    session.close()
    assert len(opened(sessions, "a")[0].messages) == 4


def test_a_removal_that_fails_is_storage_error(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(sessions, "a")

    def failing(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(StorageError, match="cannot be removed"):
        sessions.remove("a")


def test_a_thousand_sessions_are_listed_without_reading_them(sessions: Sessions) -> None:
    kept(sessions, "s0", *(f"question {number}" for number in range(50)))
    content = (sessions.folder / "s0.jsonl").read_bytes()
    for number in range(1, 1000):
        (sessions.folder / f"s{number}.jsonl").write_bytes(content)
    start = time.process_time()
    listed = sessions.list()
    assert len(listed) == 1000
    assert all(one.turns == 50 for one in listed)
    assert time.process_time() - start < 5  # it takes a hundredth of that; a replay of all would take longer


def test_the_front_stays_light() -> None:
    code = "import sys, minichat.sessions; print([m for m in ('rich', 'platformdirs', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
