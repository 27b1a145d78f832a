"""/save, /load, /sessions, /search, /export, and `minichat sessions`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine

from minichat.conversation import Conversation
from minichat.engine.types import LoadOptions, Sampling
from minichat.home import home as minichat_home
from minichat.sessions import Sessions
from minichat.template.messages import Message, parse_messages
from minichat.terminal.chat import Chat
from minichat.terminal.commands import dispatch, parse
from minichat.terminal.commands import sessions as commands
from minichat.terminal.sanitize import UNSAFE
from quant.errors import StorageError, UsageError

MODEL = "demo:q4_K_M"


def open_engine(_: LoadOptions) -> FakeEngine:
    return FakeEngine()


def new_chat(*questions: str, private: bool = False, model: str = MODEL) -> Chat:
    sessions = Sessions.default()
    chat = Chat(
        engine=FakeEngine(),  # type: ignore[arg-type]
        open_engine=open_engine,  # type: ignore[arg-type]
        conversation=Conversation("v7-tekken", "Be brief."),
        sampling=Sampling(),
        max_tokens=None,
        model_name=model,
        history_path=None,
        info=INFO,
        sessions=sessions,
        session=None if private else sessions.new(),
    )
    for question in questions:
        chat.conversation.ask(question)
        chat.conversation.answer(f"I know {question}", (1, 2, 3))
        chat.save()
    return chat


def say(chat: Chat, line: str) -> None:
    command = parse(line)
    assert command is not None
    assert not dispatch(chat, *command)


def close(chat: Chat) -> str:
    assert chat.session is not None
    chat.session.close()
    return chat.session.name


def test_save_names_the_session_and_goes_on_there(capsys: pytest.CaptureFixture[str]) -> None:
    chat = new_chat("one")
    say(chat, "/save trip")
    assert "kept as trip" in capsys.readouterr().out
    chat.conversation.ask("two")
    chat.save()
    assert list(chat.sessions.names()) == ["trip"]
    assert len(chat.sessions.read("trip").messages) == 3
    say(chat, "/save")
    assert "kept as trip, every turn" in capsys.readouterr().out


def test_save_before_the_first_turn_names_what_will_be(capsys: pytest.CaptureFixture[str]) -> None:
    chat = new_chat()
    say(chat, "/save trip")
    assert "from its first message on" in capsys.readouterr().out
    assert not chat.sessions.names()


def test_save_never_takes_anothers_name() -> None:
    close(new_chat("one"))
    first = Sessions.default().names()[0]
    chat = new_chat("two")
    with pytest.raises(UsageError, match="already"):
        say(chat, f"/save {first}")


def test_load_saves_what_is_open_and_goes_on_with_another(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("What is\nthis?")
    say(other, "/save other")
    close(other)
    chat = new_chat("one")
    say(chat, "/save mine")
    chat.conversation.system = "Be long."
    capsys.readouterr()
    say(chat, "/load OTHER")
    shown = capsys.readouterr().out
    assert shown.startswith("> What is\n  this?\nI know What is\nthis?\n(session other, 1 turn)\n")
    assert chat.conversation.messages == other.conversation.messages
    assert chat.conversation.system == "Be brief."
    assert chat.session is not None
    chat.conversation.ask("and?")
    chat.save()
    assert len(chat.sessions.read("other").messages) == 3
    mine = chat.sessions.read("mine")
    assert (mine.system, len(mine.messages)) == ("Be long.", 2)
    session, saved = chat.sessions.open("mine")  # nobody holds it any more
    assert saved.forked_from is None
    session.close()


def test_load_of_what_is_not_there_changes_nothing() -> None:
    chat = new_chat("one")
    before = chat.session
    for line in ("/load nowhere", "/load", "/load ../x"):
        with pytest.raises(UsageError):
            say(chat, line)
    assert chat.session is before
    assert len(chat.conversation.messages) == 2


def test_load_of_what_another_chat_holds_is_a_copy(capsys: pytest.CaptureFixture[str]) -> None:
    holder = new_chat("one")
    say(holder, "/save held")
    chat = new_chat()
    say(chat, "/load held")
    assert "(held is open elsewhere, or cannot be written: this is a copy, held-2)" in capsys.readouterr().out
    chat.conversation.ask("two")
    chat.save()
    assert len(chat.sessions.read("held").messages) == 2
    assert len(chat.sessions.read("held-2").messages) == 3


def test_load_of_the_open_session_is_no_copy(capsys: pytest.CaptureFixture[str]) -> None:
    chat = new_chat("one")
    say(chat, "/save mine")
    say(chat, "/load mine")
    assert "is this conversation" in capsys.readouterr().out
    assert list(chat.sessions.names()) == ["mine"]


def test_load_drops_the_ids_of_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("one", model="other:q8_0")
    say(other, "/save other")
    close(other)
    chat = new_chat()
    say(chat, "/load other")
    assert chat.conversation.messages[1] == Message("assistant", "I know one")
    assert "(it was held with other:q8_0: /model other:q8_0 goes on with that)" in capsys.readouterr().out


def test_a_private_chat_writes_nothing_and_may_read(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("one")
    say(other, "/save other")
    close(other)
    chat = new_chat("two", private=True)
    with pytest.raises(UsageError, match="private"):
        say(chat, "/save mine")
    say(chat, "/search two")
    assert "(this chat)" in capsys.readouterr().out
    say(chat, "/load other")
    assert len(chat.conversation.messages) == 2
    chat.conversation.ask("three")
    chat.save()
    assert list(chat.sessions.names()) == ["other"]
    assert len(chat.sessions.read("other").messages) == 2


def test_a_cut_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("one")
    say(other, "/save other")
    other.conversation.ask("two")
    other.save()
    assert other.session is not None
    other.session.hear("I kn")
    close(other)
    chat = new_chat()
    say(chat, "/load other")
    assert "I kn\n" in (shown := capsys.readouterr().out)
    assert "/continue goes on with it" in shown
    assert chat.conversation.messages[-1].cut


def test_a_question_without_an_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat()
    other.conversation.ask("one")
    other.save()
    say(other, "/save other")
    close(other)
    say(new_chat(), "/load other")
    assert "has no answer yet" in capsys.readouterr().out


def test_long_messages_are_shown_by_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("\n".join(f"line {number}" for number in range(500)))
    say(other, "/save other")
    close(other)
    capsys.readouterr()
    say(new_chat(), "/load other")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) < 25
    assert shown[0] == "> line 0"
    assert "line 499" in shown


def test_sessions_are_listed_and_the_open_one_marked(capsys: pytest.CaptureFixture[str]) -> None:
    chat = new_chat("What is this? " + "x" * 100)
    say(chat, "/save mine")
    close(new_chat("two"))
    capsys.readouterr()
    say(chat, "/sessions")
    shown = capsys.readouterr().out
    assert "mine *" in shown
    assert "What is this? xxx" in shown
    assert "x" * 70 not in shown
    for number in range(30):
        chat.sessions.folder.joinpath(f"s{number}.jsonl").write_text("{}")
    say(chat, "/sessions")
    shown = capsys.readouterr().out
    assert "(and 12 older ones" in shown
    assert "(cannot be read)" in shown


def test_search_looks_here_and_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    close(new_chat("the train to Rome"))
    chat = new_chat("nothing", "ROME again")
    say(chat, "/save mine")
    chat.conversation.ask("and Rome, not saved yet")
    capsys.readouterr()
    say(chat, "/search rome")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SESSION", "TURN", "WHO", "TEXT"]
    assert [line.split()[0] for line in lines[1:4]] == ["mine"] * 3
    assert len(lines) == 6
    say(chat, "/search Paris")
    assert "nothing found" in capsys.readouterr().err
    with pytest.raises(UsageError):
        say(chat, "/search")


def test_export_writes_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat = new_chat("one")
    say(chat, f"/export {tmp_path}/talk.md")
    say(chat, f'/export "{tmp_path}/a talk.json"')
    assert (tmp_path / "talk.md").read_text().startswith("# one\n\n## System\n\nBe brief.\n\n## You\n\none\n")
    assert len(parse_messages((tmp_path / "a talk.json").read_text())) == 3
    assert "wrote" in capsys.readouterr().out


def test_export_asks_before_it_writes_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = new_chat("one")
    path = tmp_path / "talk.md"
    path.write_text("old")
    monkeypatch.setattr("minichat.terminal.ask.says_yes", lambda _: False)
    say(chat, f"/export {path}")
    assert path.read_text() == "old"
    monkeypatch.setattr("minichat.terminal.ask.says_yes", lambda question: "exists" in question)
    say(chat, f"/export {path}")
    assert path.read_text() != "old"


def test_export_of_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    chat = new_chat("one")
    for argument in ("", f"{tmp_path}/talk", f"{tmp_path}/talk.pdf"):
        with pytest.raises(UsageError):
            say(chat, f"/export {argument}")
    with pytest.raises(StorageError):
        say(chat, f"/export {tmp_path}/nowhere/talk.md")
    with pytest.raises(UsageError, match="nothing has been said"):
        say(new_chat(), f"/export {tmp_path}/talk.md")


def test_names_complete() -> None:
    for name in ("trip", "my-trip", "other", "mine"):
        chat = new_chat("one")
        say(chat, f"/save {name}")
    load = next(command for command in commands.COMMANDS if command.name == "load")
    assert load.complete is not None
    assert list(load.complete(chat, "TRI")) == ["trip", "my-trip"]
    assert set(load.complete(chat, "")) == {"trip", "my-trip", "other"}  # mine is open


def test_hostile_texts_of_a_session_are_shown_by_signs(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2J\x07\x9b31m\u202eb"
    other = new_chat(hostile, model=f"x{hostile}")
    say(other, "/save other")
    close(other)
    chat = new_chat()
    for line in ("/load other", "/sessions", "/search a", f"/search {hostile}"):
        say(chat, line)
    told = capsys.readouterr()
    assert not UNSAFE.search(told.out + told.err)


# `minichat sessions`


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    from minichat.cli import main

    sys.argv = ["minichat", "sessions", *arguments]
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


def test_the_command_lists_shows_searches_and_removes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    code, out, err = run(capsys)
    assert (code, out) == (0, "")
    assert "no sessions yet" in err
    chat = new_chat("the train to Rome")
    say(chat, "/save trip")
    capsys.readouterr()
    code, out, _ = run(capsys, "rm", "trip")
    assert (code, out) == (2, "")  # it is open
    close(chat)
    code, out, _ = run(capsys)
    assert out.splitlines()[1].split()[0] == "trip"
    (one,) = json.loads(run(capsys, "--json")[1])
    assert (one["name"], one["turns"], one["title"], one["model"]) == ("trip", 1, "the train to Rome", MODEL)
    assert run(capsys, "show", "trip")[1].startswith("# the train to Rome\n")
    assert len(parse_messages(run(capsys, "show", "trip", "--json")[1])) == 3
    assert json.loads(run(capsys, "search", "rome", "--json")[1])[0]["turn"] == 1
    assert "Rome" in run(capsys, "search", "rome")[1]
    code, out, err = run(capsys, "show", "trap")
    assert (code, out) == (2, "")
    assert "did you mean trip?" in err
    assert run(capsys, "rm", "trip")[:2] == (0, "removed trip\n")
    assert not Sessions(minichat_home() / "sessions").names()


def test_after_load_the_default_system_prompt_is_that_of_the_session(capsys: pytest.CaptureFixture[str]) -> None:
    other = new_chat("one")
    say(other, "/system Answer in verse.")
    other.save()
    name = close(other)
    chat = new_chat()
    say(chat, "/set system Be long.")
    say(chat, f"/load {name}")
    capsys.readouterr()
    say(chat, "/show system")
    say(chat, "/set system Be short.")
    say(chat, "/set system default")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == shown[-1] == "system Answer in verse. (the session)"
    assert chat.conversation.system == "Answer in verse."
