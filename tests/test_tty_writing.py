"""Writing at the prompt, in the real program: what is on the screen, and what the model got."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import tape
from pseudo_terminal import Tty

UP, DOWN, LEFT, END = "\x1b[A", "\x1b[B", "\x1b[D", "\x05"
NEW_LINE, CTRL_C, CTRL_D, CTRL_R, TAB = "\x1b\r", "\x03", "\x04", "\x12", "\t"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape.write(tmp_path_factory.mktemp("tape") / "writing", "Heard.")


@pytest.fixture
def tty(model: Path) -> Iterator[Tty]:
    with Tty("run", model) as found:
        found.prompt()
        yield found


def heard(tty: Tty) -> str:
    """The last message, as the model saw it."""
    tty.ask("/tokens")
    shown = tty.text()
    return shown[shown.rindex("[INST]") + 6 : shown.rindex("[/INST]")].strip()


def test_a_message_of_several_lines_is_edited_in_all_of_them(tty: Tty) -> None:
    tty.type(f"first{NEW_LINE}second\nthird")  # Alt-Enter, and Ctrl-J
    tty.type(f"{UP}{UP}{END}!{DOWN}{END}?")
    tty.rest(0.1)
    assert tty.screen()[:3] == [">>> first!", "... second?", "... third"]
    assert tty.cursor == (11, 1)
    tty.ask("")
    assert heard(tty) == "first!\nsecond?\nthird"


def test_history_over_two_runs(model: Path, home: Path) -> None:
    with Tty("run", model) as tty:
        tty.prompt()
        tty.ask("a question about whales")
        tty.ask(f"two{NEW_LINE}lines")
        tty.type(CTRL_D)
        assert tty.end() == 0
    files = [path for path in (home / "minichat").iterdir() if "history" in path.name]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * len(files) != []
    with Tty("run", model) as tty:
        tty.prompt()
        tty.type(UP)
        tty.wait_for("... lines")
        tty.type(f"{UP}{UP}")
        tty.wait_for(">>> a question about whales")
        tty.type(CTRL_C)
        tty.wait_for(">>> Send a message")
        tty.type(CTRL_R + "whal")
        tty.wait_for(">>> a question about whales")
        tty.type("\r")  # takes it
        tty.wait_until(lambda: "search" not in tty.text(), "the end of the search")
        tty.ask("")
        assert heard(tty) == "a question about whales"


def test_a_suggestion_from_the_history_is_taken(tty: Tty) -> None:
    tty.ask("tell me of whales")
    tty.type("tell m")
    tty.wait_until(lambda: tty.screen()[tty.cursor[1]].endswith("tell me of whales"), "the suggestion")
    tty.type(END)
    tty.ask("")
    assert tty.text().count(">>> tell me of whales") == 2


def test_a_paste_of_500_lines_is_one_message(model: Path) -> None:
    lines = [f"line {n}" for n in range(500)]
    with Tty("run", model, "--ctx", "16384") as tty:
        tty.prompt()
        tty.paste("\n".join(lines))
        assert tty.wait_for("line 499", seconds=10) < 10
        tty.ask("", seconds=60)
        assert heard(tty) == "\n".join(lines)


def test_a_block_between_quotes(tty: Tty) -> None:
    tty.type('"""one\r\rtwo\r')
    tty.rest(0.1)
    assert "Heard." not in tty.text()
    tty.ask('"""')
    assert heard(tty) == "one\n\ntwo"


def test_wide_characters_and_a_narrow_screen(model: Path) -> None:
    text = "漢字カタカナ e\u0301 " * 6
    with Tty("run", model, columns=40) as tty:
        tty.prompt()
        tty.type(text + "end")
        tty.type(LEFT * 3 + "the ")
        tty.rest(0.2)
        assert all(len(row) <= 40 for row in tty.screen())
        tty.ask("")
        assert heard(tty).replace("\n", " ").split() == (text + "the end").split()


def test_resized_at_the_prompt(tty: Tty) -> None:
    tty.ask("before")
    tty.type("a message that is longer than forty cells, so that it is broken " + NEW_LINE + "second line")
    tty.rest(0.1)
    for columns, lines in ((40, 24), (100, 24), (80, 12), (80, 24)):
        tty.resize(columns, lines)
        tty.rest(0.15)
    assert tty.text().count("second line") == 1
    assert tty.text().count("before") == 1
    assert tty.text().count("Heard.") == 1
    tty.type(CTRL_C)


def test_ctrl_c_clears_and_then_hints(tty: Tty) -> None:
    tty.type("never mind" + CTRL_C)
    tty.wait_until(lambda: "never mind" not in tty.text(), "an empty prompt")
    tty.type(CTRL_C)
    tty.wait_for("Ctrl-D")
    tty.type(CTRL_D)
    assert tty.end() == 0


def test_commands_are_completed(tty: Tty) -> None:
    tty.type("/contex" + TAB)
    tty.wait_for(">>> /context")
    tty.type(CTRL_C + "/nothign\r")
    tty.wait_for("no command /nothign")


def test_an_editor(model: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s, and more\\nof it" "$(cat "$1")" > "$1.new"\nmv "$1.new" "$1"\n')
    editor.chmod(0o755)
    with Tty("run", model, env={"EDITOR": str(editor)}) as tty:
        tty.prompt()
        tty.type("text\x18\x05")  # Ctrl-X Ctrl-E
        tty.wait_for("... of it")
        assert "Heard." not in tty.text()
        tty.ask("")
        assert heard(tty) == "text, and more\nof it"


def test_a_file_is_attached(tty: Tty, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The whale is blue.")
    tty.ask(f"What colour? @{note}")
    assert "The whale is blue." in heard(tty)


@pytest.mark.parametrize(
    ("options", "variables"), [(["--plain"], {}), ([], {"ACCESSIBLE": "1"}), ([], {"TERM": "dumb"})]
)
def test_without_redraws(model: Path, options: list[str], variables: dict[str, str]) -> None:
    with Tty("run", model, *options, env=variables) as tty:
        tty.wait_for("You:")
        tty.type("Hello\r")
        tty.wait_for("Heard." if "TERM" in variables else "minichat: Heard.")
        tty.wait_until(lambda: tty.lines()[-1] == "You:", "the next prompt")
        tty.type("/bye\r")
        assert tty.end() == 0
        if "TERM" in variables:
            assert b"\x1b" not in tty.sent
        assert not re.search(rb"\x1b\[\d*[A-GJ]", tty.sent)  # nothing moves


def test_a_model_that_cannot_be_loaded_ends_the_chat_at_once(model: Path) -> None:
    with Tty("run", model, "--draft", "demo") as tty:
        assert tty.end() == 3
        assert "4,096 tokens, not 277" in " ".join(tty.text().split())
        assert tty.text().count("minichat: ") == 1


def sent(tty: Tty) -> list[str]:
    """The lines of the message that was sent last."""
    lines = tty.lines()[: tty.lines().index("Heard.")]
    begin = max(n for n, line in enumerate(lines) if line.startswith(">>> "))
    return [line[4:] for line in lines[begin : len(lines) - 1 if not lines[-1] else None]]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("\n".join(f"line {n}" for n in range(40)), 80),
        (" ".join(f"word{n}" for n in range(400)) + "\n", 80),
        ("\n".join("漢字カタカナ" * 5 + str(n) for n in range(14)), 40),
        ("\n".join(f"line {n}" for n in range(23)), 40),
        ("\n".join(f"line {n}" for n in range(22)), 40),
        ("\n".join(f"line {n}" for n in range(24)), 40),
        (f"a\n{'b' * 152}\n" * 7, 80),
        ("z" * 3500, 80),
    ],
    ids=["lines", "words", "wide", "full", "fits", "over", "broken", "one"],
)
def test_a_message_taller_than_the_screen_is_in_the_scrollback(model: Path, text: str, columns: int) -> None:
    with Tty("run", model, "--ctx", "16384", columns=columns) as tty:
        tty.prompt()
        tty.paste(text)
        tty.rest(0.2)
        tty.ask("", seconds=60)
        assert "".join(sent(tty)).split() == text.replace("\n", "").split()
        assert tty.text().count(">>> ") == 2


def test_of_a_message_without_end_both_ends_are_there(model: Path) -> None:
    words = [f"w{n}" for n in range(100_000)]
    with Tty("run", model) as tty:
        tty.prompt()
        tty.paste(" ".join(words))
        tty.rest(0.5)
        tty.type("\r")
        tty.wait_for("w99999", seconds=20)
        tty.wait_for("more characters)\n... ")
        shown = tty.text()
        assert ">>> w0 w1 w2 " in shown
        assert "w99998 w99999" in shown
        assert len(shown) < 4000
