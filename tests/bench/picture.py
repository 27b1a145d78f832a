"""A picture of a terminal, for README: what `tmux capture-pane -e -p` prints goes in, an SVG comes out.

tmux capture-pane -e -p | python -m tests.bench.picture "minichat run demo" 80 > minichat/terminal/chat.svg
"""

import io
import re
import sys

from rich.console import Console
from rich.text import Text


def main() -> None:
    title, columns = sys.argv[1], int(sys.argv[2])
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(sys.stdin.read().rstrip("\n")))
    picture = console.export_svg(title=title)
    # The reader's own monospaced font does as well as one from somebody's server.
    print(re.sub(r"@font-face\s*\{.*?\}\s*", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main()
