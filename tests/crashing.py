"""The program in forked processes that die, or meet an error, at a chosen call of the operating system.

`Crashes` is the tests' side. It talks in JSON lines to a process of its own, this file run as a program, which has
imported everything, has no threads, and forks one child for each run: that takes a few hundredths of a second.

The calls are counted at the level of the `os` module and of raw files, whatever the program is made of inside. Syncs
are counted and not made: a kill, unlike a power cut, loses nothing that was written.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
READS = ("read", "pread", "readv", "preadv")
WRITES = ("write", "pwrite", "writev", "pwritev", "truncate", "ftruncate")
SYNCS = ("fsync", "fdatasync")
NAMES = ("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "link", "symlink")


@dataclass(frozen=True)
class Fault:
    """What happens at the calls of these kinds ("read", "write", "create", "sync", "name").

    at: the number of the first call, from 1, that it happens at; 0: at none. number: the error that this call and, if
    lasting, all that follow end with; 0: the process is killed, `after` the call or before it.
    """

    kinds: tuple[str, ...]
    at: int = 0
    number: int = 0
    lasting: bool = False
    after: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the exit code, minus a signal's number; what it said; how many calls it made."""

    code: int
    stdout: str
    stderr: str
    calls: int
    took_s: float


class Crashes:
    """Runs of the program, each in a new process."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def close(self) -> None:
        self._server.communicate()
        assert self._server.returncode == 0

    def run(
        self,
        home: Path,
        *arguments: str | Path,
        fault: Fault,
        kill_after_s: float = 0,
        file_limit: int = 0,
        hub: str = "",
    ) -> Outcome:
        """`minichat ARGUMENTS` with this home, until its end or its kill.

        file_limit: RLIMIT_FSIZE, in bytes. hub: the address of one.
        """
        return self.together(
            1, home, *arguments, fault=fault, kill_after_s=kill_after_s, file_limit=file_limit, hub=hub
        )[0]

    def together(
        self,
        count: int,
        home: Path,
        *arguments: str | Path,
        fault: Fault = Fault(()),
        kill_after_s: float = 0,
        file_limit: int = 0,
        hub: str = "",
    ) -> list[Outcome]:
        """`count` processes that do the same at the same time."""
        assert self._server.stdin
        assert self._server.stdout
        task = {
            "count": count,
            "home": str(home),
            "arguments": [str(a) for a in arguments],
            "fault": asdict(fault),
            "kill_after_s": kill_after_s,
            "file_limit": file_limit,
            "hub": hub,
            "scratch": str(self._scratch),
        }
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        return [Outcome(**outcome) for outcome in json.loads(self._server.stdout.readline())]


class Calls:
    """Counts calls, and lets the fault happen at its own."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._lock = threading.Lock()
        self.count = 0

    def watched(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        fault = self._fault

        def call(*arguments: Any, **options: Any) -> Any:
            if kind not in fault.kinds:
                return function(*arguments, **options)
            with self._lock:
                self.count += 1
                number = self.count
            if fault.number and (number == fault.at or (fault.lasting and 0 < fault.at < number)):
                raise OSError(fault.number, os.strerror(fault.number))
            if number == fault.at and not fault.after and not fault.number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if number == fault.at and fault.after and not fault.number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    def install(self) -> None:
        for kind, names in (("read", READS), ("write", WRITES), ("sync", SYNCS), ("name", NAMES)):
            for name in names:
                if hasattr(os, name):
                    function = os.fstat if kind == "sync" else getattr(os, name)
                    setattr(os, name, self.watched(kind, function))
        self._watch_creation()
        self._watch_files()

    def _watch_creation(self) -> None:
        plain, create = os.open, self.watched("create", os.open)

        def os_open(path: Any, flags: int, *more: Any, **options: Any) -> int:
            return int((create if flags & os.O_CREAT else plain)(path, flags, *more, **options))

        os.open = os_open

    def _watch_files(self) -> None:
        """`open` and `Path.open`, whose files go by the `os` module."""
        calls = self

        class RawFile(io.FileIO):
            pass

        for kind, names in (("read", ("read", "readinto", "readall")), ("write", ("write", "truncate"))):
            for name in names:
                setattr(RawFile, name, calls.watched(kind, getattr(io.FileIO, name)))
        create = calls.watched("create", RawFile)

        def open_file(
            file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
            newline: str | None = None, closefd: bool = True, opener: Any = None,
        ) -> Any:  # fmt: skip
            is_new = not isinstance(file, int) and any(letter in mode for letter in "wxa")
            raw = (create if is_new else RawFile)(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            kind: Any = io.BufferedReader
            if raw.writable():
                kind = io.BufferedRandom if raw.readable() else io.BufferedWriter
            buffered = kind(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

        builtins.open = io.open = open_file  # type: ignore[assignment]


def serve() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        began = time.monotonic()
        children = [_begin(task, Path(task["scratch"]) / str(number)) for number in range(task["count"])]
        if task["kill_after_s"]:
            time.sleep(task["kill_after_s"])
            for child, _ in children:
                os.kill(child, signal.SIGKILL)
        outcomes = []
        for child, folder in children:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            stdout, stderr, calls = ((folder / name).read_text() for name in ("stdout", "stderr", "calls"))
            outcomes.append(asdict(Outcome(code, stdout, stderr, int(calls or 0), time.monotonic() - began)))
        sys.stdout.write(json.dumps(outcomes) + "\n")
        sys.stdout.flush()


def _begin(task: dict[str, Any], folder: Path) -> tuple[int, Path]:
    folder.mkdir(exist_ok=True)
    names = [folder / name for name in ("stdout", "stderr", "calls")]
    for path in names:
        path.write_bytes(b"")
    child = os.fork()
    if not child:
        _run(task, *names)
    return child, folder


def _run(task: dict[str, Any], stdout: Path, stderr: Path, calls_file: Path) -> None:
    from minichat.cli import main

    os.environ["MINICHAT_HOME"] = os.environ["HOME"] = task["home"]
    os.environ["HF_ENDPOINT"] = task["hub"]
    sys.argv = ["minichat", *task["arguments"]]
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    sys.stdout, sys.stderr = stdout.open("w"), stderr.open("w")
    if task["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (task["file_limit"],) * 2)
    calls = Calls(Fault(**task["fault"]))
    out = os.open(calls_file, os.O_WRONLY)
    write = os.write
    calls.install()
    code: Any = 1
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # what the program should never let through
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not task["file_limit"]:
            write(out, str(calls.count).encode())
        os._exit(code if isinstance(code, int) else 1)


def warm_up() -> None:
    """Everything is imported, as it would be by these commands and by `pull`, and no thread is left."""
    sys.path.insert(0, str(Path(__file__).parent))
    import huggingface_hub.hf_api  # noqa: F401
    from checkpoints import config, write_checkpoint

    import minichat.catalog_file
    import minichat.elsewhere
    import minichat.hub.lookup
    import minichat.hub_cache
    import minichat.pull
    import minichat.pull_checkpoint
    import minichat.pull_gguf  # noqa: F401
    from minichat.cli import main

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ["MINICHAT_HOME"] = folder
        source = write_checkpoint(Path(folder) / "warm", config(layers=1, hidden=64, inner=128))
        for arguments in (["convert", str(source), "-q", "q8_0"], ["verify"]):
            sys.argv = ["minichat", *arguments]
            with contextlib.suppress(SystemExit):
                main()
    assert threading.active_count() == 1
    gc.freeze()  # what is here is never looked through, and so never copied, by a child


if __name__ == "__main__":
    warm_up()
    serve()
