"""What there is to say of sessions: JSON for scripts, tables and a few lines for people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from minichat.terminal import tables
from minichat.terminal.output import columns, is_moving, print_json, say
from minichat.terminal.units import format_ago

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from minichat.saved import Saved
    from minichat.session_search import Found
    from minichat.session_summary import Summary

_COLUMNS = ("NAME", "USED", "TURNS", "MODEL", "FIRST QUESTION")
_MIN_TITLE, _MAX_TITLE = 16, 60  # characters
_GAP = 2  # cells between columns
_ROLES = {"user": "you", "assistant": "model", "tool": "tool", "system": "system"}


def show_sessions(
    sessions: Sequence[Summary], as_json: bool = False, *, current: str | None = None, most: int | None = None
) -> None:
    """A list of sessions. current: the one that is open here. most: so many of them are shown, the first ones."""
    if as_json:
        print_json([asdict(one) | {"used": one.used.isoformat(timespec="seconds")} for one in sessions])
        return
    if not sessions:
        say("no sessions yet: every chat becomes one (but for `minichat run MODEL --private`)", stream=sys.stderr)
        return
    shown = sessions if most is None else sessions[:most]
    facts = [
        (
            f"{one.name} *" if one.name == current else one.name,
            format_ago(one.used),
            str(one.turns) if one.problem is None else "?",
            Path(one.model).name if Path(one.model).is_absolute() else one.model,
        )
        for one in shown
    ]
    room = _title_room(facts)
    titles = [_short(one.title, room) if one.problem is None else "(cannot be read)" for one in shown]
    rows = [(*fact, title) for fact, title in zip(facts, titles, strict=True)]
    tables.print_table(_COLUMNS, rows, right=[2], wraps=[4], drop=[3, 2])
    if len(shown) < len(sessions):
        say(f"(and {len(sessions) - len(shown):,} older ones: `minichat sessions` lists them all)", "dim")


def show_found(found: Iterable[Found], text: str, as_json: bool = False, *, most: int | None = None) -> None:
    """Where a text was found. most: so many places are shown."""
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows: list[tuple[str, str, str, str]] = []
    more = False
    for one in found:
        if most is not None and len(rows) == most:
            more = True
            break
        rows.append((one.name, str(one.turn), _ROLES.get(one.role, one.role), one.excerpt))
    if not rows:
        say(f"nothing found of {text}", stream=sys.stderr)
        return
    tables.print_table(("SESSION", "TURN", "WHO", "TEXT"), rows, right=[1], wraps=[3], drop=[2])
    if more:
        say("(and more: look for more words)", "dim")


def describe_opened(saved: Saved, model: str) -> Iterator[str]:
    """What is to be known of a session that was opened, a line each. model: the one that it goes on with.

    >>> from minichat.saved import Saved
    >>> list(describe_opened(Saved("work-2", "demo", None, None, None, "Hi", forked_from="work"), "demo"))
    ['(work is open elsewhere, or cannot be written: this is a copy, work-2)', '(session work-2, 0 turns)']
    """
    yield from describe_faults(saved)
    turns = sum(message.role == "user" for message in saved.messages)
    yield f"(session {saved.name}, {turns} turn{'s' * (turns != 1)})"
    if saved.model and saved.model != model:
        yield f"(it was held with {saved.model}: /model {saved.model} goes on with that)"
    if saved.messages and saved.messages[-1].cut:
        yield "(the last answer was cut off: /continue goes on with it, /retry asks again)"
    elif saved.messages and saved.messages[-1].role == "user":
        yield "(the last question has no answer yet: /retry asks it again)"


def describe_faults(saved: Saved) -> Iterator[str]:
    """Why a session that was opened is not the one that was asked for, or not all of it, a line each."""
    if saved.forked_from is not None:
        yield f"({saved.forked_from} is open elsewhere, or cannot be written: this is a copy, {saved.name})"
    if saved.damaged_line is not None:
        yield f"(its file is damaged at line {saved.damaged_line}: the conversation is here as it was before that)"


def _title_room(facts: Sequence[Sequence[str]]) -> int:
    """Characters of a title that leave it on one line, behind the columns that a terminal has room for."""
    if not is_moving(sys.stdout):
        return _MAX_TITLE
    widths = [max(map(len, column)) + _GAP for column in zip(_COLUMNS[:4], *facts, strict=True)]
    while len(widths) > 2 and sum(widths) + _MIN_TITLE + _GAP > columns(sys.stdout):
        widths.pop()
    return max(min(columns(sys.stdout) - sum(widths) - _GAP, _MAX_TITLE), _MIN_TITLE)


def _short(text: str, most: int) -> str:
    """
    >>> _short("What is this?", 8), _short("What?", 8)
    ('What is…', 'What?')
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
