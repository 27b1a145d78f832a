"""What `minichat bench` says: a table for people, JSON for scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.units import format_bytes, format_parameters

if TYPE_CHECKING:
    from minichat.benchmark import Result, Series


def show(name: str, result: Result, as_json: bool, interrupted: bool) -> None:
    """What there is; nothing on a terminal, if that is nothing."""
    if as_json:
        print_json(facts(name, result, interrupted))
        return
    info = result.info
    if info is None:
        return
    where = f"{info.gpu_layers} layers on the GPU" if info.gpu_layers else "on the CPU"
    threads = f"{info.threads} thread{'s' * (info.threads != 1)}"
    size = f"{format_parameters(info.parameters)} parameters, {format_bytes(info.size_bytes)}"
    tables.print_fields(
        [
            ("model", f"{name}, {size}"),
            ("computed", f"{where}, {threads}"),
            ("load", f"{_shown(result.load, 2)} s"),
            *([("memory", _memory(result))] if result.memory_bytes else []),
        ]
    )
    say("")
    titles = (
        *("DEPTH", f"PREFILL {result.plan.prompt:,} TOKENS/S", "FIRST TOKEN S"),
        f"DECODE {result.plan.answer:,} TOKENS/S",
    )
    rows = [
        (f"{row.depth:,}", _shown(row.prefill, 0), _shown(row.first_token, 3), _shown(row.decode, 1))
        for row in result.complete_rows
    ]
    if rows:
        tables.print_table(titles, rows, right=(0, 1, 2, 3))
    if result.left_out:
        depths = ", ".join(f"{depth:,}" for depth in result.left_out)
        say(f"(the context holds {info.ctx:,} tokens: left out {depths})", "dim", stream=sys.stderr)


def facts(name: str, result: Result, interrupted: bool) -> dict[str, Any]:
    """The same as data; seconds, tokens a second, bytes."""
    info = result.info
    return {
        "model": name,
        "parameters": info.parameters if info else None,
        "size_bytes": info.size_bytes if info else None,
        "ctx": info.ctx if info else None,
        "threads": info.threads if info else None,
        "gpu_layers": info.gpu_layers if info else None,
        "prompt_tokens": result.plan.prompt,
        "answer_tokens": result.plan.answer,
        "load_s": _series(result.load),
        "memory_bytes": result.memory_bytes,
        "peak_bytes": result.peak_bytes,
        "depths": [
            {
                "depth": row.depth,
                "prefill_tokens_per_s": _series(row.prefill),
                "first_token_s": _series(row.first_token),
                "decode_tokens_per_s": _series(row.decode),
            }
            for row in result.complete_rows
        ],
        "left_out": result.left_out,
        "interrupted": interrupted,
    }


def _series(series: Series) -> dict[str, Any] | None:
    if not series.values:
        return None
    return {"median": series.median, "low": min(series.values), "high": max(series.values), "values": series.values}


def _shown(series: Series, digits: int) -> str:
    """
    >>> from minichat.benchmark import Series
    >>> _shown(Series([1500.0, 1700.0, 1650.0]), 0)
    '1,650 ± 100'
    """
    return f"{series.median:,.{digits}f} ± {series.spread:,.{digits}f}" if series.values else "-"


def _memory(result: Result) -> str:
    return f"{format_bytes(result.memory_bytes)}, at most {format_bytes(result.peak_bytes)}"
