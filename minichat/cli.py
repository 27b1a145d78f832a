"""The command line: commands, options, exit codes; nothing else.

Each command imports what it needs when it runs, so that `--help` and the prompt are there at once. Every error that
minichat raises on purpose becomes one line on standard error and the exit code of its class (quant/errors.py);
130 is an interruption, 141 a pipe that was closed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from minichat.inputs import read_question, read_text
from quant.errors import DataError, MinichatError, StorageError, UsageError
from quant.types import TARGET_NAMES

if TYPE_CHECKING:
    from types import FrameType

    from minichat.engine.types import Device
    from minichat.models import Model

INTERRUPTED = 130
BROKEN_PIPE = 141
_INT32 = 2**31 - 1
# click's UsageError, wherever typer keeps its click: some versions use the package, others a copy of their own.
_WrongUsage: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="minichat",
    help="Chat with Mistral's models on your own machine, in the terminal.\n\n\b\n"
    "  minichat run demo                        chat with the small model that comes with minichat\n"
    '  minichat run demo "What is minichat?"    one answer\n'
    '  cat notes.txt | minichat run demo "Sum this up"\n'
    "  minichat convert ./Mistral-Small-24B-Instruct-2501 -q q4_K_M\n",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name in the store, `demo`, a .gguf file, or a checkpoint folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TemplateOption = Annotated[
    str | None,
    typer.Option("--template", metavar="NAME", help="Override the model's template: v3, v3-tekken, v7-tekken."),
]


def main() -> NoReturn:
    """The program. Never returns, never shows a traceback for what a user or a file did."""
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _leave)
    _open_missing_streams()
    code = 0
    try:
        # Not `app()`: it would take a closed pipe for an error of its own.
        command = typer.main.get_command(app)
        with command.make_context("minichat", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        code = end.exit_code
    except MinichatError as error:
        code = _report(str(error), error.exit_code)
    except _WrongUsage as error:
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        code = _report(error.format_message().rstrip(".") + where, UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:  # a full disk behind standard output, a path that no file can have
        code = _report(f"{error.filename or 'standard output'}: {error.strerror or error}", StorageError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "new thread" not in str(error):
            raise  # a defect
        code = _report("out of memory: close other programs, or give fewer --threads", StorageError.exit_code)
    if code in (BROKEN_PIPE, StorageError.exit_code):  # what is left in the buffer has no place to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _open_missing_streams() -> None:
    """A program may be started with its standard streams closed: then they lead nowhere."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """A polite kill: unwind, so that no half-written file and no engine stays behind."""
    raise SystemExit(128 + number)


def _report(message: str, code: int) -> int:
    from minichat.terminal.output import print_error

    try:
        print_error(message)
    except BrokenPipeError:
        pass
    return code


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        import importlib.metadata

        typer.echo(f"minichat {importlib.metadata.version('minichat')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    short_help="Chat with a model, or get one answer.",
    epilog="\b\nExamples:\n"
    "  minichat run demo\n"
    '  minichat run demo "How do I convert a checkpoint?"\n'
    '  git diff | minichat run mistral-small "Write a commit message for this"\n'
    '  minichat run ./model.gguf --system "Answer in French." --temperature 0.2\n'
    "\n\b\nIn the chat: Enter sends, Alt-Enter makes a new line, Ctrl-C stops\n"
    "the answer, Ctrl-D leaves, /help tells more.",
)
def run(
    model: ModelArgument,
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="One question, one answer. `-` reads standard input.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=99, help="0 always takes the likeliest token.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=0, max=_INT32, help="Draw from the K likeliest tokens; 0: from all.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="… that make up this much probability.")] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1, help="… at least this likely, next to the best.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same answer.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    ctx: Annotated[int | None, typer.Option(min=16, max=_INT32, help="Context length, in tokens.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu", help="Where to compute.")] = "auto",
    gpu_layers: Annotated[int | None, typer.Option(min=0, max=_INT32, help="Layers on the GPU.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="Threads on the CPU.")] = None,
    template: TemplateOption = None,
    stats: Annotated[bool, typer.Option("--stats", help="One answer's cost, to standard error.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Chat with a model, or get one answer with a PROMPT or piped input.

    Piped text comes first, then a blank line, then PROMPT. Standard output carries only the answer.
    """
    from minichat import chat
    from minichat.engine.types import LoadOptions, Sampling

    question = read_question(prompt)
    if question is None and not sys.stdout.isatty():
        raise UsageError("no prompt: give one after MODEL, pipe one in, or start the chat in a terminal")
    if question is None and (as_json or stats):
        raise UsageError("--json and --stats are for one answer: give a prompt after MODEL, or pipe one in")
    options = chat.RunOptions(
        system,
        Sampling(temperature, top_k, top_p, min_p, seed),
        max_tokens,
        LoadOptions(ctx, gpu_layers, threads, _device(device)),
        template,
    )
    if question is None:
        chat.chat(_find(model), options)
    else:
        chat.answer(_find(model), question, options, as_json, stats)


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


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models in the store."""
    from minichat import reports
    from minichat.store import Store

    store = Store.default()
    reports.show_list(store.models(), len(store.damaged()), as_json)


@app.command(
    short_help="Show what a model is.",
    epilog="\b\nExamples:\n  minichat show demo\n  minichat show ./model.gguf --json",
)
def show(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show what a model is: architecture, template, size, types of its tensors."""
    from minichat import reports

    reports.show_model(_find(model), as_json)


@app.command(epilog="\b\nExamples:\n  minichat rm demo:q8_0")
def rm(model: Annotated[str, typer.Argument(metavar="NAME:TAG", help="A name in the store.")]) -> None:
    """Remove a model from the store. Its file goes with the last name that stands for it."""
    from minichat import reports
    from minichat.manifest import ModelName
    from minichat.store import Store

    reports.show_removed(Store.default().remove(ModelName.parse(model)))


@app.command(
    short_help="Give a model a second name.", epilog="\b\nExamples:\n  minichat cp mistral-small:24b-q4_K_M mine:best"
)
def cp(
    source: Annotated[str, typer.Argument(metavar="NAME:TAG", help="A name in the store.")],
    destination: Annotated[str, typer.Argument(metavar="NEW_NAME:TAG", help="Its second name.")],
) -> None:
    """Give a model in the store a second name; the file itself is shared."""
    from minichat import models, reports
    from minichat.manifest import ModelName
    from minichat.store import Store

    named = models.check_free(ModelName.parse(destination))
    reports.show_copied(Store.default().copy(ModelName.parse(source), named))


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

    Of a .gguf file elsewhere, only the header can be checked. The exit code is 3 if anything is damaged.
    """
    from minichat import verification
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    if not verification.show_verdicts(verification.verify(model, Store.default(), WorkProgress), as_json):
        raise typer.Exit(DataError.exit_code)


@app.command(
    short_help="Print the exact prompt that a model sees.",
    epilog="\b\nExamples:\n"
    '  echo \'[{"role": "user", "content": "Hello"}]\' | minichat render demo --messages -\n'
    "  minichat render demo --messages chat.json --json",
)
def render(
    model: ModelArgument,
    messages: Annotated[str, typer.Option("--messages", metavar="FILE|-", help="Messages as JSON, in OpenAI's shape.")],
    template: TemplateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the exact text and token ids that the model would see for a conversation."""
    from minichat import reports
    from minichat.chat import template_of
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from minichat.template import render as render_template
    from minichat.template.messages import parse_messages

    conversation = parse_messages(read_text(messages))
    with Engine(_find(model).path, LoadOptions(vocab_only=True)) as engine:
        version = template_of(model, engine.wait_loaded(), template)
        if version is None:
            raise DataError(f"{model} is a base model: it has no template to render (--template names one)")
        tokens, spans = engine.tokenize(render_template(conversation, version))
    reports.show_rendering(version, spans, tokens, as_json)


@app.command(short_help="Show backends, devices, memory, versions.")
def doctor(as_json: JsonOption = False) -> None:
    """Show what minichat found on this machine: backends, devices, memory, versions, folders."""
    from minichat import reports

    reports.show_doctor(as_json)


# Help for the commands.


def _device(name: str) -> Device:
    match name:
        case "auto" | "cpu" | "gpu":
            return name
        case _:
            raise UsageError(f"--device {name}: one of auto, cpu, gpu")


def _find(model: str) -> Model:
    """The GGUF that MODEL stands for; a checkpoint is converted on the way, in sight of the person."""
    from minichat.models import resolve
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    return resolve(model, Store.default(), WorkProgress)
