"""`sessions`: the conversations that are kept, to list, read, search and remove."""

from __future__ import annotations

from typing import Annotated

import typer

from minichat.commands.options import JsonOption

app = typer.Typer(
    name="sessions",
    help="List the conversations that are kept; show, search or remove them.\n\n"
    "`minichat run MODEL --session NAME` goes on with one, --continue with the last.",
    epilog="\b\nExamples:\n"
    "  minichat sessions\n"
    "  minichat sessions show trip-to-rome > trip.md\n"
    '  minichat sessions search "train to Rome"\n'
    "  minichat sessions rm trip-to-rome",
    rich_markup_mode=None,
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A session, as `minichat sessions` lists it.")]


@app.callback(invoke_without_command=True)
def list_sessions(context: typer.Context, as_json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        from minichat.session_reports import show_sessions
        from minichat.sessions import Sessions

        show_sessions(Sessions.default().list(), as_json)


@app.command()
def show(name: _Name, as_json: JsonOption = False) -> None:
    """Print a conversation as Markdown, or with --json as messages in OpenAI's shape, its pictures as data URLs."""
    import sys

    from minichat.export import to_json, to_markdown
    from minichat.pictures.album import Album
    from minichat.pictures.keeping import KeptPictures
    from minichat.pictures.sources import name_of
    from minichat.sessions import Sessions
    from minichat.terminal.output import say, write
    from quant.errors import DataError

    sessions = Sessions.default()
    saved = sessions.read(name)
    if as_json:
        with Album(kept=KeptPictures.among(sessions.folder)) as album:

            def picture(source: str) -> bytes | None:
                try:
                    return album.content(source)
                except DataError:
                    say(f"{name_of(source)} is not kept any more: only its name is shown", stream=sys.stderr)
                    return None

            text = to_json(saved.messages, saved.system, picture)
    else:
        text = to_markdown(saved.messages, saved.system, saved.title)
    write(sys.stdout, text)


@app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in any case of letters.")],
    as_json: JsonOption = False,
) -> None:
    """Look for a text in all conversations."""
    from minichat.session_reports import show_found
    from minichat.sessions import Sessions

    show_found(Sessions.default().search(text), text, as_json)


@app.command()
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Sessions, as `minichat sessions` lists them.")],
) -> None:
    """Remove conversations for good."""
    from minichat.sessions import Sessions
    from minichat.terminal.output import say

    sessions = Sessions.default()
    for name in names:
        say(f"removed {sessions.remove(name)}")
