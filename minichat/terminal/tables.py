"""Rows and fields: aligned text in a pipe, with colours and broken to the width on a terminal.

They take plain strings, so that they know nothing of what they show.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import IO, Literal

from minichat.terminal.output import columns as terminal_columns
from minichat.terminal.output import is_moving, write
from minichat.terminal.sanitize import clean_line

_GAP = 2
_LEAST_WRAPPED = 16  # cells of a column of sentences


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    stream: IO[str] | None = None,
    *,
    right: Collection[int] = (),
    wraps: Collection[int] = (),
    drop: Sequence[int] = (),
) -> None:
    """`columns` are the titles. The others are numbers of columns, from 0: `right` are aligned to the right; `wraps`
    hold sentences, which may be broken; `drop` are left out, in this order, where a terminal is too narrow for all.
    """
    stream = stream or sys.stdout
    cells = [[clean_line(cell) for cell in row] for row in rows]
    if not is_moving(stream):
        write(stream, _aligned([list(columns), *cells], right))
        return
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    room = terminal_columns(stream)
    kept = _fitting(widths, room, wraps, drop)
    fits = _needed([widths[number] for number in kept], [number in wraps for number in kept]) <= room
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number in kept:
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(Text(columns[number]), justify=justify, overflow="fold", no_wrap=fits and number not in wraps)
    for row in cells:
        table.add_row(*(Text(row[number]) for number in kept))
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


def _fitting(widths: Sequence[int], room: int, wraps: Collection[int], drop: Sequence[int]) -> list[int]:
    """The columns that are shown.

    >>> _fitting([20, 10, 10, 60], 60, wraps=[3], drop=[1, 2]), _fitting([20, 10], 10, (), ())
    ([0, 2, 3], [0, 1])
    """
    kept = list(range(len(widths)))
    for number in drop:
        if _needed([widths[n] for n in kept], [n in wraps for n in kept]) > room:
            kept.remove(number)
    return kept


def _needed(widths: Sequence[int], are_wrapped: Sequence[bool]) -> int:
    cells = (min(width, _LEAST_WRAPPED) if wraps else width for width, wraps in zip(widths, are_wrapped, strict=True))
    return sum(cells) + _GAP * len(widths)


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
