"""The command line: the program's beginning and end, its commands joined, exit codes; nothing else.

Each command (`minichat.commands`) imports what it needs when it runs: `--help` and the prompt are there at once.
Every error that minichat raises on purpose becomes one line on standard error and the exit code of its class
(quant/errors.py); 130 is an interruption, 141 a pipe that was closed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer

from minichat.commands import chat, completion, config, convert, hub, machine, sessions, store
from minichat.commands import map as mapping
from quant.errors import MinichatError, StorageError, UsageError

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
BROKEN_PIPE = 141
# click's UsageError, wherever typer keeps its click: some versions use the package, others a copy of their own.
_WrongUsage: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="minichat",
    help="Chat with Mistral's models on your own machine, in the terminal.\n\n\b\n"
    "  minichat run demo                        chat with the small model that comes with minichat\n"
    '  minichat run demo "What is minichat?"    one answer\n'
    '  cat notes.txt | minichat run demo "Sum this up"\n'
    '  minichat map demo "What is the capital of {line}?" < countries.txt\n'
    "  minichat run mistral-small               fetch Mistral Small, and chat with it\n"
    "  minichat convert ./Mistral-Small-24B-Instruct-2501 -q q4_K_M\n",
    epilog="\b\nExit codes:\n"
    "  0    done\n"
    "  2    wrong usage; or a question was answered with no, or by nobody\n"
    "  3    a bad model, file or schema; a prompt that is longer than the context;\n"
    "       `map`: at least one line has an error\n"
    "  4    the network or the hub\n"
    "  5    a file cannot be written, or there is too little memory\n"
    "  6    the engine died\n"
    "  130  interrupted by Ctrl-C (143 by a polite kill)\n"
    "  141  whoever read the output has left, as in `| head -1`",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _part in (chat, mapping, hub, convert, store, config, machine, completion):
    app.registered_commands += _part.app.registered_commands
app.add_typer(sessions.app, short_help="List conversations; show, search, remove them.")


def main() -> NoReturn:
    """The program. Never returns, never shows a traceback for what a user or a file did."""
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _leave)
    _open_missing_streams()
    code = 0
    try:
        # Not `app()`: it would take a closed pipe for an error of its own.
        command = typer.main.get_command(app)
        with command.make_context("minichat", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        code = end.exit_code
    except MinichatError as error:
        code = _report(str(error), error.exit_code)
    except _WrongUsage as error:
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        code = _report(error.format_message().rstrip(".") + where, UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
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
        _empty(sys.stdout, 1)
        _empty(sys.stderr, 2)
    sys.exit(code)


def _open_missing_streams() -> None:
    """A program may be started with its standard streams closed: then they lead nowhere."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


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


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        import importlib.metadata

        typer.echo(f"minichat {importlib.metadata.version('minichat')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
