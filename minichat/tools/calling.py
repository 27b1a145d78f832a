"""A call of a tool: its command is run, and what it says is the result.

The arguments go to the command as one JSON object on standard input; its standard output is the result, as text. What
goes wrong is a result too, one that says so: the model is told, and may do better. Results are as hostile as what they
come from: they are shown on a terminal only through `minichat.terminal.sanitize`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minichat.tools.process import Ended, Limits, described, run

if TYPE_CHECKING:
    from minichat.tools.toolbox import Toolbox

__all__ = ["Limits", "Result", "call"]

_ENDS = 5  # lines from each end of what a failed command said
_LINE_CHARACTERS = 500


@dataclass(frozen=True)
class Result:
    """What a call came to, for the model to read. A failed one begins with "Error: "."""

    text: str
    failed: bool = False


def call(toolbox: Toolbox, name: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Result:
    """Runs the command of the tool `name`, which must have one, and waits for its end.

    Output over the limit is cut, which the result says; a command over its time is stopped, and has failed. A
    KeyboardInterrupt stops it too, and is passed on.
    """
    limits = limits or Limits()
    argv = toolbox.commands[name]
    # A lone surrogate, which JSON allows and UTF-8 does not, becomes the escape that it was.
    sent = json.dumps(arguments, ensure_ascii=False).encode(errors="backslashreplace")
    try:
        ended = run(argv, sent, toolbox.folder, limits)
    except OSError as error:
        return _failure(f"{argv[0]} cannot be run: {error.strerror or error}")
    if ended.late:
        return _failure(f"{name} took longer than {limits.seconds:g} s and was stopped")
    if ended.cut:
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(ended.output)  # no half character at the end
        return Result(f"{text}\n[cut: the output is longer than {limits.output_bytes:,} bytes]")
    if ended.code:
        return _failure(f"{name} failed with {described(ended.code)}{_said(ended)}")
    return Result(ended.output.decode(errors="replace").rstrip("\r\n"))


def _failure(reason: str) -> Result:
    return Result(f"Error: {reason}", failed=True)


def _said(ended: Ended) -> str:
    """What a failed command said of it: the first lines and the last, where a traceback has its reason."""
    said = ended.errors if ended.errors.strip() else ended.output
    lines = [line.rstrip()[:_LINE_CHARACTERS] for line in said.decode(errors="replace").strip().split("\n")]
    if len(lines) > 2 * _ENDS:
        lines[_ENDS:-_ENDS] = ["..."]
    return ": " + "\n".join(lines) if any(lines) else ""
