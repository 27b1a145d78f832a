"""Rows and fields: aligned text in a pipe, with colours and broken to the width on a terminal.

They take plain strings, so that they know nothing of what they show.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import IO

from minichat.terminal.output import is_moving, write
from minichat.terminal.sanitize import clean_line

_GAP = 2


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    stream: IO[str] | None = None,
    *,
    right: Collection[int] = (),
) -> None:
    """`columns` are the titles; `right` are the numbers, from 0, of the columns that are aligned to the right."""
    stream = stream or sys.stdout
    cells = [[clean_line(cell) for cell in row] for row in rows]
    if not is_moving(stream):
        write(stream, _aligned([list(columns), *cells], right))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number, title in enumerate(columns):
        table.add_column(Text(title), justify="right" if number in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    _print_rich(table, stream)


def print_fields(pairs: Sequence[tuple[str, str]], stream: IO[str] | None = None) -> None:
    """Names and values, one pair on a line."""
    stream = stream or sys.stdout
    cells = [[clean_line(name), clean_line(value)] for name, value in pairs]
    if not is_moving(stream):
        write(stream, _aligned(cells))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    _print_rich(table, stream)


def _print_rich(renderable: object, stream: IO[str]) -> None:
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    lines = capture.get().rstrip("\n").split("\n")
    write(stream, "".join(line.rstrip(" ") + "\n" for line in lines))


def _aligned(rows: list[list[str]], right: Collection[int] = ()) -> str:
    """
    >>> _aligned([["name", "size"], ["demo", "5 MB"], ["日本", "14 GB"]], right=[1])
    'name   size\\ndemo   5 MB\\n日本  14 GB\\n'
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if number in right else cell + blanks)
        lines.append((" " * _GAP).join(cells).rstrip() + "\n")
    return "".join(lines)
