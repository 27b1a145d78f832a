"""/raw and /copy, and the ways onto a clipboard."""

from __future__ import annotations

import base64
import doctest
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_terminal_repl import chat_with

from minichat.conversation import Conversation
from minichat.template.messages import Call, Message
from minichat.terminal import clipboard
from minichat.terminal.chat import Chat
from minichat.terminal.commands import dispatch, reading
from quant.errors import UsageError

ANSWER = "Two **ways**:\n\n```sh\nls\n```\n\n- or\n\n  ````md\n  ```py\n  x\n  ```\n  ````\n"


class Tty:
    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tty:
    """stdout as a terminal that takes OSC 52; no program is there to copy with."""
    tty = Tty()
    for name in ("TMUX", "STY", "SSH_TTY", "SSH_CONNECTION", "WAYLAND_DISPLAY", "DISPLAY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tty


def program(folder: Path, name: str, status: int = 0) -> Path:
    """One that writes what it gets into a file, and exits with `status`."""
    path, taken = folder / name, folder / f"{name}.taken"
    path.write_text(f'#!/bin/sh\n/bin/cat > "{taken}"\nexit {status}\n')
    path.chmod(0o755)
    return taken


def chat(*answers: str) -> Chat:
    made = chat_with(FakeEngine())
    for number, said in enumerate(answers, 1):
        made.conversation.ask(f"question {number}")
        if said:
            made.conversation.answer(said, None)
    return made


def run(tty: Tty, made: Chat, name: str, argument: str) -> None:
    with redirect_stdout(tty):  # type: ignore[type-var]
        dispatch(made, name, argument)


def on_clipboard(tty: Tty) -> str:
    match = re.search("\x1b]52;c;([A-Za-z0-9+/=]*)\x07", tty.text)
    assert match, repr(tty.text)
    return base64.b64decode(match[1]).decode()


def test_the_examples_in_the_docstrings() -> None:
    for module in (clipboard, reading):
        assert doctest.testmod(module).failed == 0


def test_copy_takes_the_last_answer_or_a_code_block(tty: Tty) -> None:
    made = chat("first", ANSWER)
    run(tty, made, "copy", "")
    assert on_clipboard(tty) == ANSWER
    assert f"(copied the last answer, {len(ANSWER)} characters, by the terminal (OSC 52))" in tty.text
    for number, code in ((1, "ls"), (2, "```py\nx\n```")):
        tty.text = ""
        run(tty, made, "copy", str(number))
        assert on_clipboard(tty) == code
        assert f"code block {number} of 2" in tty.text


def test_raw_shows_and_copies_a_turn(tty: Tty) -> None:
    made = chat("**first**", ANSWER, "")  # the last question has no answer yet
    run(tty, made, "raw", "")
    assert tty.text.startswith(ANSWER + "\x1b]52;")
    assert on_clipboard(tty) == ANSWER
    tty.text = ""
    run(tty, made, "raw", "1")
    assert tty.text.startswith("**first**\n\x1b]52;")


def test_an_answer_around_calls_is_one() -> None:
    call = Call("f", "{}", "abcdefghi")
    messages = [
        Message("user", "Hi"),
        Message("assistant", "Let me see.", calls=(call,)),
        Message("tool", "4", call_id=call.id),
        Message("assistant", "Four."),
    ]
    assert reading.answers(Conversation(None, None, messages)) == ["Let me see.\n\nFour."]


@pytest.mark.parametrize(
    ("answers", "name", "argument", "message"),
    [
        ((), "raw", "", "there is no answer yet"),
        (("",), "copy", "", "there is no answer yet"),
        (("a", ""), "raw", "2", "turn 2 has no answer"),
        (("a", "b"), "raw", "3", "'3' is no turn: the turns are 1 to 2"),
        (("a",), "raw", "0", "there is only turn 1"),
        (("a",), "raw", "9" * 5000, "is no turn"),
        (("a",), "raw", "²", "is no turn"),
        (("a",), "copy", "1", "no code block"),
        ((ANSWER,), "copy", "3", "the code blocks are 1 to 2"),
        ((ANSWER,), "copy", "\x1b[2J", "is no code block"),
    ],
)
def test_what_is_not_there(tty: Tty, answers: tuple[str, ...], name: str, argument: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(tty, chat(*answers), name, argument)
    assert tty.text == ""


def test_completion_offers_what_is_there() -> None:
    made = chat("first", "", ANSWER)
    assert list(reading.COMMANDS[0].complete(made, "")) == ["1", "3"]  # type: ignore[misc]
    assert list(reading.COMMANDS[1].complete(made, "")) == ["1", "2"]  # type: ignore[misc]


def test_what_is_copied_is_clean(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    taken = program(tmp_path, "xclip")
    run(tty, chat("a\x1b[201~\nrm -rf ~\r\u202e\ud800"), "copy", "")
    assert on_clipboard(tty) == taken.read_text("utf-8") == "a␛[201~\nrm -rf ~␍<U+202E>\N{REPLACEMENT CHARACTER}"
    assert "by xclip and the terminal (OSC 52)" in tty.text


def test_a_program_that_fails_is_passed_over(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")
    program(tmp_path, "wl-copy", 1)
    taken = program(tmp_path, "xsel")
    assert clipboard.copy("Hi", tty) == "xsel and the terminal (OSC 52)"
    assert taken.read_text() == "Hi"


def test_over_ssh_the_far_desktop_is_left_alone(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = program(tmp_path, "pbcopy")
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    assert clipboard.copy("Hi", tty) == "the terminal (OSC 52)"
    assert not taken.exists()
    monkeypatch.delenv("SSH_TTY")
    assert clipboard.copy("Hi", tty) == "pbcopy and the terminal (OSC 52)"


def test_windows_gets_its_own_encoding(tty: Tty, tmp_path: Path) -> None:
    taken = program(tmp_path, "clip.exe")
    clipboard.copy("Grüße 🙂", tty)
    assert taken.read_bytes() == "Grüße 🙂".encode("utf-16-le")


def test_what_is_too_long_for_a_terminal_is_not_cut(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = "é" * (clipboard.MAX_OSC_BYTES // 2)
    clipboard.copy(longest, tty)
    assert on_clipboard(tty) == longest
    assert len(tty.text) <= 100_000
    tty.text = ""
    with pytest.raises(UsageError, match="74,996 bytes are too many for a terminal's clipboard"):
        clipboard.copy(longest + "é", tty)
    assert tty.text == ""
    run(tty, chat(longest + "é"), "raw", "")  # it is shown all the same
    assert "é\n" in tty.text
    assert "(not copied: " in tty.text
    monkeypatch.setenv("DISPLAY", ":0")
    program(tmp_path, "xclip")
    assert clipboard.copy(longest + "é", tty) == "xclip"


@pytest.mark.parametrize("name", ["dumb", "linux", "eterm-color", ""])
def test_a_terminal_without_a_clipboard_gets_no_sequence(tty: Tty, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TERM", name)
    with pytest.raises(UsageError, match="none of pbcopy, wl-copy, xclip, xsel, "):
        clipboard.copy("Hi", tty)
    assert tty.text == ""


def test_tmux_is_asked_first(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    assert clipboard.copy("Hi", tty) == "the terminal (OSC 52)"  # there is no such program: passed through
    assert tty.text == "\x1bPtmux;\x1b\x1b]52;c;SGk=\x07\x1b\\"
    tty.text = ""
    taken = program(tmp_path, "tmux")
    assert clipboard.copy("Hi", tty) == "tmux"
    assert (taken.read_text(), tty.text) == ("Hi", "")


def test_screen_gets_it_in_parts(tty: Tty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "screen-256color")
    text = "word " * 500
    clipboard.copy(text, tty)
    parts = re.findall("\x1bP(.*?)\x1b\\\\", tty.text, re.DOTALL)
    assert "".join(f"\x1bP{part}\x1b\\" for part in parts) == tty.text
    assert max(map(len, parts)) <= 250
    tty.text = "".join(parts)
    assert on_clipboard(tty) == text


def test_a_program_that_hangs_is_left(tty: Tty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_PATIENCE_S", 0.2)
    path = tmp_path / "pbcopy"
    path.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    path.chmod(0o755)
    assert clipboard.copy("Hi", tty) == "the terminal (OSC 52)"
