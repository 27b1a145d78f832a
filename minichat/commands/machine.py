"""`doctor`: what minichat finds on this machine."""

from __future__ import annotations

import typer

from minichat.commands.options import JsonOption

app = typer.Typer()


@app.command(short_help="Show backends, devices, memory, versions.")
def doctor(as_json: JsonOption = False) -> None:
    """Show what minichat found on this machine: backends, devices, memory, versions, folders."""
    from minichat.doctor import show_doctor

    show_doctor(as_json)
