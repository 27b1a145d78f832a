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

# What is chosen for an answer, in `run` and in `map`.
SystemOption = Annotated[str | None, typer.Option("--system", help="The system prompt.")]
PersonaOption = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="A persona of your settings (`minichat config`).")
]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", min=0, max=99, help="0 always takes the likeliest token.")
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", min=0, max=INT32, help="Draw from the K likeliest tokens; 0: from all.")
]
TopPOption = Annotated[
    float | None, typer.Option("--top-p", min=0, max=1, help="… that make up this much probability.")
]
MinPOption = Annotated[
    float | None, typer.Option("--min-p", min=0, max=1, help="… at least this likely, next to the best.")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="The same seed draws the same answer.")
]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")]
CtxOption = Annotated[int | None, typer.Option("--ctx", min=16, max=INT32, help="Context length, in tokens.")]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="auto|cpu|gpu", help="Where to compute.")]
GpuLayersOption = Annotated[int | None, typer.Option("--gpu-layers", min=0, max=INT32, help="Layers on the GPU.")]
JsonOutputOption = Annotated[bool, typer.Option("--json-output", help="The answer is a JSON object.")]
SchemaOption = Annotated[
    str | None,
    typer.Option("--schema", metavar="FILE|-", help="The answer is JSON that fits this JSON Schema."),
]


def find_model(model: str, fetch: Fetch | None = None) -> Model:
    """The GGUF that MODEL stands for; made on the way, in sight of the person. Without `fetch` nothing is fetched."""
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    return resolve(model, Store.default(), WorkProgress, fetch)
