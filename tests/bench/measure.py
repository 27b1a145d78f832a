"""Commands and what they cost: seconds, memory at most, temporary disk; two sides in turns; rows of a table."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MINICHAT = [str(Path(sys.executable).with_name("minichat"))]
RIVALS = [sys.executable, "-m", "tests.bench.rivals"]
_SAMPLE_S = 0.02


class CommandFailed(SystemExit):
    """What a command that failed said last."""


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_seconds: float  # of all cores
    megabytes: float  # resident, at most
    output: str
    temporary_mb: float = 0.0  # on disk, at most, beyond what was left at the end


def run(command: Sequence[str], folder: Path | None = None) -> Run:
    """A command, without a terminal, and what it cost. `folder`: where it writes, its temporary files too."""
    environment = dict(os.environ, **({"TMPDIR": str(folder)} if folder else {}))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors, _sampled(folder) as samples:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - begin
        if status:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise CommandFailed(said[-1] if said else f"failed: {' '.join(command)}")
        out.seek(0)
        output = out.read().decode(errors="replace")
    megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    cpu_seconds = usage.ru_utime + usage.ru_stime
    temporary_mb = (max(samples) - samples[-1]) / 1e6 if samples else 0.0
    return Run(took, cpu_seconds, megabytes, output, temporary_mb)


@contextlib.contextmanager
def _sampled(folder: Path | None) -> Iterator[list[int]]:
    """The bytes under `folder`, taken again and again while the block lasts."""
    samples: list[int] = []
    if folder is None:
        yield samples
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(_bytes_under(folder))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(_bytes_under(folder))


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def turns(rounds: int, *calls: Callable[[], T]) -> list[list[T]]:
    """The results of each call, taken in turns, so that a noisy machine treats them alike."""
    results: list[list[T]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, results, strict=True):
            found.append(call())
    return results


def median(runs: Sequence[Run], field: str) -> float:
    return float(statistics.median(getattr(run, field) for run in runs))


def heading(theirs: str) -> None:
    print(f"{'':44}{'minichat':>10}{theirs:>12}{'ratio':>8}   wanted")


def row(what: str, ours: float | None, theirs: float | None = None, wanted: str = "", digits: int = 2) -> None:
    """A line of the table; what was not measured, or cannot be, is left empty."""
    cells = "".join(
        f"{'' if value is None else f'{value:.{digits}f}':>{width}}" for value, width in ((ours, 10), (theirs, 12))
    )
    ratio = f"{ours / theirs:.2f}" if ours is not None and theirs else ""
    print(f"{what:44}{cells}{ratio:>8}   {wanted}".rstrip(), flush=True)
