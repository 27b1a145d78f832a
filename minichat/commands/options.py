"""Arguments and options that several commands share, spelled the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from minichat.parameters import INT32 as INT32
from minichat.parameters import PARAMETERS
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.models import Fetch, Model


def _chosen(name: str) -> OptionInfo:
    """The option of a parameter. Of limits, typer is told those that a number may have."""
    known = PARAMETERS[name]
    is_number = known.kind in ("number", "whole") and known.word is None
    low, high = (known.low, known.high) if is_number else (None, None)
    metavar = "|".join(known.choices) or (f"N|{known.word}" if known.word else None)
    option: OptionInfo = typer.Option(f"--{name}", min=low, max=high, help=known.help, metavar=metavar)
    return option


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
ProjectorTypeOption = Annotated[
    str | None,
    typer.Option(
        "--mmproj", metavar="fp16|q8_0|f32|none", help="How what it reads pictures with is kept; none: text only."
    ),
]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Fetch without asking.")]
LicenceOption = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the model's licence, where it is one that asks for that.")
]

# What is chosen for an answer, in `run` and in `map`: limits and help are those of the table of parameters.
SystemOption = Annotated[str | None, _chosen("system")]
PersonaOption = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="A persona of your settings (`minichat config`).")
]
TemperatureOption = Annotated[float | None, _chosen("temperature")]
TopKOption = Annotated[int | None, _chosen("top-k")]
TopPOption = Annotated[float | None, _chosen("top-p")]
MinPOption = Annotated[float | None, _chosen("min-p")]
SeedOption = Annotated[int | None, _chosen("seed")]
MaxTokensOption = Annotated[int | None, _chosen("max-tokens")]
ImageOption = Annotated[
    list[str] | None,
    typer.Option("--image", metavar="FILE|-", help="A picture that goes with the prompt; several: once for each."),
]
MmprojOption = Annotated[
    str | None,
    typer.Option(
        "--mmproj", metavar="FILE|none", help="What makes the model see, where it is not beside it; none: text only."
    ),
]
ImageMaxTokensOption = Annotated[int | None, _chosen("image-max-tokens")]
CtxOption = Annotated[str | None, _chosen("ctx")]
DeviceOption = Annotated[str | None, _chosen("device")]
GpuLayersOption = Annotated[str | None, _chosen("gpu-layers")]
CacheTypeOption = Annotated[str | None, _chosen("cache-type")]
FlashAttentionOption = Annotated[str | None, _chosen("flash-attention")]
DraftOption = Annotated[str | None, typer.Option("--draft", metavar="MODEL", help=PARAMETERS["draft"].help)]
SpeculationOption = Annotated[
    bool | None,
    typer.Option("--speculation/--no-speculation", help=PARAMETERS["speculation"].help, show_default=False),
]
FormatOption = Annotated[str | None, _chosen("format")]
TypeaheadOption = Annotated[str | None, _chosen("typeahead")]
NoTypeaheadOption = Annotated[bool, typer.Option("--no-typeahead", help="As --typeahead off.")]
KeysOption = Annotated[str | None, _chosen("keys")]
ThreadsOption = Annotated[int | None, _chosen("threads")]
JsonOutputOption = Annotated[bool, typer.Option("--json-output", help="The answer is a JSON object.")]
SchemaOption = Annotated[
    str | None,
    typer.Option("--schema", metavar="FILE|-", help="The answer is JSON that fits this JSON Schema."),
]


def projector_type(told: str | None) -> str | None:
    """What --mmproj names, as minichat spells it. UsageError for anything else.

    >>> projector_type("f16"), projector_type("none"), projector_type(None)
    ('fp16', 'none', None)
    """
    from minichat.gguf_names import spelled
    from minichat.making import NO_PROJECTOR
    from quant.types import PROJECTOR_NAMES

    chosen = told if told in (NO_PROJECTOR, None) else spelled(told or "")
    if chosen not in (*PROJECTOR_NAMES, NO_PROJECTOR, None):
        raise UsageError(f"--mmproj {(told or '')[:40]}: one of {', '.join(PROJECTOR_NAMES)}, {NO_PROJECTOR}")
    return chosen


def find_model(model: str, fetch: Fetch | None = None) -> Model:
    """The GGUF that MODEL stands for; made on the way, in sight of the person. Without `fetch` nothing is fetched."""
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    return resolve(model, Store.default(), WorkProgress, fetch)
