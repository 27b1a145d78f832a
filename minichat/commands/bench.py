"""`bench`: how fast a model is on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from minichat.commands.hub import fetching
from minichat.commands.options import (
    INT32,
    CacheTypeOption,
    CtxOption,
    DeviceOption,
    FlashAttentionOption,
    GpuLayersOption,
    JsonOption,
    LicenceOption,
    ModelArgument,
    ThreadsOption,
    YesOption,
    find_model,
)
from quant.errors import UsageError

if TYPE_CHECKING:
    from minichat.parameters import Value

app = typer.Typer()


@app.command(
    short_help="Measure how fast a model is here.",
    epilog="\b\nExamples:\n"
    "  minichat bench demo\n"
    "  minichat bench mistral-small --depths 0,4096 --repeats 5\n"
    "  minichat bench ./model.gguf --threads 4 --json > four.json\n"
    "\n\b\nCtrl-C ends it, and shows what was measured by then.",
)
def bench(
    model: ModelArgument,
    depths: Annotated[
        str | None, typer.Option("--depths", metavar="N,N", help="Tokens in the context before. [0,512,2048,8192]")
    ] = None,
    prompt: Annotated[
        int, typer.Option("--prompt", metavar="N", min=1, max=INT32, help="Tokens of the prompt that is read.")
    ] = 512,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, max=INT32, help="Tokens of the answer that is decoded.")
    ] = 64,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", min=1, max=1000, help="How often each is measured.")
    ] = 3,
    ctx: CtxOption = None,
    cache_type: CacheTypeOption = None,
    flash_attention: FlashAttentionOption = None,
    device: DeviceOption = None,
    gpu_layers: GpuLayersOption = None,
    threads: ThreadsOption = None,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast a model is on this machine: loading, reading prompts, decoding.

    Each is measured behind so many tokens as the context holds already (the depth), several times: the table has the
    median, and half of what lies between the lowest and the highest. First token is what one waits for after a prompt
    of that length. Depths that the context has no room for are left out. Nothing is guessed ahead.

    Settings are those of `minichat run` for this model.
    """
    from minichat.benchmark import DEPTHS, Plan, Result, measure
    from minichat.benchmark_report import show
    from minichat.choices import Choices
    from minichat.commands.chat import use
    from minichat.settings import load_options
    from minichat.settings_file import load_settings
    from minichat.terminal.progress import StatusLine

    plan = Plan(parse_depths(depths) if depths is not None else DEPTHS, prompt, tokens, repeats)
    given: dict[str, Value] = {
        "ctx": ctx, "cache-type": cache_type, "flash-attention": flash_attention,
        "device": device, "gpu-layers": gpu_layers, "threads": threads,
    }  # fmt: skip
    choices = Choices(load_settings(), None, given)
    found = find_model(model, fetching(yes, accept_licence, threads))
    use(found, accept_licence)
    options = load_options(choices.for_model(found, model).chosen())
    result, status = Result(plan), StatusLine(sys.stderr)
    try:
        measure(found.path, options, plan, result, status.show)
    except KeyboardInterrupt:
        status.clear()
        show(found.name, result, as_json, interrupted=True)
        raise
    finally:
        status.clear()
    show(found.name, result, as_json, interrupted=False)
    if not result.complete_rows:
        raise UsageError(f"nothing fits: the context holds {result.ctx:,} tokens; give smaller --depths or --prompt")


def parse_depths(text: str) -> list[int]:
    """The numbers in a list with commas. UsageError for what is none.

    >>> parse_depths("0, 4096")
    [0, 4096]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(f"--depths {text[:40]!r}: numbers of tokens with commas between, such as 0,4096")
    return [int(part) for part in parts]
