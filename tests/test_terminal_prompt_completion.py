"""What Tab and the menu offer: commands, their arguments, files to attach."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from typing_hand import CTRL_J, ENTER, TAB, chat_of, hand, step_by_step, typed

from minichat.terminal import completion
from minichat.terminal.chat import Chat
from minichat.terminal.commands.command import Command
from minichat.terminal.completion import ChatCompleter, is_completed_while_typing
from minichat.terminal.line_editor import LineEditor
from minichat.terminal.paths import complete_path
from quant.errors import StorageError


def offered(text: str) -> list[str]:
    """The texts that a completion would lead to."""
    completions = ChatCompleter(chat_of()).get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + c.start_position] + c.text for c in completions]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    (folder / "docs" / "deep").mkdir(parents=True)
    for name in ("notes.txt", "Notes.md", "a b.txt", ".hidden", "docs/one.txt", 'quo"te', "evil\x1b[31m", "line\nend"):
        (folder / name).write_text("")
    monkeypatch.chdir(folder)
    return folder


def test_names_of_commands() -> None:
    assert {"/help", "/bye", "/clear"} <= {text.rstrip() for text in offered("/")}
    assert offered("/BY") == ["/bye"]
    assert offered("/nothing") == offered("bye") == offered(" /bye") == []


def test_a_command_that_wants_something_gets_a_blank() -> None:
    assert [text.rstrip() for text in offered("/expo")] == ["/export"]
    assert offered("/expo")[0].endswith(" ")


def test_tab_completes_what_is_the_only_one() -> None:
    assert typed(f"/by{TAB}{ENTER}") == "/bye"


def test_arguments_are_the_commands_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(chat: Chat, argument: str) -> Iterable[str]:
        if argument == "broken":
            raise StorageError("the store cannot be read")
        return (name for name in ("mistral-small", "mistral nemo", "evil\x1b]0;x\x07", "a\nb") if argument in name)

    command = Command("model", "NAME", "", lambda *_: False, names)
    monkeypatch.setattr(completion, "COMMANDS", (command,))
    assert offered("/model ") == ["/model mistral-small", "/model mistral nemo"]
    assert offered("/model small") == ["/model mistral-small"]  # from its middle
    assert offered("/model mistral n") == ["/model mistral nemo"]
    assert offered("/model broken") == offered("/other x") == offered("/model a\nb") == []


def test_an_argument_that_is_a_file_is_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = Command("format", "[text|json|FILE]", "", lambda *_: False)
    monkeypatch.setattr(completion, "COMMANDS", (command,))
    assert offered("/format do") == ["/format docs/"]
    assert offered("/format docs/") == ["/format docs/deep/", "/format docs/one.txt"]


def test_files_to_attach(folder: Path) -> None:
    assert offered("see @") == ['see @"a b.txt"', "see @docs/", "see @Notes.md", "see @notes.txt"]
    assert offered("see @n") == ["see @notes.txt"]
    assert offered("(@docs/o") == ["(@docs/one.txt"]
    assert offered('see @"do') == ['see @"docs/']  # open for what is in it
    assert offered('see @"docs/o') == ['see @"docs/one.txt"']
    assert offered("@.h") == ["@.hidden"]
    assert offered(f"@n{CTRL_J}@d") == [f"@n{CTRL_J}@docs/"]
    assert offered("see @notes.txt") == offered("me@n") == offered("@nothing") == offered("@n ") == []


def test_paths(folder: Path, home: Path) -> None:
    (home / "mine.txt").write_text("")
    assert list(complete_path("~/mi")) == ["~/mine.txt"]
    assert list(complete_path(f"{folder}/do")) == [f"{folder}/docs/"]
    assert list(complete_path("no/such/folder/")) == list(complete_path("a\0b/")) == []


def test_names_that_a_terminal_would_obey_are_not_offered(folder: Path) -> None:
    (folder / "x\u202ey").write_text("")
    (folder / "x\x9bm").write_text("")
    assert offered("@e") == offered("@l") == offered("@x") == offered("@q") == []


def test_tab_completes_a_path(folder: Path) -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer
        steps = ((f"see @doc{TAB}", lambda: True), (ENTER, lambda: buffer.text == "see @docs/"))
        assert step_by_step(editor, pipe, *steps) == "see @docs/"


def test_enter_takes_what_was_chosen_in_the_menu_and_sends_it_only_then(folder: Path) -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer
        steps = (
            ("see @", lambda: True),
            # They come one by one, from a thread; beyond the last one that is there, Tab goes round to none.
            (TAB + TAB, lambda: buffer.complete_state is not None and len(buffer.complete_state.completions) == 4),
            (ENTER, lambda: buffer.text == "see @docs/"),
            ("!", lambda: buffer.complete_state is None),
            (ENTER, lambda: buffer.text.endswith("!")),
        )
        assert step_by_step(editor, pipe, *steps) == "see @docs/!"


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        *(("/", True), ("/by", True), ("/usr/bin", False), ("/export x", True), ("/nope x", False), ("", False)),
        *(("@", True), ("a @x", True), ("a@x", False), ("@x y", False), ("word", False)),
    ],
)
def test_when_a_menu_opens_by_itself(text: str, opens: bool) -> None:
    assert is_completed_while_typing(text, text) == opens
