"""An answer streamed to a terminal as Markdown.

Each finished block is rendered once, for good; only the unfinished one at the bottom is redrawn, never taller than
the screen. At the end the scrollback holds what rich renders of the whole answer (links with their address beside
them, code in the terminal's own colours), less the blanks that rich pads rows with. A redraw costs no more than a
screenful, and the next one waits until drawing has taken no more than about 2.5% of the time: the cost is linear in the
length of the answer. A terminal that cannot move its cursor gets each block when it is finished.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from markdown_it.token import Token
from rich.markdown import Markdown
from rich.text import Text

from minichat.terminal.blocks import Block, BlockSource
from minichat.terminal.live import LiveArea
from minichat.terminal.output import write
from minichat.terminal.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

_INTERVAL_S = 0.04
_SHARE = 0.025
_SETTLE_S = 0.35  # tmux tells of the next size up to 0.25 s late, and others too, while a window is being dragged
_MOST_WAITS = 30
_CODE_THEME = "ansi_dark"  # 16 colours of the user's own, and no background that is copied along as blanks
_MAX_NESTING = 12  # deeper, the parser drops text and the columns run out
_PADDING = re.compile(" +$")


class MarkdownStream:
    """Feed it the pieces of an answer; close it at the end, also of an answer that was stopped.

    `due` is the time, by `clock`, from which on `tick` has something to draw; None if all is shown. While the screen is
    being resized nothing is drawn: the size that the program is told may not be the one that the terminal has already.
    """

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._console = console
        self._clock = clock
        self._sleep = sleep
        self._size = console.size
        self._moves = not console.is_dumb_terminal
        self._source = BlockSource()
        self._renderer = BlockRenderer(console)
        self._area = LiveArea(console)
        self._next_s = self._settled_s = clock()
        self._stale = False

    @property
    def due(self) -> float | None:
        return self._next_s if self._stale else None

    def feed(self, text: str) -> None:
        self._source.add(clean(text))
        self._stale = True
        self.tick()

    def tick(self) -> None:
        """Draws what has come since the last time, if it is time to."""
        start = self._clock()
        if not self._stale or start < self._next_s:
            return
        self._look(start)
        if start < self._settled_s:
            self._next_s = min(self._settled_s, start + _INTERVAL_S)
            return
        self._draw()
        self._stale = False
        end = self._clock()
        self._next_s = end + max(_INTERVAL_S, (end - start) / _SHARE)

    def close(self) -> None:
        """Shows the rest; the cursor is then at the start of a line."""
        if self._moves:
            self._wait_settled()
        self._show(self._source.finished() + self._source.last(), [], True)
        self._stale = False

    def _look(self, now_s: float) -> None:
        """Sees whether the screen has been resized, and when it will be safe to draw again."""
        if self._console.size != self._size:
            self._size = self._console.size
            self._settled_s = now_s + _SETTLE_S

    def _wait_settled(self) -> None:
        for _ in range(_MOST_WAITS):
            now_s = self._clock()
            self._look(now_s)
            if now_s >= self._settled_s:
                return
            self._sleep(_SETTLE_S / 7)

    def _draw(self) -> None:
        final = self._source.finished()
        size = self._console.size
        live, is_whole = self._source.unfinished(size.height, size.width) if self._moves else ([], True)
        self._show(final, live, is_whole)

    def _show(self, final: list[Block], live: list[Block], is_whole: bool) -> None:
        """is_whole: `live` is all that is unfinished."""
        above, is_shown = self._renderer.last, False
        while not is_shown:  # rendering takes a while: the screen may have been resized meanwhile
            width = self._console.size.width
            self._renderer.last = above
            final_rows = self._renderer.rows(final)
            if final:
                self._renderer.last = final[-1]
            if self._moves:
                is_shown = self._area.update(final_rows, self._renderer.rows(live), width, is_whole)
                if not is_shown:
                    self._wait_settled()
            else:
                if final:
                    write(self._console.file, "".join(row + "\n" for row in final_rows))
                is_shown = True


class BlockRenderer:
    """Blocks as rows: strings with colours, no blanks at their ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._markdown = Markdown("", code_theme=_CODE_THEME, hyperlinks=False)
        self.last: Block | None = None  # the block above those to be rendered

    def rows(self, blocks: list[Block]) -> list[str]:
        """The rows of `blocks`, as they come after `last`: most blocks have a blank line between them."""
        if not blocks:
            return []
        # rich is shown a stand-in for the block above, and its rows are taken away again.
        above, above_rows = _stand_in(self.last)
        if any(token.level > _MAX_NESTING for block in blocks for token in block.tokens):
            return self._plain(blocks)
        self._markdown.parsed = above + [token for block in blocks for token in block.tokens]
        try:
            return self._printed(self._markdown)[above_rows:]
        except Exception:  # rich fails on some odd Markdown: then the text itself, rather than no answer
            return self._plain(blocks)

    def _plain(self, blocks: list[Block]) -> list[str]:
        text = "\n".join(block.source.rstrip("\n") for block in blocks)
        return ([""] if _stand_in(self.last)[1] else []) + self._printed(Text(text))

    def _printed(self, renderable: RenderableType) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(renderable)
        shown = capture.get()
        return [_PADDING.sub("", row) for row in shown.removesuffix("\n").split("\n")] if shown else []


def _stand_in(block: Block | None) -> tuple[list[Token], int]:
    """Tokens of a block for the blank line after it, and how many rows they take; a rule brings its own blank."""
    if block is None or block.tokens[0].type == "hr":
        return [], 0
    return [Token("paragraph_open", "p", 1), Token("text", "", 0, content="x"), Token("paragraph_close", "p", -1)], 1
