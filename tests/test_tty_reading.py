"""Answers on a screen that changes its size: every word is there once, and in its place."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import pytest
import tape
from pseudo_terminal import PROMPT, Tty
from rich.console import Console
from rich.markdown import Markdown

ANSWER = "\n".join(
    [
        "# A heading", "",
        *(" ".join(f"word{n}" for n in range(begin, begin + 60)) + "\n" for begin in range(0, 240, 60)),
        "- the first point",
        "- the second point, which is longer than the others so that it has to be broken on a narrow screen",
        "  1. a nested one", "  2. another", "",
        "| number | square | with words |", "| --- | --- | --- |",
        *(f"| n{n} | s{n * n} | row {n} of it |" for n in range(12)), "",
        "```python", "def answer(question):", "    return len(question)", "```", "",
        "> a quotation that goes on, and on, and further on, until it fills more than a row of eighty cells", "",
        *(" ".join(f"tail{n}" for n in range(begin, begin + 60)) + "\n" for begin in range(0, 240, 60)), "The end.",
    ]
)  # fmt: skip
WIDTHS = (40, 60, 80, 100)  # a paragraph above has at most 5 rows, which become at most 15 when broken anew


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape.write(tmp_path_factory.mktemp("tape") / "quick", ANSWER)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes half a second to say it, at the least."""
    return tape.write(tmp_path_factory.mktemp("tape") / "slow", ANSWER, hidden=512, layers=4)


def rendered(columns: int) -> list[str]:
    """What rich makes of the whole answer."""
    console = Console(width=columns, file=io.StringIO(), color_system=None)
    console.print(Markdown(ANSWER))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().rstrip("\n").split("\n")]


def words(rows: list[str]) -> list[str]:
    """Without the lines of tables and quotations, whose number depends on the width."""
    return [word for row in rows for word in row.split() if word.strip("─▌")]


def answers(tty: Tty) -> list[list[str]]:
    """The rows between the prompts, as the terminal has them now."""
    found: list[list[str]] = []
    for row in tty.lines():
        if (row + " ").startswith(PROMPT):
            found.append([])
        elif found:
            found[-1].append(row)
    return found[:-1]  # after the last prompt there is none


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_scrollback_is_what_rich_renders(quick: Path, columns: int) -> None:
    with Tty("run", quick, columns=columns) as tty:
        tty.prompt()
        tty.ask("Say it")
        assert "\n".join(answers(tty)[0]).rstrip() == "\n".join(rendered(columns))


def test_resized_in_mid_answer(slow: Path) -> None:
    rng = random.Random(1)
    resized = 0
    with Tty("run", slow) as tty:
        tty.prompt()
        for _ in range(3):
            tty.send("Say it")
            while True:
                tty.rest(rng.uniform(0.06, 0.15))
                if tty.at_prompt():
                    break
                tty.resize(rng.choice(WIDTHS), 24)
                resized += 1
            tty.rest(0.2)
        tty.resize(80, 24)
        tty.rest(0.2)
        shown = answers(tty)
        assert resized >= 3
        assert len(shown) == 3, tty.text()
        for rows in shown:
            assert words(rows) == words(rendered(80))


def test_a_tiny_screen(quick: Path) -> None:
    with Tty("run", quick, columns=40, lines=4) as tty:
        tty.prompt()
        tty.ask("Say it")
        assert words(answers(tty)[0]) == words(rendered(40))


@pytest.mark.parametrize(
    ("variables", "moves", "coloured"),
    [({}, True, True), ({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, False)],
)
def test_what_the_terminal_can_do(quick: Path, variables: dict[str, str], moves: bool, coloured: bool) -> None:
    with Tty("run", quick, "Say it", env=variables) as tty:
        assert tty.end() == 0
        assert words(tty.lines()) == words(rendered(80))
        sent = tty.sent.decode()
    numbers = [int(number or 0) for codes in re.findall("\x1b\\[([0-9;]*)m", sent) for number in codes.split(";")]
    assert any(30 <= number <= 49 or 90 <= number <= 107 for number in numbers) == coloured
    assert ("\x1b" in sent) == moves
