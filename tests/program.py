"""The program from outside: run it, or start it. `pseudo_terminal` puts it on a terminal."""

from __future__ import annotations

import subprocess
import sys
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
