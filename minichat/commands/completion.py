"""`completion`: what makes a shell complete minichat's command lines; and `complete`, which that asks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant.errors import UsageError

if TYPE_CHECKING:
    pass

app = typer.Typer()
_SHELLS = "bash|zsh|fish"


@app.command(
    short_help="Print a script that completes command lines.",
    epilog="\b\nTo have it in every shell, once:\n"
    "  echo 'eval \"$(minichat completion bash)\"' >> ~/.bashrc\n"
    "  echo 'eval \"$(minichat completion zsh)\"' >> ~/.zshrc\n"
    "  minichat completion fish > ~/.config/fish/completions/minichat.fish",
)
def completion(shell: Annotated[str, typer.Argument(metavar=_SHELLS, help="The shell that you use.")]) -> None:
    """Print a script that makes a shell complete commands, options, and the names of models, sessions and files."""
    from minichat.completion.scripts import SHELLS, script_for
    from minichat.terminal.output import write

    if shell not in SHELLS:
        raise UsageError(f"completion {shell[:40]!r}: one of {', '.join(SHELLS)}")
    write(sys.stdout, script_for(shell, _program()))


@app.command(hidden=True)
def complete(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(metavar=_SHELLS)],
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD...")] = None,
) -> None:
    """Print what could stand at the cursor: a first line that says `files` or `words`, then a line for each word.

    Bash gives its line up to the cursor and its COMP_WORDBREAKS, the others their words behind the program's name.
    """
    from minichat.completion.candidates import find_candidates
    from minichat.completion.line import behind_program, split_line, unbroken_length
    from minichat.terminal.output import write
    from minichat.terminal.sanitize import clean_line

    typed, known = list(words or [""]), 0
    if shell == "bash":
        line, breaks = (*typed, "")[:2]
        behind = behind_program(split_line(line))
        typed, known = [word.text for word in behind], unbroken_length(behind[-1], breaks)
    found = find_candidates(context.find_root().command, typed)
    lines = (f"{one.value[known:]}\t{clean_line(' '.join(one.help.split()))}" for one in found.words)
    write(sys.stdout, "".join(f"{line}\n" for line in ("files" if found.are_files else "words", *lines)))


def _program() -> str:
    """How a shell calls this program: by its name if that leads here, else by its path."""
    ours, found = Path(shutil.which(sys.argv[0]) or ""), shutil.which("minichat")
    if ours.name != "minichat" or (found is not None and ours.samefile(found)):
        return "minichat"
    return str(ours.absolute())
