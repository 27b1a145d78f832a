"""`map`: one answer for each line of standard input, or for each picture."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from minichat.commands.hub import fetching
from minichat.commands.options import (
    CacheTypeOption,
    CtxOption,
    DeviceOption,
    DraftOption,
    FlashAttentionOption,
    FormatOption,
    GpuLayersOption,
    ImageMaxTokensOption,
    JsonOutputOption,
    LicenceOption,
    MaxTokensOption,
    MinPOption,
    MmprojOption,
    PersonaOption,
    SchemaOption,
    SeedOption,
    SpeculationOption,
    SystemOption,
    TemperatureOption,
    TemplateOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    YesOption,
    find_model,
)
from minichat.commands.variadic import IMAGES, TakesImages
from quant.errors import UsageError

app = typer.Typer()


@app.command(
    "map",
    cls=TakesImages,
    short_help="Answer each line of standard input, or each picture.",
    epilog="\b\nExamples:\n"
    '  minichat map demo "What is the capital of {line}?" < countries.txt\n'
    '  minichat map mistral-small "In French: {line}" < en.txt > fr.txt\n'
    "  cut -f2 mails.tsv | minichat map mistral-small --json \\\n"
    '      --schema mail.json "Who wants what? {line}" > mails.jsonl\n'
    '  minichat map mistral-small "Sum up: {line}" --resume sums.jsonl < texts.txt\n'
    '  tail -f log | minichat map mistral-small "Is this an error? {line}"\n'
    '  minichat map mistral-small3.1 "Describe it." --images *.jpg --json\n'
    "\n\b\nPut the prompt in quotes. {} is a place for the line, too, where there is no\n"
    "{line}. A blank line has a blank answer.",
)
def map_command(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="As for `run`; may be left out where settings name one.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question, with {line} where the line goes.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            IMAGES, metavar="FILE...", help="Pictures in place of lines: all words up to the next option, or patterns."
        ),
    ] = None,
    image_max_tokens: ImageMaxTokensOption = None,
    mmproj: MmprojOption = None,
    system: SystemOption = None,
    persona: PersonaOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
    ctx: CtxOption = None,
    cache_type: CacheTypeOption = None,
    flash_attention: FlashAttentionOption = None,
    device: DeviceOption = None,
    gpu_layers: GpuLayersOption = None,
    threads: ThreadsOption = None,
    draft: DraftOption = None,
    speculation: SpeculationOption = None,
    template: TemplateOption = None,
    form: FormatOption = None,
    json_output: JsonOutputOption = False,
    schema: SchemaOption = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Keep the answers here, and do not ask again for those there."),
    ] = None,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object for each line: its answer or its error.")
    ] = False,
) -> None:
    """Answer each line of standard input, in one line each, as the lines come.

    Lines know nothing of each other. Line breaks in an answer become blanks; --json shows it as it was. A line that
    cannot be answered (it is too long, its JSON was cut) leaves an empty line, is told on standard error, and makes the
    exit code 3 in the end.

    With --images there is an answer for each picture, and the prompt has no {line}. In front of the answer stand the
    name of the picture's file, and a tab. A picture that cannot be read is told, and the others go on.

    With --resume an interrupted run goes on where it was: the same command prints what is in FILE, asks for the rest,
    and for what had an error. FILE holds JSON lines.

    MODEL may be left out where the settings name one (`minichat config`).
    """
    from minichat.choices import Choices
    from minichat.commands.chat import asked_format, use
    from minichat.commands.choosing import model_and_prompt, run_options
    from minichat.inputs import Lines
    from minichat.mapped import LinePrompt, picture_files
    from minichat.mapping import map_lines, map_pictures
    from minichat.settings import answer_format
    from minichat.settings_file import load_settings
    from minichat.sight import check_sees, with_mmproj

    asked = model if prompt is None else prompt
    if asked is None:
        example = '"Describe it." --images *.jpg' if images else '"In French: {line}"'
        raise UsageError(f"no prompt: put one in quotes behind MODEL, as in `minichat map demo {example}`")
    files = picture_files(images) if images is not None else None
    if files is not None and "{line}" in asked:
        raise UsageError("--images has no lines: the prompt is the same for each picture, leave {line} out")
    line_prompt = LinePrompt.parse(asked) if files is None else None
    if files is None and sys.stdin.isatty():
        raise UsageError("no lines: pipe them in, or put `< FILE` behind the command")
    given = {
        "system": system, "temperature": temperature, "top-k": top_k, "top-p": top_p, "min-p": min_p, "seed": seed,
        "max-tokens": max_tokens, "image-max-tokens": image_max_tokens,
        "ctx": ctx, "device": device, "gpu-layers": gpu_layers, "threads": threads,
        "cache-type": cache_type, "flash-attention": flash_attention,
        "template": template, "draft": draft, "speculation": speculation,
        "format": asked_format(form, json_output, schema),
    }  # fmt: skip
    if schema == "-":
        raise UsageError(f"{'standard input has the lines: ' if files is None else ''}give the schema as a file")
    settings = load_settings()
    choices = Choices(settings, persona, given, os.environ)
    named, _ = model_and_prompt(None if prompt is None else model, prompt, settings.model_for(persona))
    answer_format(choices.chosen())  # a schema that is none is told before a model is fetched
    found = with_mmproj(find_model(named, fetching(yes, accept_licence, threads)), mmproj)
    if files is not None:
        check_sees(found)
    use(found, accept_licence)
    if draft:
        use(find_model(draft, fetching(yes, accept_licence, threads)), accept_licence)
    options = run_options(choices.for_model(found, named))
    if line_prompt is not None:
        map_lines(found, line_prompt, options, Lines(sys.stdin.buffer), as_json, resume)
    else:
        map_pictures(found, asked, options, files or [], as_json, resume)
