"""`config`: what is set, and where it comes from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from minichat.commands.options import JsonOption
from quant.errors import UsageError

app = typer.Typer()


@app.command(
    short_help="Show the settings, and where each comes from.",
    epilog="\b\nExamples:\n"
    "  minichat config\n"
    "  minichat config mistral-small --as coder\n"
    "  minichat config --edit\n"
    "\n\b\nThe file is TOML:\n"
    '  model = "mistral-small"          what `minichat run` talks to\n'
    "  [defaults]                       for every chat: the options' names\n"
    "  temperature = 0.3\n"
    '  [models."mistral-small:24b"]     for one model\n'
    "  ctx = 16384\n"
    "  [personas.coder]                 minichat run --as coder\n"
    '  system = "You write Python."\n'
    "\n\b\nThe command line goes over the persona, that over the model's settings,\n"
    "those over [defaults], those over what the model's makers advise.",
)
def config(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="For the chats with this model. Without: the default one.")
    ] = None,
    persona: Annotated[str | None, typer.Option("--as", metavar="NAME", help="As this persona.")] = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the file is, or would be.")] = False,
    edit: Annotated[bool, typer.Option("--edit", help="Open the file in $EDITOR, and check it afterwards.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is set for a chat, and where each value comes from: config.toml, the model, or minichat.

    Nothing is fetched: a model need not be here.
    """
    from minichat import config_report
    from minichat.settings import config_path, load_settings

    if path and edit:
        raise UsageError("--path and --edit: give one of them")
    if (path or edit) and (model is not None or persona is not None or as_json):
        raise UsageError(f"{'--path' if path else '--edit'} stands alone: it is about the file")
    if path:
        typer.echo(config_path())
    elif edit:
        from minichat.settings_editing import edit_settings

        edit_settings(config_path(), os.environ)
    else:
        config_report.show_config(load_settings(), model, persona, os.environ, as_json)
