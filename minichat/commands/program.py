"""The commands joined: the program as typer knows it.

Of `run` and `map`, which somebody waits for, only the module is imported that has them.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from minichat.commands.values import read_plainly
from minichat.commands.variadic import WrongUsage
from quant.errors import UsageError

# In the order of --help.
_MODULES = ("chat", "map", "hub", "convert", "store", "config", "bench", "machine", "completion")
_ALONE = {"run": "chat", "map": "map"}


def run(arguments: Sequence[str]) -> int:
    """Runs the command; its exit code. Wrong usage is a UsageError, an interruption a KeyboardInterrupt."""
    # Not `app()`: it would take a closed pipe for an error of its own.
    command = typer.main.get_command(application(arguments[0] if arguments else None))
    read_plainly(command)
    try:
        with command.make_context("minichat", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except WrongUsage as error:
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        raise UsageError(error.format_message().rstrip(".") + where) from None
    return 0


def application(command: str | None = None) -> typer.Typer:
    """All commands; or those of one module, if the `command` that is to run is in it and need not know of others."""
    app = typer.Typer(
        name="minichat",
        help="Chat with Mistral's models on your own machine, in the terminal.\n\n\b\n"
        "  minichat run demo                        chat with the small model that comes with minichat\n"
        '  minichat run demo "What is minichat?"    one answer\n'
        '  cat notes.txt | minichat run demo "Sum this up"\n'
        '  minichat map demo "What is the capital of {line}?" < countries.txt\n'
        "  minichat run mistral-small               fetch Mistral Small, and chat with it\n"
        '  minichat run mistral-small3.1 --image photo.jpg "What is this?"\n'
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
    app.callback(invoke_without_command=True)(_root)
    for name in [_ALONE[command]] if command in _ALONE else _MODULES:
        app.registered_commands += importlib.import_module(f"minichat.commands.{name}").app.registered_commands
    if command not in _ALONE:
        from minichat.commands import sessions

        app.add_typer(sessions.app, short_help="List conversations; show, search, remove them.")
    return app


def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        import importlib.metadata

        typer.echo(f"minichat {importlib.metadata.version('minichat')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
