"""An answer on a screen that is resized between two drawings, or right behind one: every word is there once."""

from __future__ import annotations

import io
import random

import pytest
from pseudo_terminal import Screen
from pyte import Stream
from rich.console import Console
from test_terminal_markdown import Clock, console

from minichat.terminal.markdown import MarkdownStream

NUMBERS = iter(range(10**9))


class Terminal(io.TextIOBase):
    """Breaks rows anew and joins them, and takes rows back from the scrollback."""

    encoding = "utf-8"

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = Screen(columns, lines, lambda _: None)
        self._stream = Stream(self.screen)
        self.console: Console = console(columns, lines, self)
        self.after_write = lambda: None

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        if text:
            self.after_write()
        return len(text)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self.console.size = (columns, lines)  # type: ignore[assignment]

    def words(self) -> list[str]:
        """Rows that the terminal broke are whole again."""
        said, line = [], ""
        for row, goes_on in self.screen.rows():
            line += "".join(cell.data for cell in row)
            if not goes_on:
                said += [word for word in line.split() if word.strip("─▌•")]
                line = ""
        return said


def words(random_: random.Random, least: int, most: int) -> str:
    return " ".join(f"w{next(NUMBERS)}{'x' * random_.randrange(6)}" for _ in range(random_.randrange(least, most)))


def answer(chance: random.Random) -> tuple[str, list[str]]:
    """Random blocks, each of which fits on a screen of 40 x 24, and their words."""
    blocks: list[str] = []
    for _ in range(chance.randrange(3, 7)):
        match chance.randrange(5):
            case 0 | 1:
                blocks.append(words(chance, 1, 70))
            case 2:
                blocks.append("\n".join(f"- {words(chance, 1, 12)}" for _ in range(chance.randrange(1, 5))))
            case 3:
                blocks.append("\n".join(["```", *(words(chance, 1, 5) for _ in range(chance.randrange(1, 12))), "```"]))
            case 4:
                blocks.append("> " + words(chance, 1, 30))
    said = " ".join(blocks).split()
    return "\n\n".join(blocks), [word for word in said if word not in ("-", "```", ">")]


def show(text: str, terminal: Terminal, chance: random.Random, sizes: list[tuple[int, int]], rate: float) -> list[str]:
    """Streams `text`, resizing between the pieces and right behind drawings."""

    def maybe_resize() -> None:
        while chance.random() < rate:
            terminal.resize(*chance.choice(sizes))

    terminal.after_write = maybe_resize
    clock = Clock(1)
    markdown = MarkdownStream(terminal.console, clock, clock.sleep)
    for at in range(0, len(text), 7):
        clock.sleep(0.1)
        markdown.feed(text[at : at + 7])
        maybe_resize()
    terminal.after_write = lambda: None
    markdown.close()
    terminal.resize(100, 50)
    return terminal.words()


@pytest.mark.parametrize("begin", [0, 30])
def test_every_word_once_on_a_screen_that_changes_its_width(begin: int) -> None:
    for seed in range(60):
        chance = random.Random(seed)
        text, said = answer(chance)
        terminal = Terminal(80, 24)
        terminal.write("\n" * begin)
        assert show(text, terminal, chance, [(40, 24), (60, 24), (80, 24), (101, 24)], 0.1) == said, seed


def test_every_word_once_though_rows_are_pushed_out_at_the_top() -> None:
    """The block is whole on the screen until that gets lower, or narrower by far."""
    for seed in range(100):
        chance = random.Random(seed)
        said = words(chance, 60, 110)
        terminal = Terminal(80, 24)
        terminal.write("before\n" * 30)
        found = show(said, terminal, chance, [(80, 24), (100, 14), (50, 28), (40, 35), (70, 20)], 0.05)
        assert [word for word in found if word != "before"] == said.split(), seed
