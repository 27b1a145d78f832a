"""Arguments and options that several commands share, spelled the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from minichat.models import Model

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A name, `demo`, a .gguf file, a checkpoint folder, or a repo on the hub."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TemplateOption = Annotated[
    str | None,
    typer.Option("--template", metavar="NAME", help="Override the model's template: v3, v3-tekken, v7-tekken."),
]
INT32 = 2**31 - 1


def find_model(model: str) -> Model:
    """The GGUF that MODEL stands for; a checkpoint is converted on the way, in sight of the person."""
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    return resolve(model, Store.default(), WorkProgress)
