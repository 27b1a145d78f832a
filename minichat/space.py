"""What `du` and `prune` have to say: JSON for scripts, tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import IO, Any

from minichat.housekeeping import Kept, Leftover, Usage
from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_ago, format_bytes

_KEEPS = "files without a name are kept while {} cannot be read: `minichat verify` tells which"


def show_du(usage: Usage, as_json: bool) -> None:
    """What each model and each leftover takes, and the sum."""
    if as_json:
        facts = asdict(usage) | {"root": str(usage.root), "leftovers_bytes": usage.leftovers_bytes}
        print_json(facts | {"leftovers": [_facts(leftover) for leftover in usage.leftovers]})
        return
    rows = [(model.name, format_bytes(model.size_bytes), _note(model)) for model in usage.models]
    if usage.n_states:
        what = f"what was read of {usage.n_states} session{'s' * (usage.n_states > 1)}, so that they go on at once"
        rows.append(("(sessions)", format_bytes(usage.states_bytes), what))
    if usage.n_pictures:
        what = f"{usage.n_pictures} picture{'s' * (usage.n_pictures > 1)} of sessions"
        rows.append(("(pictures)", format_bytes(usage.pictures_bytes), what))
    rows += [_row(leftover) for leftover in usage.leftovers]
    if rows:
        tables.print_table(("NAME", "SIZE", "WHAT"), rows, sys.stdout, right=(1,), wraps=(2,))
        say("")
    total = usage.models_bytes + usage.leftovers_bytes + usage.states_bytes + usage.pictures_bytes
    free = sum(leftover.size_bytes for leftover in usage.leftovers if not leftover.in_use)
    hint = f"; `minichat prune` frees {format_bytes(free)}" if any(not left.in_use for left in usage.leftovers) else ""
    where = f"{usage.root} and beside the sessions" if usage.n_states or usage.n_pictures else usage.root
    say(clean_line(f"{format_bytes(total)} in {where}{hint}"))
    _warn(usage.n_damaged)


def show_doomed(doomed: Sequence[Leftover], out: IO[str]) -> None:
    """What is to be removed, and a blank line."""
    tables.print_table(("NAME", "SIZE", "WHAT"), [_row(leftover) for leftover in doomed], out, right=(1,), wraps=(2,))
    say("", stream=out)


def show_pruned(
    pruned: Sequence[Leftover], dry_run: bool, n_damaged: int, as_json: bool, is_known: bool = False
) -> None:
    """What was removed, or would be, and what that frees. is_known: a person has just seen what."""
    if as_json:
        print_json([_facts(leftover) for leftover in pruned])
        return
    if pruned:
        if not is_known:
            show_doomed(pruned, sys.stdout)
        say(f"{format_sum(pruned)} {'would be freed; nothing was removed' if dry_run else 'freed'}")
    else:
        say("nothing is left over", stream=sys.stderr)
    _warn(n_damaged)


def format_sum(leftovers: Sequence[Leftover]) -> str:
    return format_bytes(sum(leftover.size_bytes for leftover in leftovers))


def _warn(n_damaged: int) -> None:
    if n_damaged:
        say(_KEEPS.format("a manifest" if n_damaged == 1 else f"{n_damaged} manifests"), stream=sys.stderr)


def _note(model: Kept) -> str:
    if model.problem is not None:
        return f"damaged: {model.problem}"
    if model.linked is not None:
        return f"used in place: {model.linked}"
    what = f"model, one file with {', '.join(model.shared_with)}" if model.shared_with else "model"
    return what + (f"; {format_bytes(model.projector_bytes)} of it to read pictures" if model.projector_bytes else "")


def _row(leftover: Leftover) -> tuple[str, str, str]:
    age = "in use" if leftover.in_use else format_ago(_time(leftover))
    return leftover.name, format_bytes(leftover.size_bytes), f"{leftover.kind}, {age}"


def _facts(leftover: Leftover) -> dict[str, Any]:
    facts = asdict(leftover) | {"path": str(leftover.path), "changed": _time(leftover).isoformat()}
    return {key: value for key, value in facts.items() if key != "changed_s"}


def _time(leftover: Leftover) -> datetime:
    try:
        return datetime.fromtimestamp(leftover.changed_s, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, timezone.utc)
