"""What `convert` and `pull` have to say of what they made: JSON for scripts, aligned text for people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_bytes

if TYPE_CHECKING:
    from convert.report import Report


def show_converted(name: str, size_bytes: int, digest: str, report: Report | None, full: bool, as_json: bool) -> None:
    """What `convert` made; `full`: tensor by tensor. `report` is None for a file that another process has made."""
    if as_json:
        facts: dict[str, Any] = {"name": name, "size_bytes": size_bytes, "digest": digest}
        if report is not None:
            facts |= _conversion(report)
            tensors = [*report.tensors, *report.projector_tensors]
            facts |= {"tensors": [asdict(tensor) for tensor in tensors]} if full else {}
        print_json(facts)
        return
    if full and report is not None:
        _show_tensors(report)
    say(f"{clean_line(name)}  {format_bytes(size_bytes)}")
    if report is not None and report.projector is not None and name == str(report.path):
        say(f"{clean_line(str(report.projector))}  {format_bytes(report.projector_bytes)}, which reads pictures")


def _conversion(report: Report) -> dict[str, Any]:
    """A conversion's report as data, without its tensors."""
    return {
        "target": report.target,
        "architecture": report.architecture,
        "template": report.template,
        "parameters": report.parameters,
        "context_length": report.context_length,
        "bits_per_weight": report.bits_per_weight,
        "licence": report.licence,
        "notice": report.notice,
        "projector": _projector(report),
        "remarks": list(report.remarks),
    }


def _projector(report: Report) -> dict[str, Any] | None:
    if report.projector is None:
        return None
    return {
        "size_bytes": report.projector_bytes,
        "digest": f"sha256-{report.projector_sha256}",
        "target": report.projector_target,
    }


def _show_tensors(report: Report) -> None:
    """Each tensor's type, size and error, and then each type's, and the bits per weight in all."""
    rows = [
        (t.name, t.type, "×".join(map(str, t.shape)), format_bytes(t.size_bytes), f"{t.relative_error:.3%}")
        for t in (*report.tensors, *report.projector_tensors)
    ]
    tables.print_table(("TENSOR", "TYPE", "SHAPE", "SIZE", "ERROR"), rows, sys.stdout, right=(3, 4))
    say("")
    pairs = []
    for kind in dict.fromkeys(t.type for t in report.tensors):
        of_kind = [t for t in report.tensors if t.type == kind]
        worst = max(t.relative_error for t in of_kind)
        size = format_bytes(sum(t.size_bytes for t in of_kind))
        pairs.append((kind, f"{len(of_kind)} tensors, {size}, error at most {worst:.3%}"))
    pairs.append(("in all", f"{report.bits_per_weight:.2f} bits per weight"))
    tables.print_fields(pairs, sys.stdout)
    say("")
