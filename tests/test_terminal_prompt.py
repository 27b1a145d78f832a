"""The keys of the prompt, and the message that comes of them."""

from __future__ import annotations

import random
import signal
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from prompt_toolkit.document import Document
from prompt_toolkit.utils import get_cwidth
from typing_hand import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_J,
    CTRL_R,
    DOWN,
    ENTER,
    ESCAPE,
    LEFT,
    RIGHT,
    TAB,
    UP,
    chat_of,
    hand,
    paste,
    step_by_step,
    typed,
    write_script,
)

from minichat.terminal.interrupt import interrupt_waits
from minichat.terminal.line_editor import LineEditor
from minichat.terminal.rows import move, row_starts
from minichat.terminal.typed import is_open, message_of

CTRL_X_CTRL_E = "\x18\x05"


@pytest.mark.parametrize("new_line", [CTRL_J, ALT_ENTER, "\x1b[13;2u", "\x1b[27;2;13~"])
def test_enter_sends_and_others_make_a_new_line(new_line: str) -> None:
    assert typed(f"one{new_line}two{ENTER}") == "one\ntwo"


def test_ctrl_c_before_the_prompt_takes_keys_is_not_kept_for_the_message() -> None:
    with hand() as pipe, interrupt_waits() as waiting:
        editor = LineEditor(chat_of())
        signal.raise_signal(signal.SIGINT)
        pipe.send_text(f"one{ENTER}")
        assert editor.read("", waiting) == "one"
        assert not waiting.pressed


def test_what_comes_after_enter_is_the_next_message() -> None:
    with hand() as pipe:
        pipe.send_text(f"one{ENTER}two{ENTER}{CTRL_D}")
        editor = LineEditor(chat_of())
        assert [editor.read(), editor.read()] == ["one", "two"]
        with pytest.raises(EOFError):
            editor.read()


def test_ctrl_d_deletes_where_there_is_something() -> None:
    assert typed(f"ab{LEFT}{CTRL_D}{ENTER}") == "a"


def test_a_paste_of_500_lines_is_one_message() -> None:
    text = "\n".join(f"line {i}: \ttext, 日本語 é" for i in range(500))
    assert typed(paste(text) + ENTER) == text


def test_a_paste_of_100_000_characters_is_one_message() -> None:
    text = "x" * 100_000
    assert typed(paste(text) + "!" + ENTER) == text + "!"


def test_a_paste_obeys_no_keys() -> None:
    assert typed(paste("a\x03b\x04c\x1b[Ad\x18\x05") + ENTER) == "a\x03b\x04c\x1b[Ad\x18\x05"


def test_arrows_go_through_all_lines() -> None:
    assert typed(f"one{CTRL_J}two{CTRL_J}three{UP}{UP}1{DOWN}2{DOWN}3{ENTER}") == "one1\ntwo2\nthre3e"


def test_arrows_go_through_the_rows_of_a_long_line() -> None:
    """12 columns hold 8 characters after the prompt."""
    keys = f"abcdefghijklmnopqrst{UP}1{ENTER}"
    assert typed(keys, columns=12) == "abcdefghijkl1mnopqrst"


def test_history_begins_beyond_the_first_line_and_ends_beyond_the_last() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        pipe.send_text(f"old{CTRL_J}er{ENTER}")
        editor.read()
        pipe.send_text(f"new{UP}{ENTER}")
        assert editor.read() == "old\ner"
        pipe.send_text(f"new{UP}{UP}{UP}{DOWN}{DOWN}{DOWN}!{ENTER}")
        assert editor.read() == "new!"


def test_ctrl_r_finds_what_was_typed_before() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        pipe.send_text(f"the first question{ENTER}another{ENTER}")
        editor.read()
        editor.read()
        pipe.send_text(f"{CTRL_R}first{ENTER}{ENTER}")
        assert editor.read() == "the first question"


def test_ctrl_c_in_a_search_ends_the_search() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        pipe.send_text(f"the first question{ENTER}kept{CTRL_R}first{CTRL_C}!{ENTER}")
        editor.read()
        assert editor.read() == "kept!"


@pytest.mark.parametrize("key", [RIGHT, "\x05", "\x06"])
def test_a_suggestion_is_taken(key: str) -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        pipe.send_text(f"a question{CTRL_J}of two lines{ENTER}")
        editor.read()
        suggestion = step_by_step(
            editor,
            pipe,
            ("a qu", lambda: True),
            (key + ENTER, lambda: editor._session.default_buffer.suggestion is not None),
        )
        assert suggestion == "a question"


def test_nothing_is_suggested_for_nothing_nor_for_what_is_there_already() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        pipe.send_text(f"said{ENTER}")
        editor.read()
        pipe.send_text(f"{RIGHT}{ENTER}")
        assert editor.read() == ""
        suggest, buffer = editor._session.auto_suggest, editor._session.default_buffer
        assert suggest is not None
        for text, rest in [("", None), ("said", None), ("sa", "id"), ("so", None), ("  ", None)]:
            found = suggest.get_suggestion(buffer, Document(text))
            assert (found.text if found else None) == rest


def test_blocks_go_on_until_their_closing_quotes() -> None:
    assert typed(f'"""{ENTER}one{ENTER}  two{ENTER}"""{ENTER}') == "one\n  two"
    assert typed(f'"""one{ENTER}two"""{ENTER}') == "one\ntwo"
    assert typed(f'say """{ENTER}') == 'say """'


def test_code_that_is_pasted_is_no_block() -> None:
    code = '"""Doc."""\nimport os\nx = """a"""'
    assert typed(paste(code) + ENTER) == code


def test_code_in_a_block_keeps_its_quotes() -> None:
    code = 'def f():\n    """Doc."""\n    return 1'
    assert typed(f'"""{ENTER}{paste(code)}{ENTER}"""{ENTER}') == code


def test_what_a_block_is() -> None:
    for text in ('"""', '  """\n', '"""a', '"""\n"""b"""\n'):
        assert is_open(text), text
    for text in ("", '""', '""""""', '"""a"""', 'x"""', '"""\na\n"""  '):
        assert not is_open(text), text
    assert message_of('""""""') == ""
    assert message_of('"""\n  a\n"""  \n') == "  a"
    assert message_of('""""') == '""""'


def test_what_cannot_be_encoded_is_replaced() -> None:
    assert message_of("a\udcffb") == "a\N{REPLACEMENT CHARACTER}b"
    assert message_of("\udcc3\udca4") == "ä"
    message_of("a\ud800b").encode()


def test_ctrl_c_clears_and_up_brings_it_back() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer
        steps = (
            (f"a long thought{CTRL_C}", lambda: True),
            (UP, lambda: not buffer.text and len(buffer._working_lines) > 1),  # the history is there
            (ENTER, lambda: bool(buffer.text)),
        )
        assert step_by_step(editor, pipe, *steps) == "a long thought"


def test_a_signal_is_a_ctrl_c() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer

        def signalled() -> bool:
            if buffer.text == "oops":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return True
            return False

        steps = (("oops", lambda: True), ("", signalled), (f"fine{ENTER}", lambda: not buffer.text))
        assert step_by_step(editor, pipe, *steps) == "fine"


def test_ctrl_c_at_an_empty_prompt_hints_at_the_way_out() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of())
        shown: list[str] = []

        def hinted() -> bool:
            shown.append("".join(text for _, text, *_ in editor._toolbar()))
            return "Ctrl-D" in shown[-1]

        assert step_by_step(editor, pipe, (CTRL_C, lambda: True), ("x", hinted), (ENTER, lambda: not hinted())) == "x"


def test_a_draft_can_be_edited() -> None:
    assert typed(f"!{ENTER}", draft="as it\nwas") == "as it\nwas!"


def test_tab_indents_where_nothing_can_be_completed() -> None:
    assert typed(f"a{TAB}b{TAB}{ENTER}") == "a   b   "


def test_vi_keys() -> None:
    assert typed(f"one two{ESCAPE}bcwthree{ESCAPE}0x{ENTER}", chat_of(keys="vi")) == "ne three"
    assert typed(f"one{ALT_ENTER}two{CTRL_J}x{ENTER}", chat_of(keys="vi")) == "one\ntwo\nx"


def test_vi_mode_is_told() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of(keys="vi"))
        modes: list[str] = []

        def shows(mode: str) -> bool:
            modes.append("".join(text for _, text, *_ in editor._toolbar()))
            return modes[-1].startswith(mode + " · ")

        steps = (("x", lambda: True), (ESCAPE, lambda: shows("vi insert")), (ENTER, lambda: shows("vi")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minichat.terminal.line_editor.get_app", lambda: editor._session.app)
            assert step_by_step(editor, pipe, *steps) == "x"


def test_emacs_keys_tell_of_no_mode() -> None:
    with hand():
        assert "".join(text for _, text, *_ in LineEditor(chat_of())._toolbar()) == "demo:q4_K_M"


def test_the_editor_gets_the_text_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = write_script(tmp_path / "my editor", f'cat "$2" > {tmp_path}/before; printf "edited\\nä\\n" > "$2"')
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{script}' -w")
    with hand() as pipe:
        editor = LineEditor(chat_of())
        buffer = editor._session.default_buffer
        steps = ((f"draft{CTRL_X_CTRL_E}", lambda: True), (f"!{ENTER}", lambda: buffer.text == "edited\nä"))
        assert step_by_step(editor, pipe, *steps) == "edited\nä!"
    assert (tmp_path / "before").read_text() == "draft"


@pytest.mark.parametrize(
    ("command", "says"),
    [("false", "exit code 1"), ("/no/such/editor", "cannot be started"), ("'", "no command")],
)
def test_an_editor_that_fails_leaves_the_text(command: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", command)
    with hand() as pipe:
        editor = LineEditor(chat_of())
        steps = ((f"draft{CTRL_X_CTRL_E}", lambda: True), (ENTER, lambda: says in editor._hint))
        assert step_by_step(editor, pipe, *steps) == "draft"


def test_rows_are_those_that_are_drawn() -> None:
    """Every row holds at most its cells, and no character that begins one would have fitted into the row before."""
    draw = random.Random(2)
    for _ in range(500):
        line = "".join(draw.choice("ab 日本é\u0301👍") for _ in range(draw.randrange(60)))
        columns = draw.randrange(2, 20)
        starts = row_starts(line, columns)
        rows = [line[a:b] for a, b in zip(starts, [*starts[1:], len(line)], strict=True)]
        assert "".join(rows) == line
        assert all(get_cwidth(row) <= columns for row in rows)
        assert all(get_cwidth(a + b[0]) > columns for a, b in pairwise(rows))


def test_down_is_the_way_back_up() -> None:
    """From the first row down to the last one and up again: as many steps, and to the same column."""
    draw = random.Random(3)
    for _ in range(300):
        text = "".join(draw.choice("abcdef\n日") for _ in range(draw.randrange(80)))
        columns, places, cell = draw.randrange(4, 20), [0], None
        while (moved := move(text, places[-1], columns, 1, cell)) is not None:
            places.append(moved[0])
            cell = moved[1]
        back = [places[-1]]
        while (moved := move(text, back[-1], columns, -1, cell)) is not None:
            back.append(moved[0])
        assert back[::-1] == places


def test_keys_can_be_changed_between_two_messages() -> None:
    chat = chat_of()
    with hand() as pipe:
        editor = LineEditor(chat)
        pipe.send_text(f"one{ENTER}")
        assert editor.read() == "one"
        chat.keys = "vi"
        assert step_by_step(editor, pipe, ("two", lambda: True), (f"{ESCAPE}0x{ENTER}", lambda: True)) == "wo"
        chat.keys = "emacs"
        pipe.send_text(f"three\x01x{ENTER}")
        assert editor.read() == "xthree"


def test_a_message_given_up_in_vi_s_normal_mode_leaves_it() -> None:
    with hand() as pipe:
        editor = LineEditor(chat_of(keys="vi"))
        steps = (("abc", lambda: True), (ESCAPE, lambda: True), (CTRL_C, lambda: True), (f"xy{ENTER}", lambda: True))
        assert step_by_step(editor, pipe, *steps) == "xy"
