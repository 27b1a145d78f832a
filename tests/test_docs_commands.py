"""docs/commands.md tells of every command of the chat, and of none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from minichat.terminal.commands import COMMANDS

PAGE = (Path(__file__).parent.parent / "docs" / "commands.md").read_text()


def test_the_commands_of_the_chat_are_all_there() -> None:
    table = PAGE.split("## Commands in the chat")[1].split("##")[0]
    rows = [row.split("|")[2] for row in table.split("\n") if row.startswith("| ")]
    told = set(re.findall(r"/([a-z]+)\b", " ".join(rows)))
    assert told == {command.name for command in COMMANDS}


def test_options_that_are_told_of_exist() -> None:
    from typer.main import get_command
    from typer.testing import CliRunner

    from minichat.commands.program import application

    app = application()
    assert get_command(app)
    shown = "".join(CliRunner().invoke(app, [name, "--help"], terminal_width=200).output for name in ("run", "map"))
    table = PAGE.split("## In a pipe")[1].split("##")[0]
    rows = [row.split("|")[2] for row in table.split("\n") if row.startswith("| ")]
    for option in re.findall(r"--[a-z][a-z-]+", " ".join(rows)):
        assert option in shown, option
