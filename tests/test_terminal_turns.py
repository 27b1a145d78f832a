"""Turns that are drawn again, changed, taken back, lengthened or cut off, with a fake engine."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_screen import Screen
from test_terminal_repl import CTRL_C, CTRL_D, ENTER, answering, chat_with, interrupt, screen, type_into

from minichat import formats
from minichat.conversation import EMBEDDED, Conversation
from minichat.engine.types import Chunk, Sampling
from minichat.sessions import Sessions
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Text, Tokens
from minichat.template.tools import Tool
from minichat.terminal.agreement import Agreement
from minichat.terminal.chat import Chat
from minichat.terminal.toolbar import toolbar_text
from minichat.tools.rounds import INTERRUPTED
from minichat.tools.toolbox import Toolbox
from quant.errors import EngineError

__all__ = ["screen"]


def contents(chat: Chat) -> list[str]:
    return [message.text for message in chat.conversation.messages]


def leave() -> None:
    """What a closed window does."""
    raise SystemExit(129)


def test_retry_asks_the_same_question_again(screen: Screen) -> None:
    engine = FakeEngine(["One"], ["Two"])
    chat = chat_with(engine)
    type_into(screen, chat, f"Say{ENTER}/retry{ENTER}{CTRL_D}")
    assert engine.prompts[0] == engine.prompts[1]
    assert contents(chat) == ["Say", "Two"]


def test_retry_takes_the_next_seed_where_one_was_chosen(screen: Screen) -> None:
    engine = FakeEngine(["One"], ["Two"], ["Three"], ["Four"])
    chat = chat_with(engine)
    chat.sampling = Sampling(seed=7)
    seeds = []
    generate = engine.generate

    def noting(*arguments: object, **named: object) -> object:
        events = generate(*arguments, **named)  # type: ignore[arg-type]
        seeds.append(engine.sampling.seed if engine.sampling else None)
        return events

    engine.generate = noting  # type: ignore[method-assign,assignment]
    type_into(screen, chat, f"Say{ENTER}/retry{ENTER}/retry{ENTER}And{ENTER}{CTRL_D}")
    assert seeds == [7, 8, 9, 7]


def test_an_answer_that_was_drawn_again_and_stopped_at_once_leaves_the_old_one(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One"], [interrupt, "Two"]))
    type_into(screen, chat, f"Say{ENTER}/retry{ENTER}{CTRL_D}")
    assert contents(chat) == ["Say", "One"]


def test_retry_answers_a_question_that_has_none(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["Hello."]))
    chat.conversation.ask("Hi")
    type_into(screen, chat, f"/retry{ENTER}{CTRL_D}")
    assert contents(chat) == ["Hi", "Hello."]


@pytest.mark.parametrize("command", ["retry", "continue", "edit", "undo", "drop 1", "compact", "raw", "copy"])
def test_there_must_be_something_to_work_on(screen: Screen, command: str) -> None:
    chat = chat_with(FakeEngine())
    type_into(screen, chat, f"/{command}{ENTER}{CTRL_D}")
    assert screen.text()[0].startswith("minichat: ")
    assert not chat.conversation.messages


def test_an_earlier_message_is_changed_and_what_followed_is_gone(screen: Screen) -> None:
    engine = FakeEngine(["1"], ["2"], ["3"])
    chat = chat_with(engine)
    type_into(screen, chat, f"a{ENTER}b{ENTER}/edit 1{ENTER}x{ENTER}{CTRL_D}")
    assert contents(chat) == ["ax", "3"]
    assert engine.prompts[2] == [Control("<s>"), Control("[INST]"), Text("ax"), Control("[/INST]")]


@pytest.mark.parametrize("way_out", [CTRL_C, f"{CTRL_C}/stats{ENTER}"])
def test_an_edit_that_is_not_sent_changes_nothing(screen: Screen, way_out: str) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], ["3"]))
    type_into(screen, chat, f"a{ENTER}b{ENTER}/edit 1{ENTER}{way_out}c{ENTER}{CTRL_D}")
    assert contents(chat) == ["a", "1", "b", "2", "c", "3"]


def test_an_edited_message_that_comes_to_nothing_leaves_all_as_it_was(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], [interrupt, "never"]))
    type_into(screen, chat, f"a{ENTER}b{ENTER}/edit 1{ENTER}x{ENTER}{CTRL_C}{CTRL_D}")
    assert contents(chat) == ["a", "1", "b", "2"]


def test_undo_takes_back_one_turn_with_its_calls(screen: Screen) -> None:
    chat = chat_with(FakeEngine())
    call = Call("look", "{}", "a1b2c3d4e")
    chat.conversation.messages = [
        Message("user", "a"),
        Message("assistant", "1"),
        Message("user", "b"),
        Message("assistant", "", calls=(call,)),
        Message("tool", "seen", call_id=call.id),
        Message("assistant", "2"),
    ]
    type_into(screen, chat, f"/undo{ENTER}{CTRL_D}")
    assert contents(chat) == ["a", "1"]
    assert screen.text() == ["(undone: b)"]


def test_an_answer_is_lengthened_where_it_ended(screen: Screen) -> None:
    engine = FakeEngine(["One, tw"], ["o."])
    chat = chat_with(engine)
    type_into(screen, chat, f"Count{ENTER}/continue{ENTER}{CTRL_D}")
    ids = tuple(map(ord, "One, tw"))
    asked = [Control("[INST]"), Text("Count"), Control("[/INST]")]
    assert engine.prompts[1] == [Control("<s>"), *asked, Tokens(ids)]  # no </s>: the answer is open
    assert chat.conversation.messages[-1] == Message("assistant", "One, two.", tuple(map(ord, "One, two.")))


def test_an_answer_that_was_stopped_is_marked_and_one_that_was_lengthened_to_its_end_is_not(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One", interrupt, "two"], [" two"]))
    type_into(screen, chat, f"Count{ENTER}/stats{ENTER}{CTRL_D}")
    assert "after 0.10 s; answer 3 tokens at 4.0/s" in screen.text()
    assert chat.conversation.messages[-1].cut
    chat.engine.closed = False  # type: ignore[attr-defined]
    type_into(screen, chat, f"/continue{ENTER}{CTRL_D}")
    assert chat.conversation.messages[-1] == Message("assistant", "One two", tuple(map(ord, "One two")))
    assert not chat.conversation.messages[-1].cut


@pytest.mark.parametrize("end", [leave, EngineError("the engine died: SIGSEGV")])
def test_what_was_said_before_the_window_closed_or_the_engine_died_is_kept(
    screen: Screen, tmp_path: Path, end: object
) -> None:
    sessions = Sessions(tmp_path / "sessions")
    chat = chat_with(FakeEngine(["Hello"], ["One, tw", end]), sessions=sessions, session=sessions.new("s"))  # type: ignore[list-item]
    with pytest.raises(SystemExit) if end is leave else open_end():
        type_into(screen, chat, f"Hi{ENTER}Count{ENTER}{CTRL_D}")
    saved = sessions.read("s")
    assert [m.text for m in saved.messages] == ["Hi", "Hello", "Count", "One, tw"]
    assert saved.messages[-1].cut


@pytest.mark.parametrize("end", [leave, EngineError("the engine died: SIGSEGV")])
def test_so_it_is_when_an_answer_was_being_lengthened(screen: Screen, tmp_path: Path, end: object) -> None:
    sessions = Sessions(tmp_path / "sessions")
    chat = chat_with(FakeEngine(["One, tw"], ["o, th", end]), sessions=sessions, session=sessions.new("s"))  # type: ignore[list-item]
    with pytest.raises(SystemExit) if end is leave else open_end():
        type_into(screen, chat, f"Count{ENTER}/continue{ENTER}{CTRL_D}")
    assert [m.text for m in sessions.read("s").messages] == ["Count", "One, two, th"]


def test_a_question_stays_when_the_window_closes_before_its_answer(screen: Screen, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    chat = chat_with(FakeEngine([leave]), sessions=sessions, session=sessions.new("s"))
    with pytest.raises(SystemExit):
        type_into(screen, chat, f"Hi{ENTER}")
    assert [m.text for m in sessions.read("s").messages] == ["Hi"]


class open_end:  # noqa: N801
    """A context that expects nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_each_turn_is_on_the_disk_when_it_has_ended(screen: Screen, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([m.text for m in sessions.read("s").messages])

    chat = chat_with(FakeEngine(["1"], [look, "2"]), sessions=sessions, session=sessions.new("s"))
    type_into(screen, chat, f"a{ENTER}b{ENTER}/undo{ENTER}{CTRL_D}")
    assert seen == [["a", "1", "b"]]
    assert [m.text for m in sessions.read("s").messages] == ["a", "1"]


def test_clear_begins_another_session(screen: Screen, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    chat = chat_with(FakeEngine(["1"], ["2"]), sessions=sessions, session=sessions.new("s"))
    type_into(screen, chat, f"a{ENTER}/clear{ENTER}b{ENTER}{CTRL_D}")
    assert "/load s brings the old one back" in " ".join(screen.text())
    assert [m.text for m in sessions.read("s").messages] == ["a", "1"]
    assert contents(chat) == ["b", "2"]
    assert len(sessions.names()) == 2


def test_the_context_counts_each_turn(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["12"], ["3"]))  # a token of the fake is a piece
    chat.conversation.system = "Be brief."
    type_into(screen, chat, f"a{ENTER}b{ENTER}/context{ENTER}{CTRL_D}")
    table = [row.split() for row in screen.text()[-4:]]
    assert table[1:3] == [["1", "5", "a"], ["2", "5", "b"]]
    assert table[0][:2] == ["6", "system"]  # <s>, three pieces of the system prompt, two of an empty question
    assert " ".join(table[3]).startswith("16 of 4,096 tokens (0%)")


def test_a_file_goes_with_a_message_and_is_read_again_when_that_is_changed(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.txt").write_text("old\n")
    chat = chat_with(FakeEngine(["1"], ["2"]))
    type_into(screen, chat, f"See @n.txt{ENTER}{CTRL_D}")
    assert contents(chat)[0] == "n.txt:\n```\nold\n```\n\nSee @n.txt"
    (tmp_path / "n.txt").write_text("new\n")
    chat.engine.closed = False  # type: ignore[attr-defined]
    type_into(screen, chat, f"/edit{ENTER} now{ENTER}{CTRL_D}")
    assert contents(chat) == ["n.txt:\n```\nnew\n```\n\nSee @n.txt now", "2"]


def test_a_file_that_cannot_go_along_keeps_the_message_here(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.bin").write_bytes(b"\0\1")
    chat = chat_with(FakeEngine(["1"]))
    type_into(screen, chat, f"See @n.bin{ENTER}{CTRL_C}{CTRL_D}")
    assert "n.bin" in screen.text()[0]
    assert contents(chat) == []


def test_turns_too_long_for_one_prompt_are_summarised_in_parts(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    answers = [[str(n)] for n in range(4)] + [["first part"], ["both parts"], ["end"]]
    engine = FakeEngine(*answers, limit=26)
    chat = chat_with(engine, max_tokens=10)
    type_into(screen, chat, "".join(f"q{n}{ENTER}" for n in range(4)) + f"/compact 4{ENTER}{CTRL_D}")
    assert contents(chat)[0].endswith("\n\nboth parts") or contents(chat)[0].endswith("\n\nfirst part")
    assert len(contents(chat)) == 2


def test_what_a_base_model_continues_can_be_counted_and_is_not_summarised(screen: Screen) -> None:
    engine = FakeEngine(["1"], ["2"])
    chat = chat_with(engine, template_of=lambda _: None)
    chat.conversation = Conversation(None)
    type_into(screen, chat, f"a{ENTER}b{ENTER}/context{ENTER}/compact{ENTER}{CTRL_D}")
    shown = " ".join(screen.text())
    assert [row.split() for row in screen.text()[5:7]] == [["1", "2", "a"], ["2", "2", "b"]]
    assert "5 of 4,096 tokens" in shown
    assert "a base model goes on with a text" in shown
    assert contents(chat) == ["a", "1", "b", "2"]


def test_a_context_that_is_nearly_full_is_counted_too(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], ["3"], limit=18))
    type_into(screen, chat, "".join(f"{key}{ENTER}" for key in ("a", "b", "c", "/context")) + CTRL_D)
    assert screen.text()[-5].split() == ["TURN", "TOKENS", "QUESTION"]
    assert [row.split() for row in screen.text()[-4:-1]] == [
        ["1", "5", "a", "would", "be", "dropped", "first"],
        ["2", "5", "b", "would", "be", "dropped", "first"],
        ["3", "5", "c"],
    ]


def test_room_is_made_for_an_answer_that_goes_on(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "d")
    chat = chat_with(FakeEngine(["1"], ["2", "3"], [" and more"], limit=10))
    chat.max_tokens = 1
    type_into(screen, chat, f"a{ENTER}b{ENTER}/set max-tokens 9{ENTER}/continue{ENTER}{CTRL_D}")
    assert "(dropped the oldest turn)" in " ".join(screen.text())
    assert contents(chat) == ["b", "2 and more"]


def test_an_answer_of_another_family_is_lengthened_as_it_stood(screen: Screen) -> None:
    engine = FakeEngine(["One, tw"], ["o."])
    chat = chat_with(engine, template_of=lambda _: EMBEDDED)
    type_into(screen, chat, f"Count{ENTER}/continue{ENTER}{CTRL_D}")
    assert engine.prompts[1] == [*engine.prompts[0], Tokens(tuple(map(ord, "One, tw")))]
    assert contents(chat) == ["Count", "One, two."]


def test_retry_says_why_the_answer_is_the_same_again(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"], ["1"]))
    chat.sampling = Sampling(temperature=0)
    type_into(screen, chat, f"a{ENTER}/retry{ENTER}{CTRL_D}")
    assert "at temperature 0 the answer is the same every time" in " ".join(screen.text())


def test_json_is_not_gone_on_with(screen: Screen) -> None:
    engine = FakeEngine(['{"a": 1', "never"])
    chat = chat_with(engine, form=formats.any_object(), max_tokens=7)
    type_into(screen, chat, f"a{ENTER}/continue{ENTER}{CTRL_D}")
    shown = " ".join(screen.text())
    assert "(stopped at the limit of max-tokens: /set max-tokens, then /retry)" in shown
    assert "JSON cannot be gone on with" in shown
    assert len(engine.prompts) == 1
    assert contents(chat) == ["a", '{"a": 1']


def test_a_number_that_no_turn_has(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"]))
    type_into(screen, chat, f"a{ENTER}/drop {'1' * 5000}{ENTER}{CTRL_D}")
    assert "is no turn: 1 to 1" in " ".join(screen.text())


def test_what_came_before_a_call_is_kept_once_when_the_window_closes_behind_it(screen: Screen, tmp_path: Path) -> None:
    class Closing(Agreement):
        def agrees(self, *_: object) -> bool:
            raise SystemExit(129)

    call = '[{"name": "look", "arguments": {}, "id": "a1b2c3d4e"}]'
    engine = FakeEngine(["Let me look.", Control("[TOOL_CALLS]"), Chunk(call, "call")])
    toolbox = Toolbox((Tool("look", "", {}),), {"look": ("true",)}, tmp_path)
    chat = chat_with(engine, toolbox=toolbox, agreement=Closing())
    with pytest.raises(SystemExit):
        type_into(screen, chat, f"a{ENTER}")
    assert contents(chat) == ["a", "Let me look.", INTERRUPTED]


def test_a_kill_while_an_answer_is_drawn_again_leaves_the_old_one(screen: Screen, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([m.text for m in sessions.read("s").messages])

    engine = FakeEngine(["One"], ["Tw", look, "o"], ["Thr", leave])
    chat = chat_with(engine, sessions=sessions, session=sessions.new("s"))
    with pytest.raises(SystemExit):
        type_into(screen, chat, f"Say{ENTER}/retry{ENTER}/retry{ENTER}")
    assert seen == [["Say", "One"]]
    assert [m.text for m in sessions.read("s").messages] == ["Say", "Two"]


def test_what_is_left_is_counted_anew_when_a_turn_is_gone(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"]))
    type_into(screen, chat, f"a{ENTER}b{ENTER}{CTRL_D}")
    assert "10/4,096" in toolbar_text(chat)
    chat.engine.closed = False  # type: ignore[attr-defined]
    type_into(screen, chat, f"/undo{ENTER}{CTRL_D}")
    assert " 8/4,096" in toolbar_text(chat)  # as /context counts it, with the frame of a message
    type_into(screen, chat, f"/drop 1{ENTER}{CTRL_D}")
    assert "/4,096" not in toolbar_text(chat)


def test_a_question_to_which_the_model_says_nothing_stays(screen: Screen) -> None:
    chat = chat_with(FakeEngine([], ["Now."]))
    type_into(screen, chat, f"Hi{ENTER}/retry{ENTER}{CTRL_D}")
    assert screen.text()[0] == "(the model said nothing; /retry asks again)"
    assert contents(chat) == ["Hi", "Now."]


def test_an_old_answer_stays_where_the_model_says_nothing_in_its_place(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One"], []))
    type_into(screen, chat, f"Hi{ENTER}/retry{ENTER}{CTRL_D}")
    assert contents(chat) == ["Hi", "One"]


@pytest.mark.parametrize("command", ["undo 3", "clear all", "retry now", "continue 2", "context x", "stats now"])
def test_a_command_that_takes_nothing_does_nothing_with_an_argument(screen: Screen, command: str) -> None:
    chat = chat_with(FakeEngine(["1"]))
    type_into(screen, chat, f"a{ENTER}/{command}{ENTER}{CTRL_D}")
    assert f"/{command.split()[0]} stands alone: nothing was done" in " ".join(screen.text())
    assert contents(chat) == ["a", "1"]


def test_what_was_said_before_a_summary_is_kept_in_a_session_of_its_own(screen: Screen, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    chat = chat_with(FakeEngine(["1"], ["2"], ["Counted."]), sessions=sessions, session=sessions.new("s"))
    type_into(screen, chat, f"a{ENTER}b{ENTER}/compact{ENTER}{CTRL_D}")
    assert "/load s-whole has all that was said" in " ".join(screen.text())
    assert [m.text for m in sessions.read("s-whole").messages] == ["a", "1", "b", "2"]
    assert [m.text for m in sessions.read("s").messages] == contents(chat)
    assert contents(chat)[-2:] == ["b", "2"]


def test_the_name_of_a_file_that_is_not_there_is_told(screen: Screen, tmp_path: Path) -> None:
    chat = chat_with(FakeEngine(["1"]))
    type_into(screen, chat, f"Ask @someone for {tmp_path.name} and @no/such.txt!{ENTER}{CTRL_D}")
    assert screen.text()[0] == "(there is no file no/such.txt: sent as it stands)"
    assert contents(chat)[0].startswith("Ask @someone")


class Person:
    """Types one line after the other, and sends what stands in the prompt where the line is None."""

    def __init__(self, *lines: str | None) -> None:
        self.lines, self.drafts = list(lines), [""]

    def keeps_terminal(self) -> AbstractContextManager[None]:
        return nullcontext()

    def is_typed_ahead(self) -> bool:
        return False

    def graphics(self) -> None:
        pass

    def read(self, draft: str, waiting: object) -> str:
        self.drafts.append(draft)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        return draft if line is None else line


def test_a_message_that_was_stopped_before_the_first_word_stands_in_the_prompt_again(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person("first", "second", None, "/edit 1", None, None)
    monkeypatch.setattr("minichat.terminal.repl.Prompt", lambda _: person)
    chat = chat_with(FakeEngine(["One"], [interrupt, "never"], ["Two"], [interrupt, "never"], ["Other"]))
    type_into(screen, chat, "")
    assert person.drafts[1:] == ["", "", "second", "", "first", "first", ""]
    assert contents(chat) == ["first", "Other"]


def test_the_context_that_is_told_is_that_of_what_was_answered(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One"], [interrupt, "never"]))
    type_into(screen, chat, f"first{ENTER}{CTRL_D}")
    told = toolbar_text(chat)
    assert "7/4,096" in told
    chat.engine.closed = False  # type: ignore[attr-defined]
    type_into(screen, chat, f"second{ENTER}{CTRL_C}{CTRL_D}")
    assert "7/4,096" in toolbar_text(chat)
    first = chat_with(FakeEngine([interrupt, "never"]))
    type_into(screen, first, f"first{ENTER}{CTRL_C}{CTRL_D}")
    assert "/4,096" not in toolbar_text(first)


def test_retry_asks_a_message_that_was_stopped_before_the_first_word(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["One"], [interrupt, "never"], [interrupt, "never"], ["Two"], ["Other"]))
    retry = f"/retry{ENTER}"
    type_into(screen, chat, f"first{ENTER}second{ENTER}{retry}{retry}{retry}{CTRL_D}")
    assert contents(chat) == ["first", "One", "second", "Other"]
    assert screen.text().count("(asked again: second)") == 2


@pytest.mark.parametrize("between", ["/clear", "/undo"])
def test_retry_asks_nothing_that_belonged_to_another_conversation(screen: Screen, between: str) -> None:
    chat = chat_with(FakeEngine(["One"], [interrupt, "never"], ["Two"]))
    type_into(screen, chat, f"first{ENTER}second{ENTER}{between}{ENTER}/retry{ENTER}{CTRL_D}")
    assert contents(chat) == []
    assert "nothing has been asked yet" in " ".join(screen.text())
