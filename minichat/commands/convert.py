"""`convert`: a checkpoint, in a folder or on the hub, to a GGUF file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minichat.commands.options import (
    JsonOption,
    LicenceOption,
    ProjectorTypeOption,
    ThreadsOption,
    YesOption,
    projector_type,
)
from quant.errors import DataError, UsageError
from quant.types import TARGET_NAMES

if TYPE_CHECKING:
    from convert.report import Report
    from minichat.making import Converted, ConvertOptions
    from minichat.manifest import ModelName
    from minichat.pull import Agree
    from minichat.wanted import Wanted

app = typer.Typer()
_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,95}", re.ASCII)  # what may stand in the catalog


@app.command(
    short_help="Convert a checkpoint to a GGUF file.",
    epilog="\b\nExamples:\n"
    "  minichat convert ./Mistral-Small-24B-Instruct-2501\n"
    "  minichat convert ./Mistral-Small-24B-Instruct-2501 -q q8_0 --name mistral-small:24b-q8_0\n"
    "  minichat convert ./Ministral-8B-Instruct-2410 -q fp16 -o ministral.gguf\n"
    "  minichat convert ./my-fine-tune --search fine --report\n"
    "  minichat convert ./Mistral-Small-3.1-24B-Instruct-2503 --mmproj q8_0 -o small.gguf\n"
    "  minichat convert mistralai/Mistral-Nemo-Instruct-2407 -q q6_K --yes",
)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint folder, in Hugging Face's format or Mistral's own; or a repo of one on the hub.",
        ),
    ],
    quant: Annotated[
        str | None, typer.Option("-q", "--quant", help=f"{', '.join(TARGET_NAMES)}; q4_K_M if nothing is said.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write this file, not into the store.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME:TAG", help="The name in the store.")] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare each tensor with its source: type, size, error.")
    ] = False,
    search: Annotated[
        str, typer.Option(metavar="standard|fine", help="How the scales of q4_K are found: llama.cpp's way, or better.")
    ] = "standard",
    mmproj: ProjectorTypeOption = None,
    template: Annotated[
        str, typer.Option(metavar="auto|none|NAME", help="What to record as the model's template; none: a base model.")
    ] = "auto",
    threads: ThreadsOption = None,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint to a GGUF file, in one pass: into the store, or to a file with -o.

    Weights may be bf16, fp16, fp32, FP8 or int8, in one file or shards. Those of a repo on the hub are converted while
    they arrive; into the store, an interruption loses nothing, and with -o it begins anew.

    A model that sees becomes two files: the second, which reads its pictures, is kept with the first in the store; with
    -o FILE it is mmproj-FILE beside it.
    """
    from minichat import conversion_report, making
    from minichat.manifest import DEFAULT_TAG, ModelName
    from minichat.template import VERSIONS
    from quant.types import parse_target

    if output is not None and name is not None:
        raise UsageError("--name is for the store and --output for a file: give one of them")
    if output is not None and str(output) == "-":
        raise UsageError("--output -: a GGUF file is written in place, not to a pipe: name a file")
    if template not in ("auto", "none", *VERSIONS):
        raise UsageError(f"--template {template}: one of auto, none, {', '.join(VERSIONS)}")
    target = parse_target(quant or DEFAULT_TAG).name
    if output == Path():
        raise UsageError("--output is empty: name a file")
    named = making.check_free(ModelName.parse(name)) if name is not None else None
    options = making.ConvertOptions(threads, search, report, template, projector_type(mmproj))
    if (wanted := _on_hub(source, quant)) is not None:
        from minichat.commands.hub import asking

        made = _convert_repo(wanted, named, output, asking(yes, accept_licence), options)
    else:
        made = _convert_folder(_folder(source), target, named, output, options)
    if isinstance(made, making.Converted):
        manifest = made.manifest
        conversion_report.show_converted(
            manifest.full_name, manifest.total_bytes, manifest.blob, made.report, report, as_json
        )
    else:
        conversion_report.show_converted(str(output), made.size_bytes, f"sha256-{made.sha256}", made, report, as_json)


def _on_hub(source: str, quant: str | None) -> Wanted | None:
    """What SOURCE means on the hub: an address, or a name of the catalog; None for what is, or should be, a folder."""
    from minichat import models

    if models.is_path(source) or models.is_there(Path(source)):
        return None
    return models.on_hub(source, quant) or (models.in_catalog(source, quant) if _NAME.fullmatch(source) else None)


def _folder(source: str) -> Path:
    from minichat import making, models

    folder = models.expanded(source)
    if not models.is_there(folder):
        raise models.missing(folder, "folder")
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    return making.checkpoint_folder(folder)


def _convert_folder(
    folder: Path, target: str, named: ModelName | None, output: Path | None, options: ConvertOptions
) -> Converted | Report:
    from convert.provenance import folder_name
    from minichat import making
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    if output is None:
        store = Store.default()
        default = making.default_name(store, folder, target)
        return making.convert_into(store, folder, target, named or default, WorkProgress, options)
    with WorkProgress(f"converting {folder_name(folder) or folder} to {target}") as work:
        report = making.convert_file(folder, output, making.projector_beside(output), target, None, work, options)
    for remark in making.remarks(report):
        WorkProgress.note(remark)
    return report


def _convert_repo(
    wanted: Wanted, named: ModelName | None, output: Path | None, agree: Agree, options: ConvertOptions
) -> Converted | Report:
    from minichat.pull import make_file, pull
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress
    from minichat.wanted import checkpoint_of

    wanted = checkpoint_of(wanted, named)
    if output is None:
        return pull(wanted, Store.default(), WorkProgress, agree, options)
    return make_file(wanted, output, WorkProgress, agree, options)
