"""May this call of a tool run? The person decides who sees it exactly as it would be run.

    The model calls get_current_weather
      {"location": "Paris", "format": "celsius"}
      runs: ./weather.py --metric
    Run it? [y]es, [a]lways, [N]o, ne[v]er:

"always" and "never" hold for this tool until the program ends. Nobody there to ask means no.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from minichat.terminal.ask import can_ask, drop_typed_ahead, read_line
from minichat.terminal.output import say, write
from minichat.terminal.progress import StatusLine
from minichat.terminal.sanitize import clean_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minichat.template.messages import Call
    from minichat.tools.calling import Result

_ANSWERS = {"y": "yes", "yes": "yes", "a": "always", "always": "always", "n": "no", "no": "no", "": "no"} | {
    "v": "never",
    "never": "never",
}
_MAX_RESULT, _MAX_SHOWN = 100_000, 200  # characters
_INDENT = "  "
_FUNCTIONS = Path(__file__).parent.parent / "tools" / "functions.py"


class Agreement:
    """What was decided so far. allow_all: every call is agreed to beforehand (--allow-tools), and only shown.

    stream: where calls are shown and the question is asked.
    """

    def __init__(self, allow_all: bool = False, stream: IO[str] | None = None) -> None:
        self._allow_all = allow_all
        self._stream = stream or sys.stderr
        self._decided: dict[str, bool] = {}
        self._status = StatusLine(self._stream)

    def agrees(self, call: Call, arguments: Mapping[str, Any], command: Sequence[str]) -> bool:
        """Whether the call may run; asks if it has not been decided. KeyboardInterrupt (Ctrl-C) is passed on.

        From a yes until `report`, or `settle`, a status says that the call is running.
        """
        self.show(call.name, json.dumps(arguments, ensure_ascii=False), command)
        decided = True if self._allow_all else self._decided.get(call.name)
        if decided is None:
            decided = self._ask(call.name)
        if decided:
            self._status.show(f"{_INDENT}running")
        else:
            say(f"{_INDENT}not run", "dim", stream=self._stream)
        return decided

    def settle(self) -> None:
        """Nothing is running any more."""
        self._status.clear()

    def show(self, name: str, arguments: str, command: Sequence[str] = ()) -> None:
        """The call, whole: what cannot be seen cannot be agreed to."""
        say(f"The model calls {clean_line(name)}", "bold", stream=self._stream)
        lines = [clean_line(arguments), *([f"runs: {clean_line(_in_words(command))}"] if command else [])]
        write(self._stream, "".join(f"{_INDENT}{line}\n" for line in lines))  # not `say`: it would break the lines

    def _ask(self, name: str) -> bool:
        if not can_ask(self._stream):
            return False
        drop_typed_ahead()  # a key that was meant for something else must not agree
        answer = None
        while answer is None:
            line = read_line(self._stream, "Run it? [y]es, [a]lways, [N]o, ne[v]er: ")
            answer = "no" if line is None else _ANSWERS.get(line.strip().lower())
        if answer in ("always", "never"):
            self._decided[name] = answer == "always"
        return answer in ("yes", "always")

    def report(self, call: Call, result: Result) -> None:  # noqa: ARG002
        """Shows how a call that was run ended, shortly: the model gets all of it."""
        self.settle()
        line = clean_line(" ".join(result.text[:_MAX_SHOWN].split()))
        say(f"{_INDENT}{line or '(no output)'}{'…' * (len(result.text) > _MAX_SHOWN)}", "dim", stream=self._stream)

    def result_of(self, call: Call) -> str | None:
        """What the person says that a call came to which nothing here can run: one line, maybe empty; None: nothing."""
        self.show(call.name, call.arguments)
        drop_typed_ahead()
        question = "Nothing here runs it. What it would answer (Ctrl-D: nothing): "
        return read_line(self._stream, question, _MAX_RESULT)


def _in_words(command: Sequence[str]) -> str:
    """A command as it could be typed; a function of a file by its name.

    >>> _in_words(["./weather.py", "a b"])
    "./weather.py 'a b'"
    """
    if len(command) == 5 and Path(command[1]) == _FUNCTIONS and command[2] == "--call":
        return f"{command[4]}() of {command[3]}"
    return shlex.join(command)
