"""Commands on the models that are here: `list`, `show`, `rm`, `cp`, `verify`, `du`, `prune`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from minichat.commands.options import JsonOption, ModelArgument, find_model
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minichat.housekeeping import Leftover

app = typer.Typer()


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models in the store."""
    from minichat import reports
    from minichat.store import Store

    store = Store.default()
    reports.show_list(store.models(), len(store.damaged()), as_json, store.used)


@app.command(
    short_help="Show what a model is.",
    epilog="\b\nExamples:\n"
    "  minichat show demo\n"
    "  minichat show ./model.gguf --json\n"
    "  minichat show ministral:8b --license",
)
def show(
    model: ModelArgument,
    licence: Annotated[
        bool, typer.Option("--license", "--licence", help="Its licence: what it allows, and its notice.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a model is: architecture, attention, template, memory, licence, where it came from."""
    from minichat import reports

    (reports.show_licence if licence else reports.show_model)(find_model(model), as_json)


@app.command(
    short_help="Remove models from the store.",
    epilog="\b\nExamples:\n  minichat rm demo:q8_0\n  minichat rm mistral-small:24b-q8_0 mine:best",
)
def rm(
    models: Annotated[list[str], typer.Argument(metavar="NAME:TAG...", help="Names in the store.")],
) -> None:
    """Remove models from the store. A file goes with the last name that stands for it."""
    from minichat import reports
    from minichat.models import stored_name
    from minichat.store import Store

    store = Store.default()
    for model in models:
        reports.show_removed(store.remove(stored_name(model, store)))


@app.command(
    short_help="Give a model a second name.", epilog="\b\nExamples:\n  minichat cp mistral-small:24b-q4_K_M mine:best"
)
def cp(
    source: Annotated[str, typer.Argument(metavar="NAME:TAG", help="A name in the store.")],
    destination: Annotated[str, typer.Argument(metavar="NEW_NAME:TAG", help="Its second name.")],
) -> None:
    """Give a model in the store a second name; the file itself is shared."""
    from minichat import making, reports
    from minichat.manifest import ModelName
    from minichat.models import stored_name
    from minichat.store import Store

    store = Store.default()
    named = making.check_free(ModelName.parse(destination))
    reports.show_copied(store.copy(stored_name(source, store), named))


@app.command(
    short_help="Check that models are whole.",
    epilog="\b\nExamples:\n  minichat verify\n  minichat verify demo\n  minichat verify ./model.gguf --json",
)
def verify(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A name in the store, or a .gguf file. Without: all models.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that models are whole: their files' size, header and sha256 are what the store has recorded.

    Their vocabularies are tried with golden texts: the ids must be those of Mistral's own tokenizer. Of a .gguf file
    elsewhere no hash is known. The exit code is 3 if anything is damaged.
    """
    from minichat import verification
    from minichat.models import is_path, stored_name
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    store = Store.default()
    if model is not None and not is_path(model):
        model = str(stored_name(model, store))
    if not verification.show_verdicts(verification.verify(model, store, WorkProgress), as_json):
        raise typer.Exit(DataError.exit_code)


@app.command(short_help="Show what the store takes on the disk.")
def du(as_json: JsonOption = False) -> None:
    """Show what models and sessions take on the disk, and what is left over of pulls that were interrupted."""
    from minichat import housekeeping, space
    from minichat.sessions import Sessions
    from minichat.store import Store

    space.show_du(housekeeping.du(Store.default(), Sessions.default()), as_json)


@app.command(
    short_help="Remove what is left over.",
    epilog="\b\nExamples:\n  minichat prune --dry-run\n  minichat prune\n  minichat prune --states --yes",
)
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    states: Annotated[
        bool, typer.Option("--states", help="Also what was read of sessions: --continue reads it again then.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what interrupted pulls and killed conversions have left, files that no name stands for, and pictures of
    sessions that are gone.

    Models, sessions, and what is in use, stay. A pull that would have gone on begins anew. You are asked first; where
    nobody can be asked, --yes says so beforehand.
    """
    from minichat import housekeeping, space
    from minichat.sessions import Sessions
    from minichat.store import Store

    store, sessions = Store.default(), Sessions.default()
    doomed = housekeeping.prune(store, sessions, all_states=states, dry_run=True)
    is_asked = bool(doomed) and not (dry_run or yes)
    if is_asked:
        _ask_to_prune(doomed)
    if not dry_run:
        doomed = housekeeping.prune(store, sessions, all_states=states)
    space.show_pruned(doomed, dry_run, len(store.damaged()), as_json, is_known=is_asked)


def _ask_to_prune(doomed: Sequence[Leftover]) -> None:
    """UsageError where the answer is no, or nobody is there to give one."""
    from minichat import space
    from minichat.terminal.ask import can_ask, says_yes

    size = space.format_sum(doomed)
    if not can_ask():
        raise UsageError(f"{size} would be removed, and nobody is there to ask: --yes removes it, --dry-run shows it")
    space.show_doomed(doomed, sys.stderr)
    if not says_yes(f"Remove it, and free {size}?"):
        raise UsageError("nothing was removed")
