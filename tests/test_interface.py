"""minichat from Python: with an engine that follows a script, and with real ones."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tape
from fake_engine import FakeEngine

import minichat
from minichat import Chat, interface
from minichat.engine.client import Engine as Engine_
from minichat.engine.types import Chunk
from minichat.models import Model
from minichat.template.messages import Message
from minichat.template.pieces import Control, Text
from quant.errors import ContextError, EngineDiedError, ToolError

ROOT = Path(__file__).parent.parent
Make = Callable[..., tuple[Chat, FakeEngine]]
TEXT = "One two three four five six seven eight nine ten eleven twelve."


class Engine(FakeEngine):
    died = False

    def has_died(self) -> bool:
        return self.died


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A chat with an engine that gives these answers, and that engine; more engines follow if it dies."""
    monkeypatch.setattr(interface, "_found", lambda _: Model("fake", Path("fake.gguf")))
    chats: list[Chat] = []

    def chat(*answers: Any, more: tuple[FakeEngine, ...] = (), **options: Any) -> tuple[Chat, FakeEngine]:
        engines = [Engine(*answers, limit=options.pop("limit", 4096)), *more]
        waiting = iter(engines)
        monkeypatch.setattr(interface, "Engine", lambda *_: next(waiting))
        chats.append(Chat("fake", **options))
        return chats[-1], engines[0]

    yield chat
    for one in chats:
        one.close()


def said(chat: Chat) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in chat.messages]


def test_importing_minichat_imports_nothing() -> None:
    code = (
        "import sys, minichat; before = set(sys.modules);"
        "print(sorted(m for m in before if m.startswith(('minichat.', 'quant', 'convert'))));"
        "minichat.Chat; print([m for m in ('numpy', 'llama_cpp', 'rich', 'typer', 'jsonschema') if m in sys.modules]);"
        "print(all(getattr(minichat, name) for name in minichat._HOMES), minichat.ContextError.__mro__[1].__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]", "[]", "True DataError"]
    with pytest.raises(AttributeError, match="no attribute 'Chats'"):
        minichat.Chats  # noqa: B018


def test_what_is_exported_is_told_to_type_checkers() -> None:
    """The names under TYPE_CHECKING are those that there are."""
    source = Path(minichat.__file__).read_text()
    assert {line.split(" as ")[-1] for line in source.splitlines() if " as " in line and "import" in line} == set(
        minichat._HOMES
    )
    assert (Path(minichat.__file__).parent / "py.typed").is_file()


def test_an_answer_is_read_as_it_comes_and_stays(make: Make) -> None:
    chat, engine = make(["Hel", "lo"], ["Fine."], system="Be brief.", messages=[{"role": "user", "content": "A"}])
    reply = chat.say("Hi")
    assert engine.prompts == []  # nothing is asked before it is read
    assert next(reply) == "Hel"
    assert list(reply) == ["lo"]
    assert (reply.text, reply.reason, reply.stats.answer_tokens) == ("Hello", "eos", 5)
    assert chat.stats == reply.stats
    assert str(chat.say("How are you?")) == "Fine."
    assert said(chat)[1:] == [("user", "Hi"), ("assistant", "Hello"), ("user", "How are you?"), ("assistant", "Fine.")]
    assert Text("Be brief.") in engine.prompts[0]
    assert repr(chat) == "<Chat with fake, 3 turns>"
    chat.undo()
    assert said(chat)[-1] == ("assistant", "Hello")
    chat.clear()
    assert (chat.messages, chat.system) == ((), "Be brief.")


def test_thoughts_are_apart(make: Make) -> None:
    chat, _ = make([Chunk("Hm.", "think"), "Yes."])
    reply = chat.say("Hi")
    assert (list(reply), reply.thinking) == (["Yes."], "Hm.")


def test_what_is_chosen_reaches_the_engine(make: Make) -> None:
    chat, engine = make(["a"], ["abcdef"], temperature=0.5, top_k=7, seed=3)
    assert chat.say("Hi").text == "a"
    assert (engine.sampling.temperature, engine.sampling.top_k, engine.sampling.seed) == (0.5, 7, 3)
    reply = chat.say("Hi", temperature=0, max_tokens=1)
    assert (reply.reason, engine.sampling.temperature, engine.sampling.top_k) == ("length", 0, 7)
    assert chat.messages[-1].cut


@pytest.mark.parametrize(
    "options", [{"temperature": 100}, {"top_p": 0}, {"ctx": 3}, {"device": "moon"}, {"template": "v99"}, {"seed": -1}]
)
def test_what_is_out_of_its_limits_is_told(make: Make, options: dict[str, Any]) -> None:
    with pytest.raises(minichat.UsageError, match="give"):
        make(**options)


def test_a_loop_that_breaks_stops_the_answer_and_keeps_what_was_said(make: Make) -> None:
    chat, engine = make(["one ", "two ", "three"], ["Yes."])
    for text in chat.say("Count"):
        assert text == "one "
        break
    assert engine.stops == 1
    assert said(chat) == [("user", "Count"), ("assistant", "one ")]
    assert chat.messages[-1].cut
    assert chat.say("More?").text == "Yes."


def test_an_answer_that_is_held_is_ended_by_the_next_question(make: Make) -> None:
    chat, _ = make(["one ", "two ", "three"], ["Yes."])
    held = chat.say("Count")
    unread = None
    assert next(held) == "one "
    unread = chat.say("More?")
    assert list(held) == []
    assert held.text == "one "
    assert held.reason == "stop"
    last = chat.say("And now?")
    with pytest.raises(minichat.UsageError, match="given up"):
        unread.stats  # noqa: B018
    assert last.text == "Yes."
    assert [text for _, text in said(chat)] == ["Count", "one ", "And now?", "Yes."]


def test_stop_comes_from_any_thread(make: Make) -> None:
    chat: Chat
    chat, _ = make(["one ", lambda: run(chat.stop), "two "])
    reply = chat.say("Count")
    assert (list(reply), reply.reason) == (["one "], "stop")
    assert chat.messages[-1].cut


def test_a_stop_before_the_first_token_takes_the_question_back(make: Make) -> None:
    chat, engine = make([])
    reply = chat.say("Count")
    chat.stop()
    engine.answers = [[]]
    assert reply.text == ""
    assert chat.messages == ()


def test_one_thread_at_a_time(make: Make) -> None:
    problems: list[str] = []

    def disturb() -> None:
        for use in (lambda: chat.say("And I?"), chat.clear, lambda: next(reply)):
            with pytest.raises(minichat.UsageError) as told:
                use()
            problems.append(str(told.value))

    chat, _ = make(["one ", lambda: run(disturb), "two"])
    reply = chat.say("Count")
    assert reply.text == "one two"
    assert len(problems) == 3
    assert all("in use" in problem for problem in problems)


def run(call: Callable[[], object]) -> None:
    """In a thread of its own."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_an_error_leaves_the_conversation_as_it_was(make: Make) -> None:
    chat, _ = make(["one ", ContextError("too long")], ["Yes."])
    reply = chat.say("Count")
    with pytest.raises(minichat.ContextError, match="too long"):
        reply.text  # noqa: B018
    assert (chat.messages, list(reply)) == ((), [])
    with pytest.raises(minichat.UsageError, match="failed"):
        reply.reason  # noqa: B018
    assert chat.say("Again?").text == "Yes."


def test_a_dead_engine_is_started_again(make: Make) -> None:
    second = Engine(["Yes."])
    chat, first = make(["A"], ["one ", EngineDiedError("the engine died: SIGKILL")], more=(second,))
    assert chat.say("Hi").text == "A"
    with pytest.raises(minichat.EngineError) as told:
        chat.say("Count").text  # noqa: B018
    assert str(told.value) == "the engine died: SIGKILL; the next question starts it again"
    assert isinstance(first, Engine)
    first.died = True
    assert chat.say("Again?").text == "Yes."
    assert first.closed
    assert [text for _, text in said(chat)] == ["Hi", "A", "Again?", "Yes."]


def test_closing_twice_and_using_it_then(make: Make) -> None:
    chat, engine = make(["Hi"])
    reply = chat.say("Hi")
    with chat:
        pass
    chat.close()
    assert engine.closed
    assert repr(chat) == "<Chat with fake, 0 turns, closed>"
    for use in (lambda: chat.say("Hi"), lambda: chat.info, lambda: reply.text):
        with pytest.raises(minichat.UsageError, match="closed"):
            use()


def test_a_chat_that_is_let_go_of_ends_its_engine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(["Hi"])
    monkeypatch.setattr(interface, "Engine", lambda *_: engine)
    reply = Chat("fake").say("Hi")
    gc.collect()
    assert not engine.closed  # an answer that is not read to its end holds its chat
    assert reply.text == "Hi"
    gc.collect()
    assert engine.closed


# Tools.


def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather in a place.

    Args:
        city: Where.
    """
    return {"city": city, "days": days, "degrees": 13}


def called(name: str, arguments: str) -> list[Any]:
    return [
        Control("[TOOL_CALLS]"),
        Chunk(f'[{{"name": "{name}", "arguments": {arguments}, "id": "abcdefgh1"}}]', "call"),
    ]


def test_functions_are_called_here(make: Make) -> None:
    chat, engine = make(called("weather", '{"city": "Rome"}'), ["13 ", "degrees."], tools=[weather])
    assert list(chat.say("Warm?")) == ["13 ", "degrees."]
    assert said(chat)[2] == ("tool", '{"city": "Rome", "days": 1, "degrees": 13}')
    offered = "".join(piece.text for piece in engine.prompts[0] if isinstance(piece, Text))
    assert '"description": "Where."' in offered
    assert '"required": ["city"]' in offered


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ('{"city": 5}', "Error: weather: city"),
        ('{"city": "Rome", "days": "x"}', "Error: weather: days"),
        ('{"town": "Rome"}', "Error: weather: 'city' is missing"),
    ],
)
def test_wrong_calls_are_told_to_the_model(make: Make, arguments: str, result: str) -> None:
    chat, _ = make(called("weather", arguments), ["Sorry."], tools=[weather])
    assert chat.say("Warm?").text == "Sorry."
    assert said(chat)[2][1].startswith(result)


def test_what_a_function_raises_is_told_to_the_model_and_ctrl_c_is_not(make: Make) -> None:
    def fail(how: str) -> str:
        raise KeyboardInterrupt if how == "interrupt" else ValueError(how)

    chat, _ = make(
        *(called("fail", '{"how": "badly"}'), ["Sorry."], called("fail", '{"how": "interrupt"}'), ["Yes."]),
        tools=[fail],
    )
    assert chat.say("Do it").text == "Sorry."
    assert said(chat)[2] == ("tool", "Error: ValueError: badly")
    before = chat.messages
    with pytest.raises(KeyboardInterrupt):
        chat.say("Again").text  # noqa: B018
    assert chat.messages == before
    assert chat.say("Well?").text == "Yes."


def test_a_coroutine_is_awaited_also_where_a_loop_runs(make: Make) -> None:
    import asyncio

    async def now() -> str:
        await asyncio.sleep(0)
        return "noon"

    chat, _ = make(called("now", "{}"), ["Noon."], called("now", "{}"), ["Noon."], tools=[now])
    assert chat.say("When?").text == "Noon."

    async def notebook() -> str:
        return chat.say("When?").text

    assert asyncio.run(notebook()) == "Noon."
    assert [text for role, text in said(chat) if role == "tool"] == ["noon", "noon"]


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([weather, weather], "two tools are called weather"),
        ([lambda x: x], "cannot be a tool|a tool's name"),
        (["weather"], "no function"),
        ([lambda: 0], "a tool's name"),
    ],
)
def test_what_can_be_no_tool(make: Make, tools: list[Any], problem: str) -> None:
    with pytest.raises(minichat.DataError, match=problem):
        make(tools=tools)


def test_a_tool_that_asks_its_own_chat_is_told(make: Make) -> None:
    def ask() -> str:
        return chat.say("You?").text

    chat, _ = make(called("ask", "{}"), ["So."], tools=[ask])
    assert chat.say("Ask").text == "So."
    assert "this chat is in use" in said(chat)[2][1]


def test_calls_that_lead_nowhere(make: Make) -> None:
    chat, _ = make(called("rain", "{}"), called("rain", "{}"), tools=[weather])
    with pytest.raises(ToolError, match="twice"):
        chat.say("Warm?").text  # noqa: B018
    assert chat.messages == ()


# JSON.

PERSON = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


def test_an_answer_that_is_held_to_a_schema(make: Make) -> None:
    chat, engine = make(['{"age"', ": 36}"], ['{"age"'])
    assert chat.say("Ada", schema=PERSON).value == {"age": 36}
    assert "root" in (engine.grammars[0] or "")
    with pytest.raises(minichat.DataError, match="cut before its JSON was complete"):
        chat.say("Ada", schema=PERSON, max_tokens=6).value  # noqa: B018
    assert len(chat.messages) == 2
    assert not chat.messages[-1].cut


def test_a_schema_that_is_none_is_told_at_once(make: Make) -> None:
    chat, _ = make(tools=[weather])
    with pytest.raises(minichat.UsageError, match="without tools"):
        chat.say("Ada", schema=PERSON)
    other, _ = make()
    with pytest.raises(minichat.SchemaError):
        other.say("Ada", schema={"type": "person"})
    with pytest.raises(TypeError, match="a message is a text"):
        other.say(5)  # type: ignore[arg-type]


# Real engines.


@contextmanager
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr() == ("", "")


def test_a_real_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tape.write(tmp_path / "tape", TEXT)
    with quiet(capfd), Chat(path, ctx=256) as chat, Chat(str(path), ctx=256) as other:
        assert "".join(chat.say("Count")) == TEXT
        begin = next(reply := other.say("Count"))  # two at once
        assert TEXT.startswith(begin)
        assert chat.say("Again").text == TEXT
        assert chat.stats is not None
        assert chat.stats.reused_tokens > 10  # what was said is not read again
        assert begin + "".join(reply) == TEXT
        assert (chat.info.ctx, chat.model) == (256, "tape.gguf")


def test_a_real_engine_that_dies_in_the_middle_of_an_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = " ".join(f"word{n}" for n in range(1000))
    with quiet(capfd), Chat(tape.write(tmp_path / "tape", text)) as chat:
        reply = chat.say("Count")
        begin = next(reply)
        chat._running.engine._process.kill()
        with pytest.raises(minichat.EngineError, match="starts it again"):
            "".join(reply)
        assert chat.say("Again").text == text
    assert text.startswith(begin)


def test_ctrl_c_keeps_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it falls: while the next piece is waited for, or while the program does something with the last one."""
    with Chat(tape.write(tmp_path / "tape", TEXT), ctx=128, speculation=False) as chat:
        reply = chat.say("Count")
        begin = next(reply)
        receive, engine = Engine_._receive, chat._running.engine

        def interrupted(engine: Engine_) -> Any:
            monkeypatch.setattr(Engine_, "_receive", receive)
            raise KeyboardInterrupt

        monkeypatch.setattr(Engine_, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(reply)
        assert (list(reply), reply.reason in ("stop", "eos")) == ([], True)
        assert chat.messages[-1].text.startswith(begin)
        assert engine is chat._running.engine
        with pytest.raises(KeyboardInterrupt):
            for _ in chat.say("Again"):
                signal.raise_signal(signal.SIGINT)
        assert chat.say("Well?").text == TEXT
        assert [message.role for message in chat.messages] == ["user", "assistant"] * 3


def test_a_program_that_forgets_to_close(tmp_path: Path) -> None:
    path = tape.write(tmp_path / "tape", " ".join(f"n{n}" for n in range(1000)))
    code = (
        f"from minichat import Chat\nchat = Chat({str(path)!r}, ctx=2048)\nprint(chat._running.engine._process.pid)\n"
        "for text in chat.say('Count'):\n    break\nprint(chat.messages[-1].cut)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    pid, cut = done.stdout.split()
    assert (cut, done.stderr) == ("True", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_what_is_no_model(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    with pytest.raises(minichat.DataError, match="no such file"):
        Chat(bad)
    with pytest.raises(minichat.DataError, match="no model 'nope'"):
        Chat("nope")
    bad.write_bytes(b"GGUF" + bytes(100))
    with Chat(bad) as chat:
        for _ in range(2):
            with pytest.raises(minichat.DataError, match=r"bad\.gguf"):
                chat.say("Hi").text  # noqa: B018


def test_messages_of_openais_shape(make: Make) -> None:
    given = [{"role": "user", "content": "A"}, Message("assistant", "B")]
    chat, _ = make(["D"], messages=given)
    assert chat.say("C").text == "D"
    assert [text for _, text in said(chat)] == ["A", "B", "C", "D"]
    with pytest.raises(minichat.DataError, match="role"):
        make(messages=[{"content": "A"}])
