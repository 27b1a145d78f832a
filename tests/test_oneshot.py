"""One answer from the command line, with tools and forms, with a fake engine."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from minichat import formats, oneshot
from minichat.chat import Memory, RunOptions
from minichat.engine.types import Chunk, Sampling
from minichat.models import Model
from minichat.sessions import Sessions
from minichat.template.pieces import Control, Text
from minichat.template.tools import Tool
from minichat.terminal import ask
from minichat.tools.toolbox import Toolbox
from quant.errors import ContextError, DataError, EngineDiedError, EngineError, GgufError, ToolError, UsageError

MODEL = Model("mine", Path("mine.gguf"))
DOUBLE = Tool("double", "", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
COMMAND = (sys.executable, "-c", "import json, sys; print(2 * json.load(sys.stdin)['n'])")


def called(*arguments: str, name: str = "double") -> list[Any]:
    calls = [f'{{"name": "{name}", "arguments": {one}, "id": "abcdefgh{n}"}}' for n, one in enumerate(arguments)]
    return [Control("[TOOL_CALLS]"), Chunk(f"[{', '.join(calls)}]", "call")]


def toolbox(tmp_path: Path, command: bool = True) -> Toolbox:
    return Toolbox((DOUBLE,), {"double": COMMAND} if command else {}, tmp_path)


def answer(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, options: RunOptions, as_json: bool = False
) -> FakeEngine:
    monkeypatch.setattr(oneshot, "Engine", lambda path, load: engine)  # noqa: ARG005
    oneshot.answer(MODEL, "Twice 21?", options, as_json, False)
    return engine


def test_a_tool_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(called('{"n": 21}'), ["It is 42."])
    answer(monkeypatch, engine, RunOptions(toolbox=toolbox(tmp_path), allow_tools=True))
    out, err = capsys.readouterr()
    assert out == "It is 42.\n"
    assert "The model calls double" in err
    assert Text("42") in engine.prompts[1]
    assert engine.closed


def test_without_somebody_to_agree_a_call_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for has_command in (True, False):
        engine = FakeEngine(called('{"n": 21}', '{"n": 4}'))
        answer(monkeypatch, engine, RunOptions(toolbox=toolbox(tmp_path, has_command)))
        out, err = capsys.readouterr()
        assert json.loads(out) == [
            {"id": "abcdefgh0", "name": "double", "arguments": {"n": 21}},
            {"id": "abcdefgh1", "name": "double", "arguments": {"n": 4}},
        ]
        assert ("--allow-tools" in err) == has_command


def test_a_program_gets_calls_as_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(toolbox=toolbox(tmp_path, command=False))
    answer(monkeypatch, FakeEngine(["Let me look.", *called('{"n": 21}')]), options)
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"id": "abcdefgh0", "name": "double", "arguments": {"n": 21}}]
    assert err == "Let me look.\n"
    answer(monkeypatch, FakeEngine(["No need."]), options)
    assert capsys.readouterr() == ("No need.\n", "")


def test_a_person_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ask, "can_ask", lambda stream=None: True)  # noqa: ARG005
    monkeypatch.setattr("minichat.terminal.agreement.can_ask", lambda stream: True)  # noqa: ARG005
    lines = iter(["y\n", "n\n"])
    monkeypatch.setattr(sys.stdin, "readline", lambda limit: next(lines), raising=False)  # noqa: ARG005
    engine = FakeEngine(called('{"n": 21}'), called('{"n": 4}'), ["Done."])
    answer(monkeypatch, engine, RunOptions(toolbox=toolbox(tmp_path)))
    assert capsys.readouterr().out == "Done.\n"
    assert Text("42") in engine.prompts[1]
    assert Text("Error: the user declined this call") in engine.prompts[2]


def test_json_tells_of_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(called('{"n": 21}', '{"n": 4}'), ["It is 42 and 8."])
    answer(monkeypatch, engine, RunOptions(toolbox=toolbox(tmp_path), allow_tools=True), as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["answer"] == "It is 42 and 8."
    assert [(call["arguments"], call["result"]) for call in facts["calls"]] == [({"n": 21}, "42"), ({"n": 4}, "8")]
    answer(monkeypatch, FakeEngine(called('{"n": 1}')), RunOptions(toolbox=toolbox(tmp_path)), as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["calls"] == [{"id": "abcdefgh0", "name": "double", "arguments": {"n": 1}}]


def test_tools_and_a_vocabulary_that_cannot_write_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()

    def lacks(pieces: list[Any]) -> None:
        if Control("[ARGS]") in pieces:
            raise GgufError("the model's vocabulary has no control token [ARGS]: use another template")

    monkeypatch.setattr(engine, "tokenize", lacks)
    with pytest.raises(UsageError, match=r"--tools with the template v13: .*\[ARGS\]"):
        answer(monkeypatch, engine, RunOptions(toolbox=toolbox(tmp_path), template="v13"))


def test_how_a_call_ended_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = (sys.executable, "-c", "raise SystemExit('no such thing\\x1b[2J')")
    options = RunOptions(toolbox=Toolbox((DOUBLE,), {"double": failing}, tmp_path), allow_tools=True)
    answer(monkeypatch, FakeEngine(called('{"n": 2}'), ["Well."]), options)
    err = capsys.readouterr().err
    assert "Error: double failed with exit code 1: no such thing␛[2J" in err
    assert "\x1b" not in err


def test_calls_that_stay_wrong_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = called('{"n": "many"}')
    with pytest.raises(ToolError, match="called a tool wrongly twice"):
        answer(monkeypatch, FakeEngine(wrong, wrong), RunOptions(toolbox=toolbox(tmp_path), allow_tools=True))


def test_tools_and_a_template_that_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--tools"):
        answer(monkeypatch, FakeEngine(), RunOptions(toolbox=toolbox(tmp_path), template="v1"))


def test_ctrl_c_ends_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(["One", lambda: signal.raise_signal(signal.SIGINT), " two"])
    with pytest.raises(KeyboardInterrupt):
        answer(monkeypatch, engine, RunOptions())
    assert capsys.readouterr().out == "One\n"


def test_ctrl_c_ends_json_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> FakeEngine:
        return FakeEngine(["One", lambda: signal.raise_signal(signal.SIGINT), " two"])

    with pytest.raises(KeyboardInterrupt):
        answer(monkeypatch, interrupted(), RunOptions(), as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["answer"], facts["reason"], facts["tokens"]) == ("One", "stop", [79, 110, 101])
    with pytest.raises(KeyboardInterrupt):  # text that was held back for calls that might have followed
        answer(monkeypatch, interrupted(), RunOptions(toolbox=toolbox(tmp_path, command=False)))
    assert capsys.readouterr().out == "One\n"


def test_json_tells_all_that_is_needed_to_have_the_answer_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked, drawn in ((None, 1234), (7, 7)):
        answer(monkeypatch, FakeEngine(["It is", " 42."]), RunOptions(sampling=Sampling(seed=asked)), as_json=True)
        facts = json.loads(capsys.readouterr().out)
        assert facts["model"] == "mine"
        assert (facts["answer"], facts["reason"], facts["seed"]) == ("It is 42.", "eos", drawn)
        assert facts["tokens"] == [*map(ord, "It is 42.")]
        assert {"prompt_tokens", "answer_tokens", "first_token_s", "prefill_s", "decode_s"} <= facts["stats"].keys()


def test_a_screen_reader_gets_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    engine = FakeEngine(["**One", ".** Tw", "o."])
    monkeypatch.setattr(oneshot, "Engine", lambda path, load: engine)  # noqa: ARG005
    oneshot.answer(MODEL, "Twice 21?", RunOptions(plain=True), False, False)
    assert out.getvalue() == "minichat: **One.** Two.\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_that_was_cut_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(form=formats.any_object(), max_tokens=5)
    with pytest.raises(DataError, match="--max-tokens"):
        answer(monkeypatch, FakeEngine(['{"a":', " 1}"]), options)
    assert capsys.readouterr().out == '{"a":\n'
    engine = FakeEngine(['{"a": 1}'])
    answer(monkeypatch, engine, RunOptions(form=formats.any_object()))
    assert engine.grammars == [formats.any_object().grammar]


def test_a_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "person.json"
    file.write_text('{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}')
    form = formats.from_schema(str(file))
    answer(monkeypatch, FakeEngine(['{"age": 36}']), RunOptions(form=form))
    assert json.loads(capsys.readouterr().out) == {"age": 36}
    with pytest.raises(DataError, match="does not fit"):  # what a grammar does not let through
        answer(monkeypatch, FakeEngine(['{"age": "36"}']), RunOptions(form=form))


def kept(tmp_path: Path) -> tuple[Sessions, Memory]:
    sessions = Sessions(tmp_path / "sessions")
    return sessions, Memory(*sessions.open_or_new("s"))


def test_a_question_that_does_not_fit_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, memory = kept(tmp_path)
    answer(monkeypatch, FakeEngine(["42."]), RunOptions(memory=memory))
    assert memory.session is not None
    memory.session.close()
    memory = Memory(*sessions.open("s"))
    with pytest.raises(ContextError):
        answer(monkeypatch, FakeEngine(limit=3), RunOptions(memory=memory))
    assert [message.text for message in sessions.read("s").messages] == ["Twice 21?", "42."]


@pytest.mark.parametrize("end", [EngineError("the engine died: SIGSEGV"), SystemExit(143)])
def test_what_came_of_an_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException) -> None:
    def fall() -> None:
        raise end

    sessions, memory = kept(tmp_path)
    with pytest.raises(type(end)):
        answer(monkeypatch, FakeEngine(["It", " is", fall]), RunOptions(memory=memory))
    saved = sessions.read("s")
    assert [message.text for message in saved.messages] == ["Twice 21?", "It is"]
    assert saved.cut


def test_a_state_that_may_have_killed_the_engine_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, memory = kept(tmp_path)
    for error, is_left in [(EngineError("no"), True), (EngineDiedError("the engine died: SIGABRT"), False)]:
        path = sessions.warm.path_of("s")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        with pytest.raises(EngineError):
            answer(monkeypatch, FakeEngine([error]), RunOptions(memory=memory))
        assert path.exists() == is_left
        memory = Memory(*sessions.open("s"))


def test_a_session_that_is_open_elsewhere_is_copied_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions, memory = kept(tmp_path)
    answer(monkeypatch, FakeEngine(["42."]), RunOptions(memory=memory))
    assert capsys.readouterr().err == ""
    answer(monkeypatch, FakeEngine(["Still 42."]), RunOptions(memory=Memory(*sessions.open("s"))))
    assert "s is open elsewhere, or cannot be written: this is a copy, s-2" in capsys.readouterr().err
    assert [message.text for message in sessions.read("s").messages] == ["Twice 21?", "42."]
    assert len(sessions.read("s-2").messages) == 4
