"""The command line: the program's beginning and end, and its exit codes; nothing else.

The first act of a command that will need an engine is to start its process; only then comes the import of what reads
the command line (`minichat.commands.program`). Each command imports what it needs when it runs: `--help` and the prompt
are there at once.

Every error that minichat raises on purpose becomes one line on standard error and the exit code of its class
(quant/errors.py); 130 is an interruption, 141 a pipe that was closed.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

from quant.errors import MinichatError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

INTERRUPTED = 130
BROKEN_PIPE = 141
_WITH_ENGINE = ("run", "map")


def main() -> NoReturn:
    """The program. Never returns, never shows a traceback for what a user or a file did."""
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _leave)
    _open_streams()
    code = 0
    try:
        _start_engine(sys.argv[1:])
        from minichat.commands.program import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except MinichatError as error:
        code = _report(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:  # a full disk behind standard output, a path that no file can have
        code = _report(f"{error.filename or 'standard output'}: {error.strerror or error}", StorageError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "new thread" not in str(error):
            raise  # a defect
        code = _report("out of memory: close other programs, or give fewer --threads", StorageError.exit_code)
    finally:
        _discard_engine()
        _empty(sys.stdout, 1)
        _empty(sys.stderr, 2)
    sys.exit(code)


def _start_engine(arguments: Sequence[str]) -> None:
    """A command line that is wrong after all costs a process that leaves again."""
    if arguments[:1] and arguments[0] in _WITH_ENGINE and not {"-h", "--help"}.intersection(arguments):
        from minichat.engine.starting import start_early

        start_early()


def _discard_engine() -> None:
    if (starting := sys.modules.get("minichat.engine.starting")) is not None:
        starting.discard_early()


def _open_streams() -> None:
    """A program may be started with its standard streams closed: then they lead nowhere."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115, PTH123
    sys.stdout = _with_buffer(sys.stdout or open(os.devnull, "w"))  # noqa: SIM115, PTH123
    sys.stderr = _with_buffer(sys.stderr or open(os.devnull, "w"))  # noqa: SIM115, PTH123


def _with_buffer(stream: TextIO) -> TextIO:
    """PYTHONUNBUFFERED takes the buffer from a stream, and with it the end of what the system did not take at once, as
    when Ctrl-C comes while a terminal or a pipe is slow. Here it has one again; what is written is flushed anyway.
    """
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(stream.buffer, io.RawIOBase):
        return stream
    encoding, errors = stream.encoding, stream.errors
    return io.TextIOWrapper(io.BufferedWriter(stream.detach()), encoding, errors, line_buffering=True)


def _empty(stream: TextIO, number: int) -> None:
    """What a stream that fails holds has no place to go; Python would end with a code of its own."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """A polite kill: unwind, so that no half-written file and no engine stays behind."""
    raise SystemExit(128 + number)


def _report(message: str, code: int) -> int:
    from minichat.terminal.output import print_error

    with contextlib.suppress(OSError):  # nobody is there to be told; the code still tells
        print_error(message)
    return code
