"""The program from outside: run it, start it, or put it on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

MINICHAT = [sys.executable, "-c", "from minichat.cli import main; main()"]


def minichat(*arguments: str | Path, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [*MINICHAT, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def fails(code: int, says: str, *arguments: str | Path, stdin: bytes = b"") -> None:
    """Nothing on stdout, one line on stderr with `says` in it, and the exit code."""
    done = minichat(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("minichat: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """The program, without input, under way."""
    return subprocess.Popen(
        [*MINICHAT, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


PROMPT, TAKEN = "Send a message", "\x1b[?2004l"  # the second one ends prompt_toolkit's hold of the terminal


class Terminal:
    """A program on a pseudo-terminal: type, and wait for what it shows."""

    def __init__(self, *arguments: str, columns: int = 80) -> None:
        self.process, self.screen = pty.fork()
        if not self.process:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES="24", PROMPT_TOOLKIT_NO_CPR="1")
            os.execv(sys.executable, [*MINICHAT, *arguments])  # noqa: S606
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait_for(self, text: str, more: int = 0, seconds: float = 30) -> None:
        """Reads until `text` is shown, and `more` bytes after it. What is before their end counts no more."""
        deadline = time.monotonic() + seconds
        while (begin := self.shown.find(text.encode())) < 0 or len(self.shown) < begin + len(text) + more:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.shown!r}"
            self.shown += os.read(self.screen, 65536)
        self.shown = self.shown[begin + len(text) + more :]

    def end(self) -> int:
        try:
            while part := os.read(self.screen, 65536):
                self.shown += part
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
