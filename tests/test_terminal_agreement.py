"""Who may run a tool, and what is seen before it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from minichat.template.messages import Call
from minichat.terminal import agreement
from minichat.terminal.agreement import Agreement
from minichat.tools import functions
from minichat.tools.calling import Result

CALL = Call("rm", '{"path": "/"}', "abcdefgh1")
OTHER = Call("ls", "{}", "abcdefgh2")


class Person:
    """Types lines; counts how often it was asked."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked = 0

    def fileno(self) -> int:
        raise OSError("no descriptor")

    def readline(self, limit: int = -1) -> str:
        self.asked += 1
        return self.lines.pop(0)[:limit] if self.lines else ""


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(agreement, "can_ask", lambda stream: True)  # noqa: ARG005
    yield


def asked(monkeypatch: pytest.MonkeyPatch, *lines: str) -> tuple[Agreement, Person, io.StringIO]:
    person, out = Person(*lines), io.StringIO()
    monkeypatch.setattr("sys.stdin", person)
    return Agreement(stream=out), person, out


@pytest.mark.parametrize(("line", "runs"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_once(somebody: None, monkeypatch: pytest.MonkeyPatch, line: str, runs: bool) -> None:
    decided, person, _ = asked(monkeypatch, line, "n\n")
    assert decided.agrees(CALL, {"path": "/"}, ["/bin/rm"]) is runs
    assert decided.agrees(CALL, {"path": "/"}, ["/bin/rm"]) is False
    assert person.asked == 2


@pytest.mark.parametrize(("line", "runs"), [("a\n", True), ("always\n", True), ("v\n", False), ("never\n", False)])
def test_always_and_never_hold_for_this_tool(
    somebody: None, monkeypatch: pytest.MonkeyPatch, line: str, runs: bool
) -> None:
    decided, person, _ = asked(monkeypatch, line, "n\n" if runs else "y\n")
    assert [decided.agrees(CALL, {"path": str(n)}, ["/bin/rm"]) for n in range(3)] == [runs] * 3
    assert person.asked == 1
    assert decided.agrees(OTHER, {}, ["/bin/ls"]) is not runs
    assert person.asked == 2


def test_what_is_no_answer_is_asked_again(somebody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decided, person, _ = asked(monkeypatch, "perhaps\n", "yy\n", "y\n")
    assert decided.agrees(CALL, {}, ["/bin/rm"])
    assert person.asked == 3


def test_the_exact_call_is_seen_and_obeyed_by_no_terminal(somebody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decided, _, out = asked(monkeypatch, "n\n")
    hostile = {"path": "\x1b[2J/etc/passwd\u202e", "note": "two  spaces " + "x" * 300 + " end", "text": "a\nb"}
    decided.agrees(CALL, hostile, ["./it", "a b", "\x1b]0;title\x07"])
    shown = out.getvalue()
    assert '"note": "two  spaces ' + "x" * 300 + ' end"' in shown
    assert "\\u001b[2J/etc/passwd<U+202E>" in shown  # JSON's escape, and our sign
    assert "runs: ./it 'a b' '␛]0;title␇'" in shown
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert "not run" in shown


def test_nobody_there_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "can_ask", lambda stream: False)  # noqa: ARG005
    decided, person, _ = asked(monkeypatch, "y\n")
    assert decided.agrees(CALL, {}, ["/bin/rm"]) is False
    assert person.asked == 0


def test_what_is_allowed_beforehand_is_shown_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    person, out = Person("n\n"), io.StringIO()
    monkeypatch.setattr("sys.stdin", person)
    assert Agreement(allow_all=True, stream=out).agrees(CALL, {"path": "/"}, ["/bin/rm"])
    assert person.asked == 0
    assert '{"path": "/"}' in out.getvalue()


def test_a_result_that_the_person_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    decided, _, out = asked(monkeypatch, "22.0\n")
    assert decided.result_of(CALL) == "22.0"
    assert '{"path": "/"}' in out.getvalue()
    assert decided.result_of(CALL) is None  # the end of the input


def test_keys_that_are_no_text_are_no_agreement(somebody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decided, _, _ = asked(monkeypatch)
    raw = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\ny\n\xff\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdin", raw)
    assert decided.agrees(CALL, {}, ["/bin/rm"]) is False
    assert decided.result_of(CALL) in ("", None)


def test_the_question_goes_where_the_person_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr("sys.stdin", Tty("y\n"))
    assert Agreement(stream=Tty()).agrees(CALL, {}, ["/bin/rm"])
    monkeypatch.setattr("sys.stdin", Tty("y\n"))
    assert not Agreement(stream=io.StringIO()).agrees(CALL, {}, ["/bin/rm"])


def test_a_function_of_a_file_is_named(somebody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decided, _, out = asked(monkeypatch, "n\n")
    decided.agrees(CALL, {}, (*functions.command("--call", Path("tools.py")), "rm"))
    assert f"runs: rm() of {Path('tools.py').absolute()}\n" in out.getvalue()


def test_a_call_that_runs_is_seen_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    out = Tty()
    agreement = Agreement(allow_all=True, stream=out)
    assert agreement.agrees(CALL, {}, ["/bin/sleep"])
    assert out.getvalue().endswith("\r\x1b[2m  running\x1b[0m\x1b[K")
    agreement.report(CALL, Result("slept", failed=False))
    assert "\x1b[K\r\x1b[K\x1b[2m  slept" in out.getvalue()
    assert agreement.agrees(CALL, {}, ["/bin/sleep"])
    agreement.settle()
    assert out.getvalue().endswith("running\x1b[0m\x1b[K\r\x1b[K")
