"""Remarks, errors, tables, renderings: bare in a pipe, with styles on a terminal; never a foreign escape sequence."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from fake_screen import Screen

from minichat.terminal.output import print_error, say, styled, write
from minichat.terminal.plain import PlainStream
from minichat.terminal.render import print_rendering
from minichat.terminal.tables import print_fields, print_table


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")


def test_an_error_is_one_line() -> None:
    pipe = io.StringIO()
    print_error("no such file: a\nb\x1b[31m.gguf", pipe)
    assert pipe.getvalue() == "minichat: no such file: a b␛[31m.gguf\n"


def test_styles_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert styled(io.StringIO(), "x", "red") == "x"
    screen = Screen(40, 24)
    assert styled(screen, "x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled(screen, "x", "bold", "red") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("TERM", "dumb")
    assert styled(screen, "x", "bold", "red") == "x"


def test_remarks_are_broken_between_words() -> None:
    screen = Screen(40, 24)
    say("the oldest 2 messages no longer fit into the context", "dim", stream=screen)
    assert screen.text() == ["the oldest 2 messages no longer fit", "into the context"]
    pipe = io.StringIO()
    say("word " * 30, stream=pipe)
    assert pipe.getvalue().count("\n") == 1


def test_what_the_encoding_lacks_is_a_question_mark() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write(stream, "né\n")
    assert raw.getvalue() == b"n?\n"


def test_a_pipe_gets_the_answer_as_it_comes() -> None:
    pipe = io.StringIO()
    stream = PlainStream(pipe)
    stream.feed("**one**\x1b")
    assert pipe.getvalue() == "**one**␛"
    stream.feed("[0m two")
    stream.close()
    stream.close()
    assert pipe.getvalue() == "**one**␛[0m two\n"


@pytest.mark.parametrize(("text", "ends"), [("", ""), ("x\n", "x\n"), ("x\n\n", "x\n\n")])
def test_no_newline_is_added_to_one(text: str, ends: str) -> None:
    pipe = io.StringIO()
    stream = PlainStream(pipe)
    stream.feed(text)
    stream.close()
    assert pipe.getvalue() == ends


def test_a_table_in_a_pipe_is_aligned_text() -> None:
    pipe = io.StringIO()
    print_table(["NAME", "SIZE"], [["demo", "5.0 MB"], ["日本\x1b", "14 GB"]], pipe, right=[1])
    assert pipe.getvalue() == "NAME     SIZE\ndemo   5.0 MB\n日本␛   14 GB\n"
    pipe = io.StringIO()
    print_table(["NAME", "SIZE"], [], pipe)
    assert pipe.getvalue() == "NAME  SIZE\n"
    pipe = io.StringIO()
    print_fields([("name", "demo"), ("context", "4,096"), ("[bold]", "a\nb")], pipe)
    assert pipe.getvalue() == "name     demo\ncontext  4,096\n[bold]   a␊b\n"
    pipe = io.StringIO()
    print_fields([], pipe)
    assert pipe.getvalue() == ""


def test_a_table_on_a_terminal_keeps_everything_within_the_width() -> None:
    screen = Screen(40, 24)
    print_table(["NAME", "SIZE"], [["a-rather-long-name-of-a-model:24b-q4_K_M", "5.0 MB"], ["[red]x", "1 B"]], screen)
    shown = screen.text()
    assert shown[0].split() == ["NAME", "SIZE"]
    assert "5.0 MB" in shown[1]
    assert "[red]x" in shown[3]
    assert "".join(row[:32].strip() for row in shown[1:3]) == "a-rather-long-name-of-a-model:24b-q4_K_M"
    screen = Screen(40, 24)
    print_fields([("path", "/" + "x" * 60)], screen)
    assert "".join("".join(screen.text()).split()) == "path/" + "x" * 60


def test_a_rendering_tells_control_tokens_from_text_that_looks_like_them() -> None:
    spans = [("<s>", True), ("[INST]", True), ("[INST] hi\x1b", False), ("[/INST]", True)]
    pipe = io.StringIO()
    print_rendering(spans, pipe)
    assert pipe.getvalue() == "<s>[INST][INST] hi␛[/INST]\n"
    screen = Screen(80, 24)
    print_rendering(spans, screen)
    assert screen.text() == ["<s>[INST][INST] hi␛[/INST]"]
    styles = [style for _, style in screen.rows[0]]
    assert all(styles[:9])
    assert not any(styles[9:19])
    assert all(styles[19:])


def test_the_prompt_does_not_wait_for_rich() -> None:
    code = (
        "import sys, minichat.terminal.repl\n"
        "heavy = {'rich', 'markdown_it', 'pygments', 'numpy', 'llama_cpp'} & {m.split('.')[0] for m in sys.modules}\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_narrow_terminal_drops_columns_and_breaks_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mistral-small:24b-instruct-2501-q4_K_M"
    row = (name, "14.3 GB", "23.6B", "a sentence that may be broken anywhere between its words")
    for width, titles in ((120, 4), (70, 3)):
        screen = Screen(width, 24)
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(("NAME", "SIZE", "PARAMETERS", "WHAT"), [row], screen, wraps=(3,), drop=(2, 1))  # type: ignore[arg-type]
        lines = screen.text()
        assert len(lines[0].split()) == titles
        assert any(line.startswith(name + " ") for line in lines), lines
        assert " ".join(" ".join(line.removeprefix(name) for line in lines[1:]).split()).endswith("between its words")
