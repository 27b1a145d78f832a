"""Arguments and options that several commands share, spelled the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from minichat.models import Fetch, Model

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A name, `demo`, a .gguf file, a checkpoint folder, or a repo on the hub."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="NAME",
        help="Override the model's template: v1, v2, v3, v3-tekken, v7, v7-tekken, v11, v13.",
    ),
]
ToolsOption = Annotated[
    str | None, typer.Option("--tools", metavar="FILE", help="Tools that the model may call: JSON, or a .py file.")
]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Fetch without asking.")]
LicenceOption = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the model's licence, where it is one that asks for that.")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, max=512, help="Threads on the CPU.")]
INT32 = 2**31 - 1


def find_model(model: str, fetch: Fetch | None = None) -> Model:
    """The GGUF that MODEL stands for; made on the way, in sight of the person. Without `fetch` nothing is fetched."""
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    return resolve(model, Store.default(), WorkProgress, fetch)
