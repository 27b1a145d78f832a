"""Text onto the person's clipboard: by the terminal (OSC 52), and by the desktop's own program where there is one.

OSC 52 works through SSH as well, but no terminal tells whether it took it, and some do not. So both ways are gone, and
`copy` says which. Inside tmux its own command is asked first: by default tmux passes nothing on. What is copied is
cleaned, since a shell that it is pasted into obeys control characters as a terminal does; on its way to the terminal
it is base64.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, NamedTuple

from minichat.terminal.output import is_moving, write
from minichat.terminal.sanitize import clean
from quant.errors import UsageError

# xterm and several others take sequences of 100,000 bytes at most: 99,992 of base64 between their frame.
MAX_OSC_BYTES = 99_992 // 4 * 3
_PATIENCE_S = 3.0
_SCREEN_PART = 240  # GNU screen passes on at most 256 bytes at once
_WITHOUT_OSC = ("linux", "eterm", "emacs", "vt52")  # beginnings of TERM: would print the sequence, or drop it


class _Program(NamedTuple):
    arguments: tuple[str, ...]
    needs: str = ""  # an environment variable: without it there is nothing to copy to
    encoding: str = "utf-8"
    local: bool = False  # copies on the machine that it runs on, which over SSH is the wrong one


_PROGRAMS = (
    _Program(("pbcopy",), local=True),
    _Program(("wl-copy",), "WAYLAND_DISPLAY"),
    _Program(("xclip", "-selection", "clipboard"), "DISPLAY"),
    _Program(("xsel", "--clipboard", "--input"), "DISPLAY"),
    _Program(("clip.exe",), encoding="utf-16-le", local=True),
)


def copy(text: str, stream: IO[str] | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Copies `text`, cleaned; by what, in words. `stream` is the terminal.

    Raises UsageError if there is no way to copy it.
    """
    stream = stream or sys.stdout
    environment = os.environ if environment is None else environment
    text = clean(text)
    ways = []
    in_tmux = bool(environment.get("TMUX")) and _run(_Program(("tmux", "load-buffer", "-w", "-")), text)
    if in_tmux:
        ways.append("tmux")
    if program := _first(text, environment):
        ways.append(program)
    too_long = len(raw := text.encode()) > MAX_OSC_BYTES
    if not in_tmux and not too_long and _takes_osc(stream, environment):
        write(stream, osc52(raw, environment))
        ways.append("the terminal (OSC 52)")
    if ways:
        return " and ".join(ways)
    why = (
        f"{len(raw):,} bytes are too many for a terminal's clipboard" if too_long else "this terminal has no clipboard"
    )
    names = ", ".join(program.arguments[0] for program in _PROGRAMS)
    raise UsageError(f"{why}, and none of {names} works here: /export writes to a file")


def osc52(raw: bytes, environment: Mapping[str, str]) -> str:
    r"""The sequence that has a terminal put `raw` on its clipboard, through tmux or screen where they are between.

    >>> osc52(b"Hi", {})
    '\x1b]52;c;SGk=\x07'
    >>> osc52(b"Hi", {"TMUX": "/tmp/tmux-1/default,1,0"})
    '\x1bPtmux;\x1b\x1b]52;c;SGk=\x07\x1b\\'
    """
    sequence = f"\x1b]52;c;{base64.b64encode(raw).decode('ascii')}\x07"
    if environment.get("TMUX"):
        return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environment.get("STY") or environment.get("TERM", "").startswith("screen"):
        parts = (sequence[at : at + _SCREEN_PART] for at in range(0, len(sequence), _SCREEN_PART))
        return "".join(f"\x1bP{part}\x1b\\" for part in parts)
    return sequence


def _takes_osc(stream: IO[str], environment: Mapping[str, str]) -> bool:
    return is_moving(stream) and not environment.get("TERM", "").startswith(_WITHOUT_OSC)


def _first(text: str, environment: Mapping[str, str]) -> str:
    """The name of the first program that took the text; "" for none."""
    is_remote = bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))
    for program in _PROGRAMS:
        if (program.needs and not environment.get(program.needs)) or (program.local and is_remote):
            continue
        if _run(program, text):
            return program.arguments[0]
    return ""


def _run(program: _Program, text: str) -> bool:
    """Whether the program is there and took the text. What stays behind to hold it outlives a Ctrl-C."""
    path = shutil.which(program.arguments[0])
    if path is None:
        return False
    try:
        done = subprocess.run(
            [path, *program.arguments[1:]],
            input=text.encode(program.encoding),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
