"""The engine's process: started, before anybody knows what it will load.

An answer waits for two things, one after the other: Python and llama.cpp in the engine, and the model. The first needs
no more than the word `run`, so that the program's first act can be `start_early()`, and all that the front has to
import and to find out happens meanwhile. `take()` then gives that process to the first Engine.

Standard library only, and little of that: this comes before everything else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import IO

# With -c or -m Python puts the current folder first on its path, where a user's own `quant/` would be taken for ours.
# So the engine is told where the front has its modules from, and need not find that out again (-S, see `folders`).
_FIND_MODULES = "import sys; sys.path[:] = sys.argv[1:]; "
MAIN = "from minichat.engine.worker import main; main()"
# How long a thread of GNU's OpenMP spins at a barrier before it sleeps. By default, milliseconds: where something else
# needs a core too, decode then falls to a twentieth (59 to 2.6 tokens/s with 0.3 billion parameters on 2 cores). With
# 10000 it kept 11, with 3000 it keeps 16, with 1000 it kept 22; an idle machine gave 61.5, 61, 59.5 of them.
SPIN_COUNT = "3000"
_ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # else an abort starts a debugger
    "GOMP_SPINCOUNT": SPIN_COUNT,
}
Started = tuple["subprocess.Popen[bytes]", IO[bytes]]  # the process, and where its standard error goes
_early: list[Started] = []


def start_early() -> None:
    """Starts the process that the first `take()` will give. One that cannot be started is that one's to tell of."""
    if not _early:
        try:
            _early.append(_start())
        except OSError:
            pass


def take() -> Started:
    """A process that waits for its first request: the early one, if it is there still. Raises OSError."""
    while _early:
        process, diagnostics = _early.pop()
        if process.poll() is None:
            return process, diagnostics
        _end(process, diagnostics)
    return _start()


def discard_early() -> None:
    """Ends the early process if nobody has taken it: for a program that turned out to need none."""
    while _early:
        _end(*_early.pop())


def folders() -> list[str]:
    """Where the engine finds modules: where this process does, but never in the current folder ("").

    minichat's own folder is among them, also where only a finder knows it (an editable installation).
    """
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    found = [folder for folder in sys.path if folder]
    return found if own in found else [*found, own]


def _start() -> Started:
    diagnostics = tempfile.TemporaryFile()  # noqa: SIM115 - whoever takes the process closes it
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _FIND_MODULES + MAIN, *folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=diagnostics,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is the front's business
            env={**_ENVIRONMENT, **os.environ},
        )
    except BaseException:
        diagnostics.close()
        raise
    return process, diagnostics


def _end(process: subprocess.Popen[bytes], diagnostics: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, diagnostics):
        if stream is not None:
            stream.close()
