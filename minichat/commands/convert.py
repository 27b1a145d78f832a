"""`convert`: a checkpoint folder to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minichat.commands.options import JsonOption
from quant.errors import DataError, UsageError
from quant.types import TARGET_NAMES

app = typer.Typer()


@app.command(
    short_help="Convert a checkpoint to a GGUF file.",
    epilog="\b\nExamples:\n"
    "  minichat convert ./Mistral-Small-24B-Instruct-2501\n"
    "  minichat convert ./Mistral-Small-24B-Instruct-2501 -q q8_0 --name mistral-small:24b-q8_0\n"
    "  minichat convert ./Ministral-8B-Instruct-2410 -q fp16 -o ministral.gguf\n"
    "  minichat convert ./my-fine-tune --search fine --report",
)
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A checkpoint folder, in Hugging Face's format or Mistral's own.")
    ],
    quant: Annotated[str, typer.Option("-q", "--quant", help=f"{', '.join(TARGET_NAMES)}.")] = "q4_K_M",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write this file, not into the store.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME:TAG", help="The name in the store.")] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare each tensor with its source: type, size, error.")
    ] = False,
    search: Annotated[
        str, typer.Option(metavar="standard|fine", help="How the scales of q4_K are found: llama.cpp's way, or better.")
    ] = "standard",
    template: Annotated[
        str, typer.Option(metavar="auto|none|NAME", help="What to record as the model's template; none: a base model.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="Threads.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint to a GGUF file, in one pass: into the store, or to a file with -o.

    Weights may be bf16, fp16, fp32, FP8 or int8, in one file or shards.
    """
    from convert.provenance import folder_name
    from minichat import models, reports
    from minichat.manifest import ModelName
    from minichat.store import Store
    from minichat.template import VERSIONS
    from minichat.terminal.progress import WorkProgress
    from quant.types import parse_target

    if output is not None and name is not None:
        raise UsageError("--name is for the store and --output for a file: give one of them")
    if output is not None and str(output) == "-":
        raise UsageError("--output -: a GGUF file is written in place, not to a pipe: name a file")
    if template not in ("auto", "none", *VERSIONS):
        raise UsageError(f"--template {template}: one of auto, none, {', '.join(VERSIONS)}")
    target = parse_target(quant).name
    if output == Path():
        raise UsageError("--output is empty: name a file")
    if not source.is_dir():
        raise DataError(f"{source}: not a folder") if source.exists() else models.missing(source, "folder")
    source = models.checkpoint_folder(source)
    options = models.ConvertOptions(threads, search, report, template)
    if output is None:
        store = Store.default()
        named = models.default_name(store, source, target)
        if name is not None:
            named = models.check_free(ModelName.parse(name))
        made = models.convert_into(store, source, target, named, WorkProgress, options)
        manifest = made.manifest
        reports.show_converted(manifest.full_name, manifest.size_bytes, manifest.blob, made.report, report, as_json)
        return
    with WorkProgress(f"converting {folder_name(source) or source} to {target}") as work:
        found = models.convert_file(source, output, target, None, work, options)
    for remark in models.remarks(found):
        WorkProgress.note(remark)
    reports.show_converted(str(output), found.size_bytes, f"sha256-{found.sha256}", found, report, as_json)
