"""10,000 hostile texts through every place that prints: nothing comes out that a terminal obeys, but minichat's own.

What comes out is read strictly: whatever is no printable character, newline or tab must be one of the sequences that
the place is known to send. The texts carry none of those, so that one which came through would be told from them.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output
from rich.console import Console

from minichat.cli import main
from minichat.conversation import Conversation
from minichat.engine.types import Chunk, Kind, Sampling
from minichat.export import to_json, to_markdown
from minichat.session_reports import show_found, show_sessions
from minichat.session_search import Found
from minichat.sessions import Sessions
from minichat.template.messages import Call, Message
from minichat.template.pieces import Control, Text
from minichat.terminal import tables
from minichat.terminal.agreement import Agreement
from minichat.terminal.answer import Screen
from minichat.terminal.ask import says_yes
from minichat.terminal.chat import Chat
from minichat.terminal.commands import dispatch, parse
from minichat.terminal.history_file import HistoryFile
from minichat.terminal.line_progress import LineProgress
from minichat.terminal.markdown import MarkdownStream
from minichat.terminal.output import print_error, print_json, say
from minichat.terminal.progress import StatusLine, WorkProgress
from minichat.terminal.prompt import Prompt
from minichat.terminal.render import print_rendering
from minichat.terminal.toolbar import toolbar_text
from minichat.tools.calling import Result
from quant.errors import MinichatError

PARTS = [
    *(
        "\x1b",
        "\x9b",
        "\x1b[",
        "\x1b]",
        "\x1bP",
        "\x90",
        "\x9d",
        "\x1b\\",
        "\x9c",
        "\x07",
        "\x08",
        "\x7f",
        "\x00",
        "\r",
    ),
    *("\x0e", "\x0b", "\x0c", "\x05", "\x18", "\x1a", "\x85", "\x8d", "\x1bc", "\x1b#8", "\x1b(0", "\x1b[9999;9999H"),
    *("\x1b[5m", "\x1b[8m", "\x1b[?1049h", "\x1b[2J", "\x1b[3J", "\x1b[9L", "\x1b[>c", "\x1b]0;title\x07", "\x1b[6~"),
    *(
        "\x1b]52;c;cm0gLXJmIH4K\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1bP$q\x1b\\",
        "\x1b_G\x1b\\",
        "\x1b^x\x9c",
        "\x1b[201~",
    ),
    *("\u202e", "\u202d", "\u202a", "\u202c", "\u2066", "\u2067", "\u2069", "\ud800", "\udfff", "\udc9b", "\ud83d"),
    *("&#27;", "&#x1b;", "&#155;", "&#x9b;", "&#x202e;", "&#x2067;", "&NewLine;", "\\u001b", "\\x1b", "%1b", "\\"),
    *("[", "]", "(", ")", "<", ">", "`", "```", "\n", "\n\n", "\t", "|", "---", "*", "**", "_", "# ", "> ", "- ", "~~"),
    *(
        "a",
        "word ",
        "x",
        "é",
        "日",
        "🙂",
        "e\u0301",
        "1. ",
        "0;1m",
        "2J",
        "https://a.b/",
        '"',
        "{",
        "}",
        "/",
        "@",
        "$(x)",
    ),
]
OUR_SGR = re.compile(
    r"\x1b\[(?:0|1|2|3|4|7|9|22|2[3479]|3[0-79]|4[0-79]|9[0-7]|10[0-7])(?:;(?:[0-479]|3[0-7]|4[0-7]|9[0-7]))*m"
)
MOVES = re.compile(r"\r|\x1b\[\d{0,3}A|\x1b\[[KJ]|\x1b\[\?7[lh]")
OSC_52 = re.compile(r"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")
EDITOR = re.compile(
    r"\r|\x08(?=\x1b)|\x1b\[\d{0,2}[ABCDGKJ]|\x1b\[\d{1,2};\d{1,2}H|\x1b\[6n|\x1b\[\?(?:7|12|25|2004|1)[lh]"
    r"|\x1b\[[0-6] q|\x1b\[0(?:;\d|;[34]8;5;\d{1,3})*m"
)
SHOWN = re.compile("[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def payloads(count: int = 10_000, seed: int = 1) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(count):
        yield "".join(chance.choices(PARTS, k=chance.choice([1, 2, 4, 8])))


def read_strictly(text: str, *ours: re.Pattern[str]) -> str:
    """What is left for the eyes. Fails on anything else that is not one of `ours`."""
    seen, at = [], 0
    while at < len(text):
        if match := SHOWN.match(text, at):
            seen.append(match[0])
        else:
            match = next((found for one in ours if (found := one.match(text, at))), None)
            assert match, f"a terminal obeys {text[at : at + 12]!r} in {text[max(0, at - 40) : at + 40]!r}"
        at = match.end()
    return "".join(seen)


def by_bytes(text: str) -> Iterator[str]:
    """The text as it comes when its bytes come one by one; a half character becomes what an engine makes of it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for number in text.encode("utf-8", "surrogatepass"):
        if char := decoder.decode(bytes([number])):
            yield char
    if rest := decoder.decode(b"", final=True):
        yield rest


class Out(io.StringIO):
    """A terminal, or a pipe, that keeps what it gets."""

    encoding = "utf-8"

    def __init__(self, tty: bool = True) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def fileno(self) -> int:
        raise OSError


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing to copy with
    for name in ("NO_COLOR", "FORCE_COLOR", "ACCESSIBLE", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)


def check(print_all: Callable[[Out], object], *ours: re.Pattern[str], pipes: bool = True) -> None:
    """On a terminal and in a pipe; the pipe gets no sequences at all."""
    for tty in (True, False) if pipes else (True,):
        out = Out(tty)
        with redirect_stdout(out), redirect_stderr(out):
            print_all(out)
        assert len(read_strictly(out.getvalue(), *(ours if tty else ()))) > 10_000


# Answers, as they stream


@pytest.mark.parametrize(("tty", "plain", "is_data"), [(1, 0, 1), (0, 0, 0), (0, 0, 1), (1, 1, 0)])
@pytest.mark.parametrize("kind", ["text", "think"])
def test_bare_answers(tty: int, plain: int, is_data: int, kind: Kind) -> None:
    out = Out(bool(tty))
    status = Out()
    for text in payloads():
        screen = Screen(out, StatusLine(status), bool(is_data), bool(plain))
        for char in by_bytes(text):
            screen.feed(Chunk(char, kind))
        screen.close()
    shown = read_strictly(out.getvalue(), OUR_SGR)
    assert len(shown) > 100_000 or (kind == "think" and not tty)
    assert tty or "\x1b" not in out.getvalue()
    read_strictly(status.getvalue(), OUR_SGR, MOVES)


@pytest.mark.parametrize("name", ["xterm", "dumb"])
def test_answers_as_markdown(name: str) -> None:
    for seed, times in enumerate((0.0, 0.0004)):
        out, now_s = Out(), [0.0]

        def clock(now_s: list[float] = now_s, step_s: float = times) -> float:
            now_s[0] += step_s
            return now_s[0]

        texts = list(payloads(5000, seed))
        for first in range(0, len(texts), 50):
            console = Console(file=out, force_terminal=True, width=60, height=24, _environ={"TERM": name})
            stream = MarkdownStream(console, clock)
            for char in by_bytes("\n\n".join(texts[first : first + 50])):
                stream.feed(char)
            stream.close()
        assert len(read_strictly(out.getvalue(), *((OUR_SGR, MOVES) if name == "xterm" else ()))) > 50_000


def test_each_redraw_of_markdown() -> None:
    """Every text cut at every place, and drawn on both sides of it."""
    out, now_s = Out(), [0.0]

    def clock() -> float:
        now_s[0] += 1
        return now_s[0]

    console = Console(file=out, force_terminal=True, width=60, height=24, _environ={"TERM": "xterm"})
    for text in payloads(120, 7):
        for cut in range(len(text)):
            stream = MarkdownStream(console, clock)
            stream.feed(text[:cut])
            stream.feed(text[cut:])
            stream.close()
    read_strictly(out.getvalue(), OUR_SGR, MOVES)


# Calls of tools


def test_calls_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    def print_all(out: Out) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        agreement = Agreement(True, out)
        for text in payloads():
            call = Call(text, json.dumps({text: text}), text)
            agreement.agrees(call, {text: text}, [text, text])
            agreement.report(call, Result(text))
            agreement.result_of(call)

    check(print_all, OUR_SGR, MOVES)  # a status while a call runs


# Remarks, errors, questions, status lines


def test_remarks_errors_and_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    def print_all(out: Out) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        for text in payloads():
            say(text, "dim", hanging=4)
            print_error(text)
            says_yes(text)

    check(print_all, OUR_SGR)


def test_status_lines() -> None:
    def print_all(out: Out) -> None:
        now_s = [0.0]

        def clock() -> float:
            now_s[0] += 20.0
            return now_s[0]

        status, still, lines = (
            StatusLine(out, clock),
            StatusLine(out, clock, plain=True),
            LineProgress(None, out, clock),
        )
        for number, text in enumerate(payloads(3000)):
            status.show(text)
            still.show(text)
            lines.update(number, number, True)
            with WorkProgress(text, out, clock) as progress:
                progress.update(number, 10_000, text)
                progress.update(number + 1, 10_000, text)
        status.clear()

    check(print_all, OUR_SGR, MOVES)


# Tables, prompts as the model sees them, JSON


def test_tables_and_fields() -> None:
    def print_all(out: Out) -> None:
        texts = list(payloads())
        for first in range(0, len(texts), 400):
            four = [texts[at : at + 4] for at in range(first, first + 400, 4)]
            tables.print_table(("A", "B", "C", "D"), four, out, right=[1], wraps=[2, 3], drop=[0])
            tables.print_fields([(one[0], one[1]) for one in four], out)

    check(print_all, OUR_SGR)


def test_prompts_as_the_model_sees_them() -> None:
    def print_all(out: Out) -> None:
        for text in payloads():
            print_rendering([(text, True), (text, False)], out)

    check(print_all, OUR_SGR)


def test_json_says_the_same_without_it() -> None:
    for text in payloads():
        out = Out()
        print_json({text: [text]}, out)
        read_strictly(out.getvalue())
        assert json.loads(out.getvalue()) == json.loads(json.dumps({text: [text]}))  # halves become one character


# Sessions


def test_sessions_and_exports(home: Path) -> None:
    sessions = Sessions(home / "sessions")
    texts = list(payloads(200))
    for text in texts[:40]:
        session = sessions.new()
        session.save(Conversation("v7-tekken", text, [Message("user", text), Message("assistant", text)]), text)
        session.close()

    def print_all(_: Out) -> None:
        for as_json in (False, True):
            show_sessions(sessions.list(), as_json)
            show_found(sessions.search("a"), "a", as_json)
            show_found([Found(text, 1, text, text) for text in texts], texts[0], as_json)

    check(print_all, OUR_SGR)
    messages = [
        message
        for text in texts
        for message in (
            Message("user", text),
            Message("assistant", text, calls=(Call(text, json.dumps(text), text),)),
            Message("tool", text, call_id=text, name=text),
            Message("assistant", text, cut=True),
        )
    ]
    read_strictly(to_markdown(messages, texts[0], texts[1]))
    read_strictly(to_json(messages, texts[0]))


# Commands and the prompt


def chat(history_path: Path | None = None) -> Chat:
    return Chat(
        engine=FakeEngine(),  # type: ignore[arg-type]
        open_engine=lambda _: FakeEngine(),  # type: ignore[arg-type,return-value]
        conversation=Conversation("v7-tekken"),
        sampling=Sampling(),
        max_tokens=None,
        model_name="demo",
        history_path=history_path,
    )


def test_commands() -> None:
    """Each with a hostile argument, in a hostile conversation."""
    names = ["raw", "copy", "tokens", "show", "context", "undo", "search", "format", "set", "system", "drop", "help"]

    def print_all(_: Out) -> None:
        for text in payloads(300):
            made = chat()
            made.model_name, made.info = text, INFO
            made.conversation.messages += [Message("user", text), Message("assistant", f"{text}\n```\n{text}\n```")]
            made.conversation.system = text
            made.last_prompt = [Text(text), Control(text)]
            for name in [*names, text.strip()]:
                for argument in ("", text):
                    command = parse(f"/{name} {argument}")
                    try:
                        if command is not None:
                            dispatch(made, *command)
                    except MinichatError as error:
                        print_error(str(error))

    check(print_all, OUR_SGR, MOVES, OSC_52)


def test_the_bottom_line() -> None:
    made = chat()
    for text in payloads():
        made.model_name = text
        read_strictly(toolbar_text(made, 60).replace("\n", "\0").replace("\t", "\0"))


def test_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed before, suggested, looked for, completed, pasted; names of files."""
    monkeypatch.chdir(tmp_path)
    history = HistoryFile(tmp_path / "history")
    texts = [text for text in payloads(300, 3) if text.strip()]
    for text in texts[:50]:
        history.add(f"zz{text}")
        name = f"q{text}".replace("/", "").replace("\0", "").encode("utf-8", "replace")
        (tmp_path / name.decode()).write_text("x")
    out, made = Out(), chat(history.path)
    made.model_name = texts[3]
    up, clear, search, tab = "\x1b[A", "\x03", "\x12", "\t"
    with create_pipe_input() as keys:
        output = Vt100_Output(out, lambda: Size(24, 60), term="xterm", enable_cpr=False)  # type: ignore[arg-type]
        with create_app_session(keys, output), redirect_stdout(out):
            prompt = Prompt(made)
            pressed: list[str] = []
            next_key: list[str] = []  # the one that is on its way: none overtakes it, however often the prompt is drawn

            def send() -> None:
                keys.send_text(next_key.pop())

            def press(app: Application[str]) -> None:
                if pressed and not next_key:
                    next_key.append(pressed.pop(0))
                    after_s = 0.02 if next_key == [tab] else 0.0  # what can be completed is looked for in a thread
                    asyncio.get_running_loop().call_later(after_s, send)

            prompt._reader._session.app.after_render += press  # type: ignore[union-attr]
            for number, text in enumerate(texts[:100]):
                pasted = text.replace("\x1b[201~", "").encode("utf-8", "replace").decode()
                pressed += [
                    clear,
                    "z",
                    "z",
                    up,
                    up,
                    clear,
                    search,
                    *"zz",
                    search,
                    clear,
                    clear,
                ]
                pressed += [*"@q", tab, tab, clear] if number < 10 else []
                pressed += [f"\x1b[200~{pasted}\x1b[201~", clear, *"bye", "\r"]
                assert prompt.read(text) == "bye"
    assert len(read_strictly(out.getvalue(), OUR_SGR, EDITOR)) > 10_000


# The command line


def test_arguments_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with them is told; on a terminal."""
    out = Out()
    places = [
        *(
            [],
            ["run"],
            ["show"],
            ["rm"],
            ["cp", "demo"],
            ["plan"],
            ["pull"],
            ["verify"],
            ["sessions"],
            ["sessions", "show"],
        ),
        *(["config"], ["config", "demo", "--as"], ["search", "--limit"], ["convert"], ["completion"], ["render"]),
        *(
            ["run", "demo", "--temperature"],
            ["run", "demo", "--schema"],
            ["run", "demo", "--template"],
            ["run", "--ctx"],
        ),
    ]
    monkeypatch.setattr("minichat.cli._empty", lambda *_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for number, payload in enumerate(payloads(240, 5)):
        text = os.fsdecode(payload.encode("utf-8", "surrogatepass").replace(b"\0", b""))  # as a shell passes it on
        monkeypatch.setattr(
            "sys.argv", ["minichat", *places[number % len(places)], f"--{text}" if number % 7 == 3 else text]
        )
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(payload.encode("utf-8", "surrogatepass"))))
        with redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit):
            main()
    assert len(read_strictly(out.getvalue(), OUR_SGR, MOVES)) > 10_000
