"""A whole session with the demo model, as it stands on the screen at the end: tests/data/transcripts/session.txt.

After a change that is meant, make it again, and read the difference:

    .venv/bin/python tests/test_tty_transcript.py && git diff tests/data/transcripts
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from pseudo_terminal import Tty

TRANSCRIPT = Path(__file__).parent / "data" / "transcripts" / "session.txt"
OPTIONS = ("run", "demo", "--temperature", "0", "--seed", "1", "--ctx", "1024", "--session", "golden")
NEW_LINE = "\x1b\r"
LINES = (  # what is typed; or that, a question of the program's, and the answer
    "Hello!",
    "My name is Ada.",
    "What is my name?",
    "What is the capital of Norway?",
    f"What is{NEW_LINE}12 + 30?",
    "/help answers",
    "/undo",
    "/drop 1",
    "/context",
    "/set temperature 0.5",
    "/set top-k many",
    "/set temperature 0",
    "/system End every answer with a cat.",
    "What is the capital of Peru?",
    "/raw",
    "/system none",
    "/format json",
    "Ada, 36, London",
    "/format text",
    "/tokens",
    "/search Norway",
    "/sessions",
    "/export chat.md",
    ("/export chat.md", "[y/N]", "n"),
    "/nothign",
    "/clear",
)
_CHANGING = (
    (re.compile(r"\d+(\.\d+)? (tokens/s|s\b|ms\b)"), r"# \2"),
    (re.compile(r"\d+(\.\d+)?/s\b"), "#/s"),
    (re.compile(r"characters, by .*\)"), "characters, by …)"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "####-##-## ##:##"),
)


def session(folder: Path) -> str:
    """What is on the screen and above it after all of LINES, without what changes from run to run."""
    with Tty(*OPTIONS, cwd=folder) as tty:
        tty.prompt()
        for line in LINES:
            if isinstance(line, tuple):
                typed, question, answer = line
                tty.type(typed + "\r")
                tty.wait_for(question)
                tty.ask(answer)
            else:
                tty.ask(line)
        tty.type("\x04")
        assert tty.end() == 0
        text = tty.text()
    for pattern, stands_for in _CHANGING:
        text = pattern.sub(stands_for, text)
    return text + "\n"


def test_a_whole_session(tmp_path: Path) -> None:
    shown = session(tmp_path)
    assert shown.split("\n") == TRANSCRIPT.read_text().split("\n")
    exported = (tmp_path / "chat.md").read_text()
    assert "What is the capital of Peru?" in exported


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINICHAT_HOME"] = folder + "/home"
        TRANSCRIPT.write_text(session(Path(folder)))
