"""What a session's file says: back and forth, torn, damaged, hostile."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from random_text import random_text

from minichat.saved import saved, with_partial, without_tokens
from minichat.session_file import (
    Settings,
    State,
    difference,
    header_line,
    partial_line,
    read_state,
    read_summary,
    record_lines,
    title_of,
)
from minichat.session_message import DamagedError, message_value, read_message
from minichat.template import render
from minichat.template.messages import Call, ImagePart, Message, TextPart, ThinkPart
from quant.errors import DataError

HEADER = header_line(datetime(2026, 1, 1, tzinfo=timezone.utc))
CALL = Call("get_weather", '{"a": 1.50}', "D681PevKs")
MESSAGES = [
    Message("user", "Hi\r\n\x00\x1b[31m\u2028 \ud800 \N{WAVING HAND SIGN}"),
    Message("user", (TextPart("What?"), ImagePart("data:image/png;base64,AAAA"), TextPart(""))),
    Message("assistant", "", (), calls=(CALL, Call("f", "", None))),
    Message("tool", "22", call_id="D681PevKs", name="get_weather"),
    Message("assistant", (ThinkPart("Hm"), ThinkPart("H", closed=False), TextPart("Yes")), (1, 0, 2**31 - 1)),
    Message("assistant", "Ye", cut=True),
    Message("assistant", "A", prefix=True),
    Message("system", "Be brief."),
]


def everything(message: Message) -> tuple[object, ...]:
    """All of a message, also what a comparison leaves out."""
    return message, message.cut


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    back = read_message(json.loads(json.dumps(message_value(message))))
    assert everything(back) == everything(message)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "root"},
        {"role": None},
        {"role": []},
        {"content": None},
        {"content": 1},
        {"content": [{"text": 1}]},
        {"content": [{"text": "a", "image": "b"}]},
        {"content": [[]]},
        {"content": [{"thinking": "a", "closed": 1}]},
        {"tokens": "12"},
        {"tokens": [True]},
        {"tokens": [-1]},
        {"tokens": [2**31]},
        {"tokens": [1.0]},
        {"prefix": 1},
        {"cut": "no"},
        {"calls": {}},
        {"calls": [{"name": "f", "arguments": "{}"}]},
        {"calls": [{"name": "f", "arguments": {}, "id": None}]},
        {"calls": [{"name": "f", "arguments": "", "id": 1}]},
        {"call_id": 1},
        {"name": ["a"]},
        {"unknown": 1},
    ],
)
def test_what_is_no_message_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DamagedError):
        read_message({"role": "assistant", "content": "a", **change})


def test_random_edits_come_back(seed: int = 6) -> None:
    """Any sequence of conversations, each saved as a difference from the one before, ends with the last one."""
    rng = random.Random(seed)
    for _ in range(60):
        data, state = HEADER, State()
        for _ in range(rng.randint(1, 12)):
            messages = list(state.messages)
            for _ in range(rng.randint(0, 3)):
                match rng.randint(0, 4):
                    case 0 if messages:
                        first = rng.randrange(len(messages))
                        del messages[first : first + rng.randint(1, 3)]
                    case 1 if messages:
                        messages[rng.randrange(len(messages))] = rng.choice(MESSAGES)
                    case 2:
                        messages.clear()
                    case _:
                        messages.insert(rng.randint(0, len(messages)), Message("user", random_text(rng)))
            system = rng.choice((None, "", random_text(rng)))
            settings = Settings(rng.choice("ab"), rng.choice((None, 5)), rng.choice((None, "v7")), system)
            now = State(settings, tuple(messages), title_of(state.title, messages))
            data += record_lines(state, now, whole=rng.random() < 0.1)
            if rng.random() < 0.3:
                data += partial_line(random_text(rng))
            state = now
        reading = read_state(data, "x")
        assert list(map(everything, reading.state.messages)) == list(map(everything, state.messages))
        assert reading.state.settings == state.settings
        assert reading.state.title == state.title
        assert reading.damaged_line is None
        assert reading.whole_bytes == len(data)


def test_a_difference_is_small_where_the_oldest_turns_go() -> None:
    messages = [Message("user", str(number)) for number in range(1000)]
    before = State(messages=tuple(messages))
    assert len(record_lines(before, State(messages=tuple(messages[10:])))) < 200
    assert difference(messages, messages) == (1000, 0, [])
    assert difference(messages, []) == (0, 1000, [])
    one = messages[0]
    assert difference([one, one], [one]) == (1, 1, [])  # the same message twice is counted once


def history() -> tuple[bytes, list[tuple[int, list[str]]]]:
    """A file, and what it says after each whole line: (its length then, the texts of the messages)."""
    states = [State()]
    data = HEADER
    after = [(len(data), list[str]())]
    texts: list[str] = []

    def add(lines: bytes, texts: list[str]) -> None:
        nonlocal data
        for line in lines.splitlines(keepends=True):
            data += line
            after.append((len(data), list(texts)))

    said: tuple[Message, ...] = ()
    for turn in range(4):
        said = (*said, Message("user", f"é{turn}"))
        now = State(Settings("demo", 5, "v7"), said, "é0")
        texts = [message.text for message in said]
        add(record_lines(states[-1], now), texts)
        partial = ""
        for piece in ("Hel", "lö", " there"):
            partial += piece
            add(partial_line(piece), [*texts, partial])
        said = (*said, Message("assistant", f"Hello {turn}", (1, 2, 3)))
        states.append(State(Settings("demo", 5, "v7"), said, "é0"))
        texts = [message.text for message in said]
        add(record_lines(now, states[-1]), texts)
    return data, after


def test_a_file_cut_off_at_any_byte_keeps_every_whole_record() -> None:
    data, after = history()
    for length in range(len(data) + 1):
        reading = read_state(data[:length], "x")
        whole = [(size, texts) for size, texts in after if size <= length + 1]  # the line's end itself may be missing
        size, texts = whole[-1] if whole else (0, [])
        assert [message.text for message in saved("a", reading).messages] == texts
        assert reading.damaged_line is None
        if b"\n" in data[:length]:  # else the file begins anew
            assert reading.whole_bytes == min(size, length)
            assert reading.is_ended == (size <= length)


def test_a_damaged_byte_is_data_error_or_told_and_loses_nothing_before_it(seed: int = 7) -> None:
    rng = random.Random(seed)
    data, after = history()
    for _ in range(1500):
        at = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[at] = rng.choice((0, 10, 34, 92, 123, 255, rng.randrange(256)))
        try:
            reading = read_state(bytes(damaged), "x")
        except DataError:
            assert at < len(HEADER)
            continue
        before = [texts for size, texts in after if size <= at]
        said = [message.text for message in saved("a", reading).messages]
        if reading.damaged_line is not None and before:
            assert said == before[-1]


def test_behind_a_damaged_line_the_next_whole_conversation_counts() -> None:
    one = State(Settings("demo"), (Message("user", "a"),), "a")
    two = State(Settings("demo"), (*one.messages, Message("assistant", "b")), "a")
    three = State(Settings("demo"), (*two.messages, Message("user", "c")), "a")
    data = HEADER + record_lines(State(), one) + b"}{\n" + record_lines(one, two) + partial_line("x")
    reading = read_state(data, "x")
    assert (reading.state.messages, reading.damaged_line) == (one.messages, 4)
    assert reading.state.partial == ""
    reading = read_state(data + record_lines(two, three, whole=True), "x")
    assert (reading.state.messages, reading.damaged_line) == (three.messages, None)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' * 100_000,
        b'{"partial": 5}',
        b'{"partial": "a", "b": 1}',
        b'{"messages": {}}',
        b'{"messages": [], "from": true}',
        b'{"messages": [], "from": -1}',
        b'{"messages": [], "from": 2}',
        b'{"messages": [], "from": 0, "gone": 2}',
        b'{"messages": [], "from": 0, "gone": -1}',
        b'{"messages": [], "from": 1' + b"0" * 5000 + b"}",
        b'{"messages": [], "from": 1, "model": 5}',
        b'{"messages": [], "from": 1, "system": []}',
        b'{"messages": [], "from": 1, "template": 1.5}',
        b'{"messages": [], "from": 1, "vocabulary": true}',
        b'{"messages": [], "from": 1, "unknown": 1}',
        b'{"minichat": 1}',
        b"\0" * 50,
    ],
)
def test_a_hostile_line_is_damage(line: bytes) -> None:
    begin = HEADER + record_lines(State(), State(Settings("demo"), (Message("user", "a"),), "a"))
    reading = read_state(begin + line + b"\n", "x")
    assert reading.damaged_line == 4
    assert [message.text for message in reading.state.messages] == ["a"]
    torn = read_state(begin + line, "x")  # as the last line it was never finished
    assert torn.damaged_line is None
    assert torn.whole_bytes == len(begin)


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"hello",
        b"{}\n",
        b'{"minichat": true}\n',
        b'{"minichat": 2}\n',
        b'{"minichat": "1"}\n',
        b'[{"role": "user", "content": "a"}]',
        b"GGUF" + bytes(100),
    ],
)
def test_what_is_no_session_is_data_error_in_one_line(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read_state(data, "/some/file.jsonl")
    assert "\n" not in str(caught.value)
    assert "/some/file.jsonl" in str(caught.value)


def test_a_file_that_is_too_long_is_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.session_file.MAX_BYTES", 10)
    with pytest.raises(DataError, match="longer than"):
        read_state(HEADER, "x")


def test_what_was_heard_is_the_answer_or_its_end() -> None:
    asked = [Message("user", "Hi")]
    assert with_partial(asked, "Hel")[-1] == Message("assistant", "Hel")
    longer = with_partial([*asked, Message("assistant", "Hel", (1, 2))], "lo")
    assert everything(longer[-1]) == everything(Message("assistant", "Hello", cut=True))
    called = [*asked, Message("assistant", "", (1,), calls=(CALL,))]
    assert [m.text for m in with_partial(called, "Well")] == ["Hi", "", "Well"]
    assert with_partial([], "lost") == []
    (ended,) = with_partial([Message("assistant", "A", (1,), prefix=True)], "")
    assert everything(ended) == everything(Message("assistant", "A", (1,), cut=True))


def test_ids_of_another_vocabulary_are_dropped() -> None:
    state = State(Settings("demo", 5), (Message("user", "Hi"), Message("assistant", "Hello", (1, 2))), "Hi")
    one = saved("a", read_state(HEADER + record_lines(State(), state), "x"))
    assert one.messages_for("demo", 5)[1].tokens == one.messages_for("demo", None)[1].tokens == (1, 2)
    assert one.messages_for("demo", 6)[1].tokens is None
    assert one.messages_for("other", 5)[1].tokens is None
    assert replace(one, vocabulary=None).messages_for("demo", 5)[1].tokens is None
    assert replace(one, vocabulary=2).messages_for("demo", 2)[1].tokens is None  # there is no third token
    assert one.messages_for("demo", 5)[1] is one.messages[1]  # so that a save finds nothing new


def test_a_summary_is_bounded_and_checked() -> None:
    question = Message("user", "  What\n is \x1b[31m this? " + "a" * 1000)
    title = title_of("", [question])
    assert title.startswith("What is \x1b[31m this? aaa")
    assert len(title) == 200
    lines = record_lines(State(), State(Settings("m" * 500), (question,), title)).splitlines()
    assert read_summary(lines[-1]) == (title, "m" * 200, 1)
    for line in (b'{"summary": 5}', b'{"summary": {"title": "a", "model": "b", "turns": "c"}}', b'{"summary"', b"{}"):
        assert read_summary(line) is None


def test_the_example_in_the_module_can_be_read() -> None:
    from minichat import session_file

    text = (session_file.__doc__ or "").replace("[...]", "[5, 6]").replace(", ...}]}", ', "content": "Hello!"}]}')
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    reading = read_state("\n".join(lines).encode() + b"\n", "x")
    assert reading.damaged_line is None
    assert [message.role for message in reading.state.messages] == ["user", "assistant"]
    assert reading.state.settings.vocabulary == 4096


def test_an_answer_of_tokens_alone_has_a_text_where_they_mean_nothing() -> None:
    said = [
        Message("user", "Hi"),
        Message("assistant", "", (9,), cut=True),
        Message("assistant", "", (9,), calls=(CALL,)),
    ]
    assert [message.text for message in without_tokens(said)] == ["Hi", "…", ""]
    assert render([*without_tokens(said[:2]), Message("user", "And?")], "v13", ())
