"""The prompt that redraws nothing: lines in, no sequence out."""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_screen import Screen
from typing_hand import chat_of, hand

from minichat.terminal import plain_prompt
from minichat.terminal.history_file import HistoryFile
from minichat.terminal.plain_prompt import PlainPrompt
from minichat.terminal.prompt import Prompt

Line = str | type[BaseException] | BaseException


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Has `input` give these lines, or raise these exceptions; the labels that it was asked with."""
    monkeypatch.setattr(plain_prompt, "_line_editor", lambda _: plain_prompt._Bare())

    def set_lines(*answers: Line) -> list[str]:
        labels: list[str] = []
        left = list(answers)

        def answer(label: str = "") -> str:
            labels.append(label)
            line = left.pop(0)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr(builtins, "input", answer)
        return labels

    return set_lines


def test_a_line_is_a_message(lines: Callable[..., list[str]]) -> None:
    labels = lines("Hello", EOFError)
    prompt = PlainPrompt(chat_of(plain=True))
    assert prompt.read() == "Hello"
    with pytest.raises(EOFError):
        prompt.read()
    assert labels == ["You: ", "You: "]


def test_a_block_has_many_lines_under_one_label(lines: Callable[..., list[str]]) -> None:
    labels = lines('"""one', "", "  two", '"""')
    assert PlainPrompt(chat_of(plain=True)).read() == "one\n\n  two"
    assert labels == ["You: ", "", "", ""]


def test_ctrl_c_hints_and_asks_again(lines: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    lines('"""half', KeyboardInterrupt, "whole")
    assert PlainPrompt(chat_of(plain=True)).read("draft") == "whole"
    assert capsys.readouterr().out == "It was: draft\n\nCtrl-D or /bye leaves\n"


def test_bytes_that_are_no_text_are_told(lines: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    lines(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "\udcff")
    assert PlainPrompt(chat_of(plain=True)).read() == "\N{REPLACEMENT CHARACTER}"
    assert capsys.readouterr().out == "that was no text in the terminal's encoding\n"


def test_it_is_remembered_as_elsewhere(lines: Callable[..., list[str]], tmp_path: Path) -> None:
    lines("one", "one", "", "two")
    prompt = PlainPrompt(chat_of(plain=True, history_path=tmp_path / "history"))
    for _ in range(4):
        prompt.read()
    assert HistoryFile(tmp_path / "history").entries() == ["one", "two"]


def test_files_are_told_of_with_their_cost(
    lines: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    lines("see @a.txt", "see @b.txt")
    prompt = PlainPrompt(chat_of(plain=True))
    prompt.read()
    prompt.read()
    assert capsys.readouterr().out == "(1 token with 1 file)\n"


def test_who_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(stream: io.TextIOBase, term: str, plain: bool) -> str:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", term)
        return type(Prompt(chat_of(plain=plain))._reader).__name__

    monkeypatch.setattr(plain_prompt, "_line_editor", lambda _: plain_prompt._Bare())
    screen = Screen(60, 24)
    assert reader(screen, "xterm", True) == "PlainPrompt"
    assert reader(screen, "dumb", False) == "PlainPrompt"
    with hand():
        assert reader(screen, "xterm", False) == "LineEditor"


def test_ctrl_c_gives_up_an_edit(lines: Callable[..., list[str]]) -> None:
    lines(KeyboardInterrupt, "something else")
    chat = chat_of(plain=True, editing=1)
    assert PlainPrompt(chat).read("what was said") == "something else"
    assert chat.editing is None
