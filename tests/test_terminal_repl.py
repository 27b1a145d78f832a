"""Whole chats: keys in, transcript out, with a fake engine."""

from __future__ import annotations

import io
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from fake_engine import INFO, FakeEngine
from fake_screen import Screen
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from minichat.commands.choosing import open_model
from minichat.conversation import Conversation
from minichat.engine.types import Chunk, LoadOptions, Sampling, Stats
from minichat.template.messages import Message
from minichat.template.pieces import Control, Text
from minichat.template.tools import Tool
from minichat.terminal import commands
from minichat.terminal.agreement import Agreement
from minichat.terminal.chat import Chat
from minichat.terminal.history import open_history
from minichat.terminal.interrupt import Waiting
from minichat.terminal.parking import Parked
from minichat.terminal.prompt import Prompt
from minichat.terminal.repl import run_repl
from minichat.terminal.toolbar import toolbar_text
from minichat.tools.toolbox import Toolbox
from quant.errors import EngineError, GgufError

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """stdout as a terminal of 60 columns; what prompt_toolkit draws is not in it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    return Screen(60, 24)


def chat_with(engine: FakeEngine, *others: FakeEngine, **fields: Any) -> Chat:
    opened = iter(others)
    return Chat(
        engine=engine,  # type: ignore[arg-type]
        open_engine=lambda _: next(opened),  # type: ignore[arg-type,return-value]
        conversation=Conversation("v7-tekken"),
        sampling=Sampling(),
        max_tokens=fields.pop("max_tokens", None),
        model_name="demo:q4_K_M",
        history_path=fields.pop("history_path", None),
        **fields,
    )


def type_into(screen: Screen, chat: Chat, keys: str) -> None:
    with redirect_stdout(screen), create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        run_repl(chat)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_question_and_answer(screen: Screen) -> None:
    engine = FakeEngine(["Hello", ", *you*."], ["Fine."])
    chat = chat_with(engine)
    type_into(screen, chat, f"Hi{ENTER}How are you?{ENTER}{CTRL_D}")
    assert screen.text() == ["Hello, you.", "", "Fine."]
    assert chat.conversation.messages == [
        Message("user", "Hi"),
        Message("assistant", "Hello, *you*.", tuple(map(ord, "Hello, *you*."))),
        Message("user", "How are you?"),
        Message("assistant", "Fine.", tuple(map(ord, "Fine."))),
    ]
    assert engine.closed


def test_the_template_is_that_of_the_model_that_was_loaded(screen: Screen) -> None:
    engine = FakeEngine(["Hello."])
    chat = chat_with(engine)
    chat.conversation.template = None
    type_into(screen, chat, f"Hi{ENTER}{CTRL_D}")
    assert engine.prompts == [[Control("<s>"), Control("[INST]"), Text("Hi"), Control("[/INST]")]]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(screen: Screen) -> None:
    engine = FakeEngine(["One", " two", interrupt, " three"], ["Four."])
    chat = chat_with(engine)
    before = signal.getsignal(signal.SIGINT)
    type_into(screen, chat, f"Count{ENTER}Go on{ENTER}/bye{ENTER}")
    assert screen.text() == ["One two", "(stopped)", "", "Four."]
    assert [m.content for m in chat.conversation.messages] == ["Count", "One two", "Go on", "Four."]
    assert chat.conversation.messages[1].tokens == tuple(map(ord, "One two"))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_answer_stopped_before_it_began_leaves_no_turn(screen: Screen) -> None:
    chat = chat_with(FakeEngine([interrupt, "never"], ["Yes."]))
    type_into(screen, chat, f"Count{ENTER}Are you there?{ENTER}{CTRL_D}")
    assert screen.text() == ["(stopped)", "", "Yes."]
    assert [m.content for m in chat.conversation.messages] == ["Are you there?", "Yes."]


def test_an_engine_that_does_not_stop_is_ended(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.terminal.interrupt._PATIENCE_S", -1.0)
    stuck, fresh = FakeEngine(["One", interrupt, "x"]), FakeEngine(["Here."])
    monkeypatch.setattr(stuck, "stop", interrupt_once(stuck))
    chat = chat_with(stuck, fresh)
    type_into(screen, chat, f"Count{ENTER}And now?{ENTER}{CTRL_D}")
    assert stuck.closed
    assert screen.text() == [
        "One",
        "minichat: the engine did not stop; it was ended and starts",
        "  again",
        "",
        "Here.",
    ]


def interrupt_once(engine: FakeEngine) -> Callable[[], None]:
    """A stop that does nothing, but the user presses Ctrl-C again."""

    def stop() -> None:
        if not engine.stops:
            engine.stops += 1
            interrupt()

    return stop


def test_clear_forgets_the_conversation(screen: Screen) -> None:
    engine = FakeEngine(["I see."], ["Who?"])
    chat = chat_with(engine)
    chat.conversation.system = "Be brief."
    type_into(screen, chat, f"I am Ann{ENTER}/clear{ENTER}Who am I?{ENTER}{CTRL_D}")
    assert screen.text() == ["I see.", "", "the conversation starts afresh", "Who?"]
    assert [m.content for m in chat.conversation.messages] == ["Who am I?", "Who?"]
    assert chat.conversation.system == "Be brief."


def test_unknown_commands_suggest_the_nearest_and_go_on(screen: Screen) -> None:
    engine = FakeEngine(["Yes."])
    chat = chat_with(engine)
    type_into(screen, chat, f"/claer{ENTER}/xyzzy{ENTER}/usr/bin?{ENTER}/BYE{ENTER}")
    assert " ".join(screen.text()) == (
        "no command /claer: did you mean /clear? (to send it as a message, put a space before it) "
        "no command /xyzzy: /help lists them (to send it as a message, put a space before it) Yes."
    )
    assert [m.content for m in chat.conversation.messages] == ["/usr/bin?", "Yes."]


def test_tab_completes_a_command_at_once(screen: Screen) -> None:
    type_into(screen, chat_with(FakeEngine()), f"/cl\t{ENTER}{CTRL_D}")
    assert screen.text() == ["the conversation starts afresh"]


def test_help_lists_every_command_and_key(screen: Screen) -> None:
    type_into(screen, chat_with(FakeEngine()), f"/help{ENTER}/bye{ENTER}")
    shown = "\n".join(screen.text())
    for command in commands.COMMANDS:
        assert f"/{command.name}" in shown
    assert "Ctrl-C" in shown


def test_ctrl_c_at_the_prompt_clears_the_line(screen: Screen) -> None:
    engine = FakeEngine(["Ok."])
    chat = chat_with(engine)
    type_into(screen, chat, f"wrong{CTRL_C}{CTRL_C}right{ENTER}{CTRL_D}")
    assert [m.content for m in chat.conversation.messages] == ["right", "Ok."]


def test_many_lines_are_one_message(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["Ok."], ["Ok."]))
    pasted = "\x1b[200~first\r\nsecond\n\nthird\x1b[201~"
    type_into(screen, chat, f"a\nb\x1b\rc{ENTER}{pasted}{ENTER}{CTRL_D}")
    assert [m.content for m in chat.conversation.messages][::2] == ["a\nb\nc", "first\nsecond\n\nthird"]


def test_blank_messages_are_not_sent(screen: Screen) -> None:
    engine = FakeEngine()
    type_into(screen, chat_with(engine), f"{ENTER}  {ENTER}{CTRL_D}")
    assert engine.prompts == []


def test_a_dead_engine_is_one_line_and_reload_starts_another(screen: Screen) -> None:
    dead, fresh = FakeEngine(["Half an ans", EngineError("the engine died: SIGABRT")]), FakeEngine(["Whole."])
    chat = chat_with(dead, fresh)
    chat.conversation.ask("Hi")
    chat.conversation.answer("Hello", (1,))
    type_into(screen, chat, f"Go{ENTER}/reload{ENTER}/retry{ENTER}{CTRL_D}")
    assert screen.text() == [
        "Half an ans",
        "minichat: the engine died: SIGABRT",
        "",
        "the engine starts again; the conversation is still there",
        "Whole.",
    ]
    assert dead.closed
    assert fresh.closed
    assert [m.content for m in chat.conversation.messages] == ["Hi", "Hello", "Go", "Whole."]


def test_a_model_that_does_not_load_ends_the_chat(screen: Screen) -> None:
    engine = FakeEngine(failure=GgufError("x.gguf: not a GGUF file"))
    chat = chat_with(engine)
    with pytest.raises(GgufError, match="not a GGUF"):
        type_into(screen, chat, f"Hi{ENTER}Again{ENTER}{CTRL_D}")
    assert engine.closed


def test_an_engine_that_dies_while_loading_can_be_started_again(screen: Screen) -> None:
    chat = chat_with(FakeEngine(failure=EngineError("the engine died: SIGKILL")), FakeEngine(["Hello."]))
    type_into(screen, chat, f"Hi{ENTER}/reload{ENTER}Hi{ENTER}{CTRL_D}")
    assert screen.text()[0] == "minichat: the engine died: SIGKILL"
    assert screen.text()[-1] == "Hello."


def answering(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What the person types when asked something in the middle of a turn."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_nothing_is_dropped_without_being_asked(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], limit=8))  # <s>[INST]?[/INST] and 1</s> are 6 pieces
    answering(monkeypatch, "what?", "")
    type_into(screen, chat, f"a{ENTER}b{ENTER}{CTRL_C}{CTRL_D}")
    shown = " ".join(screen.text())
    assert "This needs 11 tokens, room for an answer of 2 among them, and the context holds 8:" in shown
    for offer in ("d  drop the oldest turn", "c  compact it to a summary", "e  enlarge the context to 16 tokens"):
        assert offer in shown
    assert shown.count("Which one? [d/c/e/N]") == 2
    assert "nothing was sent" in shown
    assert [m.content for m in chat.conversation.messages] == ["a", "1"]


def test_what_is_pasted_into_the_question_chooses_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], limit=8))
    answering(monkeypatch, "one", "two", "three", "d")
    type_into(screen, chat, f"a{ENTER}b{ENTER}{CTRL_C}{CTRL_D}")
    assert "nothing was sent" in " ".join(screen.text())
    assert [m.content for m in chat.conversation.messages] == ["a", "1"]


def test_a_message_that_would_hide_why_it_was_not_sent_waits_in_the_history(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], limit=8))
    answering(monkeypatch, "n")
    type_into(screen, chat, f"a{ENTER}\x1b[200~{'x' * 60 * 13}\x1b[201~{ENTER}{CTRL_D}")
    assert "brings the message" in " ".join(screen.text())
    assert chat.draft == ""


def test_what_was_not_sent_is_in_the_prompt_again(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], limit=8))
    answering(monkeypatch, "n", "d")
    type_into(screen, chat, f"a{ENTER}b{ENTER}c{ENTER}{CTRL_D}")
    assert [m.content for m in chat.conversation.messages] == ["bc", "2"]


def test_the_oldest_turns_go_whole(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(*([str(n)] for n in range(9)), limit=40)
    chat = chat_with(engine)
    answering(monkeypatch, "d")
    type_into(screen, chat, "".join(f"q{n}{ENTER}" for n in range(9)) + CTRL_D)
    assert engine.fitting == [4, 9, 14, 19, 24, 29, 19, 24, 29]  # a quarter of the context is free, then half of it
    assert " ".join(screen.text()).count("(dropped the oldest 3 turns)") == 1
    assert [m.content for m in chat.conversation.messages[:2]] == ["q3", "3"]


def test_older_turns_become_a_summary(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(["1"], ["2"], ["We counted."], ["3"], limit=20)
    chat = chat_with(engine)
    answering(monkeypatch, "c")
    type_into(screen, chat, f"a{ENTER}b{ENTER}/compact{ENTER}c{ENTER}{CTRL_D}")
    contents = [m.text for m in chat.conversation.messages]
    assert contents[0].endswith("We counted.")
    assert contents[-4:] == ["b", "2", "c", "3"]
    assert len(contents) == 6
    assert "We counted. (the oldest turn is a summary now)" in " ".join(screen.text())


def test_the_context_can_be_enlarged(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    small = FakeEngine(["1"], ["2"], limit=8)
    chat = chat_with(small)
    answering(monkeypatch, "e")
    type_into(screen, chat, f"a{ENTER}b{ENTER}{CTRL_D}")
    assert (chat.load.ctx, small.limit) == (16, 16)
    assert [m.content for m in chat.conversation.messages] == ["a", "1", "b", "2"]


def test_a_question_that_leaves_little_room_is_still_answered(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"], limit=4))
    type_into(screen, chat, f"a{ENTER}{CTRL_D}")
    assert screen.text()[0] == "1"


def test_ctrl_c_while_a_command_runs_does_not_end_the_chat(screen: Screen) -> None:
    engine = FakeEngine(["1"], ["2"])
    chat = chat_with(engine)
    surprises = iter([interrupt])
    engine.close = lambda: next(surprises, lambda: None)()  # type: ignore[method-assign]
    type_into(screen, chat, f"a{ENTER}/reload{ENTER}b{ENTER}{CTRL_D}")
    assert screen.text() == ["1", "", "(stopped)", "", "2"]
    assert [m.content for m in chat.conversation.messages] == ["a", "1", "b", "2"]


def test_a_message_that_is_too_long_is_taken_back_and_nothing_forgotten(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "")
    engine = FakeEngine(["1"], limit=4)
    chat = chat_with(engine)
    chat.history_path = None
    type_into(screen, chat, f"a{ENTER}{CTRL_D}")
    engine.limit, engine.closed = 3, False
    chat.conversation.clear()
    type_into(screen, chat, f"b{ENTER}{CTRL_C}{CTRL_D}")
    assert "nothing was sent" in " ".join(screen.text())
    assert chat.conversation.messages == []


def test_an_answer_cut_by_max_tokens_says_so(screen: Screen) -> None:
    type_into(screen, chat_with(FakeEngine(["abc", "def", "ghi"]), max_tokens=4), f"Hi{ENTER}{CTRL_D}")
    assert screen.text() == ["abcdef", "(stopped at the limit of max-tokens; /continue goes on)"]


def test_what_the_model_says_cannot_drive_the_terminal(screen: Screen) -> None:
    type_into(screen, chat_with(FakeEngine(["\x1b", "[2J\x9b", "&#x202e;x"])), f"Hi{ENTER}{CTRL_D}")
    assert screen.text() == ["␛[2J<U+009B><U+202E>x"]


def test_history_is_private_and_kept(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "new" / "history"
    type_into(screen, chat_with(FakeEngine(["1"]), history_path=path), f"first question{ENTER}{CTRL_D}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    chat = chat_with(FakeEngine(["2"]), history_path=path)
    type_into(screen, chat, f"\x1b[A{ENTER}{CTRL_D}")
    assert chat.conversation.messages[0].content == "first question"


def test_history_that_cannot_be_kept_does_not_stop_the_chat(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    type_into(screen, chat_with(FakeEngine(["1"]), history_path=tmp_path / "file" / "history"), f"a{ENTER}{CTRL_D}")
    history = open_history(tmp_path / "history")
    (tmp_path / "history").unlink()
    (tmp_path / "history").mkdir()
    history.store_string("a")
    assert screen.text() == ["1"]


def test_bytes_that_are_no_text_are_replaced(screen: Screen) -> None:
    chat = chat_with(FakeEngine(["1"]))
    with redirect_stdout(screen), create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_bytes(b"a\xffb\r\x04")
        run_repl(chat)
    assert chat.conversation.messages[0].content == "a\N{REPLACEMENT CHARACTER}b"


def test_the_toolbar_tells_context_and_speed() -> None:
    chat = chat_with(FakeEngine())
    assert toolbar_text(chat) == "demo:q4_K_M"
    chat.info = FakeEngine().wait_loaded()
    chat.stats = Stats(10, 0, 101, 0.1, 0.1, 2.0, 1111)
    chat.used = chat.stats.context_tokens
    assert toolbar_text(chat) == "demo:q4_K_M · 1,111/4,096 · 50 tokens/s"


# Tools


def called(name: str, arguments: str) -> list[Any]:
    """An answer that is one call, as V7 writes it."""
    text = f'[{{"name": "{name}", "arguments": {arguments}, "id": "abcdefgh1"}}]'
    return [Control("[TOOL_CALLS]"), Chunk(text, "call")]


def toolbox(tmp_path: Path, command: bool = True) -> Toolbox:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    commands_of = {"double": (sys.executable, "-c", "import json, sys; print(2 * json.load(sys.stdin)['n'])")}
    return Toolbox((Tool("double", "Twice n.", schema),), commands_of if command else {}, tmp_path)


def with_tools(engine: FakeEngine, tools: Toolbox, agreement: Agreement) -> Chat:
    chat = chat_with(engine, toolbox=tools, agreement=agreement)
    chat.conversation.tools = tools.tools
    return chat


def test_a_tool_runs_and_the_answer_follows(screen: Screen, tmp_path: Path) -> None:
    engine = FakeEngine(called("double", '{"n": 21}'), ["It is 42."], ["Bye."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}Bye{ENTER}{CTRL_D}")
    shown = screen.text()
    assert shown[:2] == ["The model calls double", '  {"n": 21}']
    assert shown[-3:] == ["It is 42.", "", "Bye."]
    assert [m.role for m in chat.conversation.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert chat.conversation.messages[2].content == "42"
    assert Control("[AVAILABLE_TOOLS]") in engine.prompts[0]
    assert Text("42") in engine.prompts[1]


def test_a_tool_that_the_person_declines(screen: Screen, tmp_path: Path) -> None:
    engine = FakeEngine(called("double", '{"n": 21}'), ["Then not."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(stream=screen))  # nobody can be asked here: it is a no
    type_into(screen, chat, f"Twice 21?{ENTER}{CTRL_D}")
    assert screen.text()[-1] == "Then not."
    assert chat.conversation.messages[2].content == "Error: the user declined this call"


def test_the_person_gives_what_nothing_computes(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("forty-two\n"))
    engine = FakeEngine(called("double", '{"n": 21}'), ["It is forty-two."])
    chat = with_tools(engine, toolbox(tmp_path, command=False), Agreement(stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}{CTRL_D}")
    assert screen.text()[-1] == "It is forty-two."
    assert chat.conversation.messages[2].content == "forty-two"


def test_calls_that_stay_wrong_are_one_line_and_no_turn(screen: Screen, tmp_path: Path) -> None:
    wrong = called("double", '{"n": "many"}')
    engine = FakeEngine(wrong, wrong, ["Hello."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}Hi{ENTER}{CTRL_D}")
    shown = " ".join(screen.text())
    assert "minichat: the model called a tool wrongly twice" in shown
    assert shown.endswith("Hello.")
    assert [m.role for m in chat.conversation.messages] == ["user", "assistant"]


def test_ctrl_c_in_the_middle_of_a_call_runs_nothing(screen: Screen, tmp_path: Path) -> None:
    engine = FakeEngine([*called("double", '{"n": 21}'), interrupt, "x"], ["Hello."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}Hi{ENTER}{CTRL_D}")
    assert "The model calls double" not in screen.text()
    assert screen.text()[-1] == "Hello."


def test_a_tool_that_ran_is_not_forgotten(screen: Screen, tmp_path: Path) -> None:
    engine = FakeEngine(called("double", '{"n": 21}'), [EngineError("the engine died")], ["Hello."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}Hi{ENTER}{CTRL_D}")
    assert [m.text for m in chat.conversation.messages][2:] == ["42", "Hi", "Hello."]
    assert Text("42") in engine.prompts[-1]


def test_ctrl_c_in_a_tool_is_told_to_the_model(screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("minichat.tools.rounds.call", interrupted)
    engine = FakeEngine(called("double", '{"n": 21}'), ["Hello."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"Twice 21?{ENTER}Hi{ENTER}{CTRL_D}")
    assert "(stopped)" in screen.text()
    assert Text("Error: the user stopped this call") in engine.prompts[-1]


def test_an_answer_with_calls_that_run_and_calls_that_nothing_runs(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("red\n"))
    one = toolbox(tmp_path)
    two = Toolbox((*one.tools, Tool("colour")), one.commands, tmp_path)
    both = (
        '[{"name": "colour", "arguments": {}, "id": "abcdefgh1"},'
        ' {"name": "double", "arguments": {"n": 4}, "id": "abcdefgh2"}]'
    )
    engine = FakeEngine([Control("[TOOL_CALLS]"), Chunk(both, "call")], ["Red, 8."])
    chat = with_tools(engine, two, Agreement(allow_all=True, stream=screen))
    type_into(screen, chat, f"What?{ENTER}{CTRL_D}")
    assert [m.text for m in chat.conversation.messages if m.role == "tool"] == ["red", "8"]


def test_a_wrong_format_does_not_end_the_chat(screen: Screen, tmp_path: Path) -> None:
    keys = f"/format {tmp_path}/nowhere.json{ENTER}/format -{ENTER}Hi{ENTER}{CTRL_D}"
    type_into(screen, chat_with(FakeEngine(["Hello."])), keys)
    shown = screen.text()
    assert shown[-1] == "Hello."
    assert sum(line.startswith("minichat:") for line in shown) == 2


def test_no_tools_where_answers_must_be_json(screen: Screen, tmp_path: Path) -> None:
    engine = FakeEngine(["{}"], ["Hello."])
    chat = with_tools(engine, toolbox(tmp_path), Agreement(stream=screen))
    type_into(screen, chat, f"/format json{ENTER}Hi{ENTER}/format text{ENTER}Hi{ENTER}{CTRL_D}")
    assert [Control("[AVAILABLE_TOOLS]") in prompt for prompt in engine.prompts] == [False, True]
    assert "no tools are called" in " ".join(screen.text())


# What the model sees, and the form of answers


def test_tokens_shows_the_last_prompt(screen: Screen) -> None:
    engine = FakeEngine(["Hello."])
    type_into(screen, chat_with(engine), f"/tokens{ENTER}What is [INST]?{ENTER}/tokens{ENTER}{CTRL_D}")
    assert screen.text()[-2:] == ["<s>[INST]What is [INST]?[/INST]", "(4 tokens)"]
    assert "no prompt yet" in screen.text()[0]


def test_format_holds_the_answers_to_a_form(screen: Screen, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "integer"}')
    engine = FakeEngine(['{"a": 1}'], ["12"], ["*x*"])
    keys = (
        f"/format json{ENTER}Hi{ENTER}/format {schema}{ENTER}Hi{ENTER}/format nowhere.json{ENTER}/format{ENTER}"
        f"/format text{ENTER}Hi{ENTER}{CTRL_D}"
    )
    type_into(screen, chat_with(engine), keys)
    shown = screen.text()
    assert shown[0].startswith("answers are json")
    assert '{"a": 1}' in shown
    assert "12" in shown
    assert any("nowhere.json" in line and line.startswith("minichat:") for line in shown)
    assert shown[-1] == "x"
    assert [grammar is None for grammar in engine.grammars] == [False, False, True]


@pytest.mark.parametrize("command", ["/export", "/format", "/model", "/load", "/save"])
def test_a_name_that_no_file_can_have_does_not_end_the_chat(screen: Screen, command: str) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"]))
    chat.open_model = open_model
    type_into(screen, chat, f"a{ENTER}{command} ./{'x' * 300}.md{ENTER}b{ENTER}{CTRL_D}")
    assert any(row.startswith("minichat: ") for row in screen.text())
    assert [m.text for m in chat.conversation.messages] == ["a", "1", "b", "2"]


def test_a_ctrl_c_before_the_prompt_is_there_leaves_what_is_edited(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chat_with(FakeEngine(["1"], ["2"], ["3"]))
    read, drafts = Prompt.read, []

    def reading(prompt: Prompt, draft: str, waiting: Waiting) -> str:
        drafts.append(draft)
        if drafts.count("a") == 1 and draft:
            raise KeyboardInterrupt
        return read(prompt, draft, waiting)

    monkeypatch.setattr(Prompt, "read", reading)
    type_into(screen, chat, f"a{ENTER}b{ENTER}/edit 1{ENTER}x{ENTER}{CTRL_D}")
    assert drafts == ["", "", "", "a", "a", ""]
    assert [m.text for m in chat.conversation.messages] == ["ax", "3"]


def test_a_prompt_that_does_not_fit_has_the_memory_of_the_model_that_is_kept(screen: Screen) -> None:
    class Kept(FakeEngine):
        def close(self) -> None:
            super().close()
            engine.limit = 4096  # now the context can grow

    engine, kept = FakeEngine(["There."], limit=3), Kept()
    chat = chat_with(engine)
    chat.parked = Parked(kept, Path("other.gguf"), LoadOptions(), INFO, [])  # type: ignore[arg-type]
    chat.conversation.ask("Hi")
    chat.conversation.answer("Hello", (1,))
    chat.info = INFO
    type_into(screen, chat, f"Go on{ENTER}{CTRL_D}")
    assert screen.text() == ["There."]
    assert kept.closed
