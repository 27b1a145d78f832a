"""The source of an answer, cut into finished Markdown blocks and an unfinished rest.

A block at the top level is finished when nothing that follows can change it: when another one begins after it, and
for most kinds earlier (a heading with its line, a fence when it closes, a paragraph with the blank line after it).
Only whole lines are judged. Two constructs that look ahead, or lose text, are switched off in the parser: reference
definitions (a link at the top of an answer would wait for its last line) and raw HTML (`vector<int>` would lose its
`<int>`). Pictures are shown as links.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from minichat.terminal.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

_MARKER_ONLY = re.compile(r"[ \t\n]*(?:[-=*+#>~`_|:]+|\d+[.)]?)?[ \t\n]*\Z")
_BLANKS = " \t\n"  # for Markdown; other ones, like U+3000, are text
_LARGE = 4000  # characters of one unfinished block from which on it is not parsed anew for every line
_GROWTH = 1.25


class Block(NamedTuple):
    """One block at the top level: its tokens, and the source that they come from."""

    tokens: list[Token]
    source: str


class BlockSource:
    """Takes the text as it comes; gives each block once, when it is finished."""

    def __init__(self) -> None:
        from markdown_it import MarkdownIt

        self._parser = MarkdownIt().enable(["strikethrough", "table"])
        self._parser.disable(["html_block", "html_inline", "reference", "image"])
        self._rest = ""  # begins where a block begins
        self._closing: re.Pattern[str] | None = None  # set while the rest is one open fence: the line that closes it
        self._searched = 0  # how far into the rest for that line
        self._parse_from = 1  # length of the rest's whole lines from which on it is worth parsing again

    def add(self, text: str) -> None:
        self._rest += text

    def finished(self) -> list[Block]:
        """The blocks that have been finished since the last call."""
        whole = self._rest.rfind("\n") + 1
        if whole < self._parse_from or self._in_fence(whole):
            return []
        source = self._rest[:whole]
        lines = _lines(source)
        blocks = list(self._parse(source, lines))
        if blocks and not self._is_finished(blocks[-1], lines):
            last = blocks.pop()
            self._watch_fence(last)
            end = _first_line(last)
        else:
            end = len(lines)
        self._rest = "".join(lines[end:]) + self._rest[whole:]
        left = whole - sum(map(len, lines[:end]))
        self._parse_from = left + 1 if left < _LARGE else int(left * _GROWTH)
        return blocks

    def last(self) -> list[Block]:
        """The blocks of all that is left: the answer has ended."""
        source, self._rest = self._rest, ""
        return list(self._parse(source, _lines(source)))

    def unfinished(self, rows: int, columns: int) -> tuple[list[Block], bool]:
        """The rest as it would be shown now, or the end of it that fills `rows` of a screen; whether it is all."""
        source, is_whole = self._end(rows, columns)
        return list(self._parse(source, _lines(source))), is_whole

    def _end(self, rows: int, columns: int) -> tuple[str, bool]:
        """A bounded end of the rest that still is what it was: the end of a fence has its fence, a table its head.

        And whether it is the whole rest.
        """
        whole = self._rest.rfind("\n") + 1
        text = self._rest
        if self._closing is None and _MARKER_ONLY.match(text, whole):
            text = text[:whole]  # `-` may become a list, a rule, a heading: wait for the next character
        start, newline = max(0, len(text) - rows * columns), len(text)
        for _ in range(3 * rows):  # lines of one paragraph may share a row
            newline = text.rfind("\n", start, newline)
            if newline < 0:
                break
        start = max(start, newline)
        if start == 0:
            return text, True
        cut = text.find("\n", start) + 1 or start
        lines = text.split("\n", 2)
        if self._closing is not None:
            head = lines[:1]
        elif len(lines) > 2 and "|" in lines[0] and not lines[1].strip("|:- \t"):
            head = lines[:2]
        else:
            head = []
        return "".join(line + "\n" for line in head) + text[cut:], False

    def _in_fence(self, whole: int) -> bool:
        """Whether the rest is a fence still open: long code is then not parsed before it ends."""
        if self._closing is None:
            return False
        if self._closing.search(self._rest, self._searched, whole) is None:
            self._searched = whole
            return True
        self._closing = None
        return False

    def _watch_fence(self, block: Block) -> None:
        token = block.tokens[0]
        if token.type == "fence":
            self._searched = block.source.find("\n") + 1
            self._closing = re.compile(rf"^ {{0,3}}{token.markup}{re.escape(token.markup[0])}*[ \t]*$", re.MULTILINE)

    @staticmethod
    def _is_finished(block: Block, lines: list[str]) -> bool:
        token = block.tokens[0]
        match token.type:
            case "heading_open" | "hr":
                return True
            case "fence":
                _, *code = block.source.rstrip("\n").split("\n")
                end = code[-1].strip(_BLANKS) if code else ""
                indented = bool(code) and len(code[-1]) - len(code[-1].lstrip(" ")) > 3
                return not indented and end.startswith(token.markup) and not end.strip(token.markup[0])
            case "paragraph_open" | "blockquote_open" | "table_open":
                return not lines[-1].strip(_BLANKS)
            case _:
                return False  # a list, or indented code: may go on after a blank line

    def _parse(self, source: str, lines: list[str]) -> Iterator[Block]:
        """The blocks at the top level of `source`, which `lines` adds up to."""
        tokens: list[Token] = []
        for token in self._parser.parse(source):
            tokens.append(_disarmed(token))
            if token.level == 0 and token.nesting <= 0:
                first, end = tokens[0].map or [0, len(lines)]
                yield Block(tokens, "".join(lines[first:end]))
                tokens = []


def _lines(source: str) -> list[str]:
    """Split at newlines alone, as the parser counts lines; the newlines kept."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", source)


def _first_line(block: Block) -> int:
    return block.tokens[0].map[0] if block.tokens[0].map else 0


def _disarmed(token: Token) -> Token:
    """Entities (`&#x202e;`) become characters while parsing, after the text was cleaned: clean it once more."""
    token.content = clean(token.content)
    for name, value in token.attrs.items():
        if isinstance(value, str):
            token.attrs[name] = clean(value)
    if token.children:
        # <https://…> is its own address: as a link it would be shown twice.
        auto = [child.type.startswith("link_") and child.markup == "autolink" for child in token.children]
        token.children = [_disarmed(child) for child, drop in zip(token.children, auto, strict=True) if not drop]
    return token
