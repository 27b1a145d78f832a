"""What is on the screen after an answer was streamed equals what rich makes of the whole answer."""

from __future__ import annotations

import doctest
import random
import re

import pytest
from fake_screen import Screen
from rich.console import Console
from rich.markdown import Markdown

from minichat.terminal import continuing, live
from minichat.terminal.blocks import Block, BlockSource
from minichat.terminal.live import LiveArea
from minichat.terminal.markdown import MarkdownStream

ANSWERS = {
    "paragraphs": "One *two* **three** `four`.\nSame paragraph.\n\nAnother one, rather long, so that it has to be "
    "broken somewhere between its words, even on a wide screen of eighty columns.\n\n\n\nLast",
    "headings": "# Title\ntext\n## Second\n\nSetext\n======\n\ntext\n---\n\n---\n***\nafter",
    "code": "Look:\n```python\ndef f(x):\n    '''doc\n\n    more'''\n    return x  # done\n```\n"
    "And:\n\n~~~\nplain\n~~~\n",
    "nested fences": "````markdown\n```python\nx = 1\n```\n````\n\n- item\n\n  ```\n  inside\n  ```\n"
    "- more\n\ntext\n```\nopen",
    "lists": "Items:\n- one\n- two\n  - deep\n\n    para\n- three\n\n1. a\n2. b\n\n   b again\n10. c\n\n"
    "text\n* x\n+ y\n",
    "long list": "\n".join(f"{i}. entry number {i} of a long list" for i in range(1, 60)) + "\n\nend",
    "table": "| a | b |\n|---|--:|\n| 1 | 2 |\n| three | `four` |\n\nafter\n| x |\n|---|\n| y |",
    "quote": "> one\n> two\nlazy\n\n> - list\n>   more\n\nend",
    "indented code": "text\n\n    code\n\n    more code\n\nend",
    "wide": "你好，世界。" * 30 + "\n\n- 日本語のテキスト" * 3 + "\n\nह हिन्दी ाे\n\n```\n" + "表" * 50 + "\n```\n",
    "long code": "```c\n" + "".join(f"int x{i} = {i}; /* {'y' * (i % 90)} */\n" for i in range(80)) + "```\n\nend",
    "one long line": "word " * 600,
    "tabs": "a\tb\n\n```\n\tx\ty\n```\n\n-\ttab",
    "blank": "\n\n \n",
    "empty": "",
    "markers": "- \n-\n\n*\n\n#\n\n##\n\n>\n\n```\n```\n\n1.\n\n***\n---",
    "odd blanks": "\u3000\n=\n\u3000\n*\n\n```\nx\n```\u3000\n```\nend",
    "empty quotes": ">\ne\n\n> \n\nf\n>\n\n>\n1) \\\n",
    "rules": "a\n\n---\n\nb\n***\n# c\n---\n---\n",
}
PIECES = [
    *(
        "word ",
        "long" * 12,
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "  ",
        "    ",
        "> ",
        "# ",
        "```",
        "```py\n",
        "~~~",
        "---",
        "\n\n\n",
    ),
    *("**", "*", "`", "| a | b |\n", "|---|---|\n", "| ", "[x](y) ", "<b>", "</kbd>", "&amp;", "\\", "日本", "é", "\t"),
    *("===\n", "<https://a.b>", "[r]: /url\n", "![i](j)", "    code\n", "~~s~~", "🙂", "e\u0301"),
]


def console(width: int, height: int, file: Screen | None = None) -> Console:
    return Console(
        file=file or Screen(width, 10_000),
        force_terminal=True,
        color_system="256",
        width=width,
        height=height,
        legacy_windows=False,
        _environ={"TERM": "xterm"},
    )


def whole(text: str, width: int) -> Screen:
    """rich's rendering of all of it, with the same parser, less the blanks that it pads rows with."""
    markdown = Markdown("", code_theme="ansi_dark", hyperlinks=False)
    source = BlockSource()
    source.add(text)
    markdown.parsed = [token for block in source.last() for token in block.tokens]
    screen = Screen(width, 10_000)
    rich = console(width, 10_000, screen)
    with rich.capture() as capture:
        rich.print(markdown)
    screen.write(re.sub(" +$", "", capture.get(), flags=re.MULTILINE))
    return screen


class Clock:
    """Goes on by itself: a redraw now and then is left out."""

    def __init__(self, seed: int) -> None:
        self.now_s, self.random = 0.0, random.Random(seed)

    def __call__(self) -> float:
        self.now_s += self.random.choice([0, 0, 0.001, 0.05])
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def stream(text: str, width: int, height: int, seed: int) -> Screen:
    screen = Screen(width, height)
    markdown = MarkdownStream(console(width, height, screen), Clock(seed))
    chance = random.Random(seed)
    at = 0
    while at < len(text):
        size = chance.choice([1, 1, 2, 3, 7, 30])
        markdown.feed(text[at : at + size])
        at += size
    markdown.close()
    assert screen.x == 0
    assert not screen.rows[screen.y]
    return screen


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("width", [40, 80])
def test_the_scrollback_equals_richs_rendering_of_the_whole(name: str, width: int) -> None:
    expected = whole(ANSWERS[name], width)
    for seed in range(6):
        shown = stream(ANSWERS[name], width, [24, 5, 50][seed % 3], seed)
        assert shown.text() == expected.text()
        assert shown.styled() == expected.styled()


@pytest.mark.parametrize("name", ANSWERS)
def test_plain_rich_shows_the_same(name: str) -> None:
    screen = Screen(80, 10_000)
    console(80, 10_000, screen).print(Markdown(ANSWERS[name], hyperlinks=False, code_theme="ansi_dark"))
    assert stream(ANSWERS[name], 80, 24, 1).styled() == screen.styled()


def test_random_answers() -> None:
    for seed in range(150):
        chance = random.Random(seed)
        text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(chance.choice([20, 60, 150]))))
        width, height = chance.choice([8, 20, 40, 80]), chance.choice([1, 2, 5, 12, 24])
        try:
            expected = whole(text, width)
        except Exception:  # rich fails on it: the stream must not, and is compared with nothing
            stream(text, width, height, seed)
            continue
        shown = stream(text, width, height, seed)
        assert shown.text() == expected.text(), repr(text)
        assert shown.styled() == expected.styled(), repr(text)


def test_only_the_unfinished_block_is_drawn_again_and_nothing_is_taller_than_the_screen() -> None:
    screen = Screen(40, 10)
    markdown = MarkdownStream(console(40, 10, screen), Clock(3))
    text = "Intro.\n\n" + "- " + "word " * 300
    seen: list[str] = []
    for char in text:
        markdown.feed(char)
        assert len(screen.rows) <= 10 + len(seen)  # live rows never push one another into the scrollback
    markdown.close()
    assert screen.text() == whole(text, 40).text()


def test_each_update_is_one_write_and_leaves_what_stays_untouched() -> None:
    screen = Screen(40, 24)
    clock = Clock(0)
    markdown = MarkdownStream(console(40, 24, screen), clock)
    clock.now_s += 1
    markdown.feed("one line that is long enough to fill a row " * 3)
    written: list[str] = []
    screen.write = lambda text: written.append(text) or len(text)  # type: ignore[method-assign,func-returns-value,assignment]
    clock.now_s += 1
    markdown.feed("more")
    assert len([text for text in written if text]) == 1
    assert "one line" not in "".join(written)


def test_what_came_last_is_due() -> None:
    clock = Clock(0)
    clock.random.choice = lambda _: 0.0  # type: ignore[method-assign,assignment]
    screen = Screen(40, 24)
    markdown = MarkdownStream(console(40, 24, screen), clock)
    markdown.feed("first ")
    assert markdown.due is None
    markdown.feed("second")
    assert screen.text() == ["first"]
    assert markdown.due is not None
    clock.now_s = markdown.due
    markdown.tick()
    assert screen.text() == ["first second"]


def test_resizing_in_the_middle() -> None:
    text = ANSWERS["paragraphs"] + "\n\n" + ANSWERS["wide"]
    for seed in range(20):
        screen = Screen(80, 24)
        shown = console(80, 24, screen)
        clock = Clock(seed)
        markdown = MarkdownStream(shown, clock, clock.sleep)
        chance = random.Random(seed)
        for at in range(0, len(text), 5):
            markdown.feed(text[at : at + 5])
            if chance.random() < 0.05:
                width = chance.choice([30, 40, 61, 80])
                screen.resize(width, 24)
                shown.size = (width, 24)  # type: ignore[assignment]
        markdown.close()
        said = "".join(screen.text()).replace(" ", "").replace("•", "")
        expected = "".join(whole(text, 80).text()).replace(" ", "").replace("•", "")
        assert said == expected, seed


def test_rows_that_a_narrower_screen_broke_are_not_left_behind() -> None:
    screen = Screen(80, 24)
    shown = console(80, 24, screen)
    clock = Clock(0)
    markdown = MarkdownStream(shown, clock, clock.sleep)
    for chunk, width in (("word " * 50, 40), ("more " * 30, 25), ("end", 60)):
        clock.now_s += 10
        markdown.feed(chunk)
        assert chunk not in " ".join(screen.text()) or width == 40  # the size may change again
        clock.now_s += 10
        markdown.tick()
        screen.resize(width, 24)
        shown.size = (width, 24)  # type: ignore[assignment]
    markdown.close()
    assert screen.text() == whole("word " * 50 + "more " * 30 + "end", 60).text()


def test_a_terminal_that_cuts_rows_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """xterm: as it gets narrower, no row becomes two, and the row above the live ones is still there."""
    monkeypatch.setenv("XTERM_VERSION", "XTerm(379)")
    monkeypatch.delenv("TMUX", raising=False)
    screen = Screen(60, 10)
    shown = console(60, 10, screen)
    area = LiveArea(shown)
    area.update(["for good"], ["a" * 60, "b"], 60)
    screen.width, shown.size = 20, (20, 10)  # type: ignore[assignment]
    screen.rows = [row[:20] for row in screen.rows]
    area.update(["a" * 20] * 3, ["b"], 20)
    assert screen.text() == ["for good", "a" * 20, "a" * 20, "a" * 20, "b"]


@pytest.mark.parametrize("char", ["a\u200da", "👨\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f"])
def test_what_the_terminal_thinks_wider_is_whole_in_the_end(char: str) -> None:
    """The screen here gives every character its own cells, rich knows which ones are drawn as one."""
    for length in range(14, 21):
        for text in (char + "x" * length, "x" * length + char, f"{char * 4} word {char * 4} word", f"| {char} |\n|-|"):
            said = "".join(stream(text, 20, 5, length).text())
            assert (said.count(char), said.count("x")) == (text.count(char), text.count("x")), text


def test_the_examples_in_the_docstrings() -> None:
    assert [doctest.testmod(module) for module in (live, continuing)] == [(0, 2), (0, 3)]


def test_rows_that_are_no_longer_needed_are_erased() -> None:
    screen = Screen(80, 24)
    area = LiveArea(console(80, 24, screen))
    assert area.update(["for good"], ["a" * 80, "b", "c"], 80)
    assert area.update([], ["a" * 80], 80)
    assert screen.text() == ["for good", "a" * 80]
    assert area.update([], [], 80)
    assert screen.text() == ["for good"]
    assert area.update(["more"], [], 80)
    assert screen.text() == ["for good", "more"]


def test_rows_that_were_made_for_another_width_are_not_drawn() -> None:
    screen = Screen(80, 24)
    area = LiveArea(console(80, 24, screen))
    assert not area.update(["made for a wider screen " * 4], [], 100)
    assert screen.text() == []


def test_a_screen_that_is_resized_while_an_answer_is_rendered() -> None:
    """The rows are made once more, for the width that the screen has by then."""
    screen = Screen(80, 24)
    shown = console(80, 24, screen)
    markdown = MarkdownStream(shown)
    rows = markdown._renderer.rows

    def slow(blocks: list[Block]) -> list[str]:
        made = rows(blocks)
        if screen.width == 80:
            screen.resize(40, 24)
            shown.size = (40, 24)  # type: ignore[assignment]
        return made

    markdown._renderer.rows = slow  # type: ignore[method-assign]
    markdown.feed("word " * 30)
    markdown.close()
    assert screen.text() == whole("word " * 30, 40).text()


def test_a_dumb_terminal_gets_no_sequences() -> None:
    screen = Screen(40, 24)
    dumb = Console(file=screen, force_terminal=True, width=40, height=24, _environ={"TERM": "dumb"})
    written: list[str] = []
    screen.write = lambda text: written.append(text) or len(text)  # type: ignore[method-assign,func-returns-value,assignment]
    markdown = MarkdownStream(dumb)
    for char in "One **two**.\n\n- three":
        markdown.feed(char)
    markdown.close()
    assert "".join(written) == "One two.\n\n • three\n"


def test_what_rich_cannot_show_is_shown_as_it_is() -> None:
    deep = "> " * 30 + "bottom"
    assert "bottom" in "".join(stream(deep, 40, 10, 1).text())
    assert stream("press</kbd> a key, vector<int>", 80, 10, 1).text() == ["press</kbd> a key, vector<int>"]
    assert stream("<div>\nnot lost\n</div>", 80, 10, 1).text() == ["<div> not lost </div>"]
    assert stream("see [1]\n\n[1]: https://a.b", 80, 10, 1).text() == ["see [1]", "", "[1]: https://a.b"]


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "&#27;[2J&#x9b;", "&#x202e;", "[a](\x07)", "`\x1b]0;x\x07`", "```\x1b\n\x9b\n```"]
)
def test_no_byte_that_a_terminal_obeys_comes_through(text: str) -> None:
    for seed in range(4):
        stream(text, 40, 10, seed)  # the screen fails on anything that minichat does not send itself


def test_long_blocks_are_not_parsed_for_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = 0
    original = BlockSource._parse

    def counted(self: BlockSource, source: str, lines: list[str]) -> object:
        nonlocal parsed
        parsed += len(source)
        return original(self, source, lines)

    monkeypatch.setattr(BlockSource, "_parse", counted)
    for text in ("```\n" + "code\n" * 20_000 + "```\n", "- item\n" * 6_000, "word\n" * 6_000):
        parsed, source = 0, BlockSource()
        for at in range(0, len(text), 50):
            source.add(text[at : at + 50])
            source.finished()
        source.last()
        assert parsed < 200_000 + 6 * len(text)  # each block's first 4,000 characters may be parsed line by line
