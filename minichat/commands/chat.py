"""`run` and `render`: talk to a model, or see what it would see."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minichat.commands.hub import fetching
from minichat.commands.options import (
    INT32,
    JsonOption,
    LicenceOption,
    ModelArgument,
    TemplateOption,
    ThreadsOption,
    ToolsOption,
    YesOption,
    find_model,
)
from minichat.inputs import read_question, read_text
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from minichat.engine.types import Device
    from minichat.formats import Format
    from minichat.models import Model
    from minichat.tools.toolbox import Toolbox

app = typer.Typer()


@app.command(
    short_help="Chat with a model, or get one answer.",
    epilog="\b\nExamples:\n"
    "  minichat run demo\n"
    '  minichat run demo "How do I convert a checkpoint?"\n'
    '  git diff | minichat run mistral-small "Write a commit message for this"\n'
    '  minichat run ./model.gguf --system "Answer in French." --temperature 0.2\n'
    '  minichat run mistral-small --tools weather.py "Is it warm in Rome?"\n'
    '  minichat run demo --schema person.json "Ada Lovelace, 36, London"\n'
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
        int | None, typer.Option(min=0, max=INT32, help="Draw from the K likeliest tokens; 0: from all.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="… that make up this much probability.")] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1, help="… at least this likely, next to the best.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same answer.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    ctx: Annotated[int | None, typer.Option(min=16, max=INT32, help="Context length, in tokens.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu", help="Where to compute.")] = "auto",
    gpu_layers: Annotated[int | None, typer.Option(min=0, max=INT32, help="Layers on the GPU.")] = None,
    threads: ThreadsOption = None,
    template: TemplateOption = None,
    tools: ToolsOption = None,
    allow_tools: Annotated[bool, typer.Option("--allow-tools", help="Run calls of tools without asking.")] = False,
    json_output: Annotated[bool, typer.Option("--json-output", help="The answer is a JSON object.")] = False,
    schema: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The answer is JSON that fits this JSON Schema.")
    ] = None,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    stats: Annotated[bool, typer.Option("--stats", help="One answer's cost, to standard error.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Chat with a model, or get one answer with a PROMPT or piped input.

    Piped text comes first, then a blank line, then PROMPT. Standard output carries only the answer.

    Tools are a JSON list in OpenAI's shape, each with a "command" that gets the arguments as JSON on standard input, or
    a .py file of functions. You are asked before a call runs. A call that nothing runs is printed as JSON.
    """
    from minichat import chat, oneshot
    from minichat.engine.types import LoadOptions, Sampling

    form = _format(json_output, schema, prompt, tools)
    toolbox = _toolbox(tools, allow_tools)
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
        toolbox,
        allow_tools,
        form,
    )
    found = find_model(model, fetching(yes, accept_licence, threads))
    use(found, accept_licence)
    if question is None:
        chat.chat(found, options)
    else:
        oneshot.answer(found, question, options, as_json, stats)


@app.command(
    short_help="Print the exact prompt that a model sees.",
    epilog="\b\nExamples:\n"
    '  echo \'[{"role": "user", "content": "Hello"}]\' | minichat render demo --messages -\n'
    "  minichat render demo --messages chat.json --json\n"
    "  minichat render mistral-small --messages chat.json --tools weather.json",
)
def render(
    model: ModelArgument,
    messages: Annotated[str, typer.Option("--messages", metavar="FILE|-", help="Messages as JSON, in OpenAI's shape.")],
    tools: ToolsOption = None,
    template: TemplateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the exact text and token ids that the model would see for a conversation."""
    from minichat import reports
    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from minichat.template.messages import parse_messages
    from minichat.templates import template_of

    talk = parse_messages(read_text(messages))
    toolbox = _toolbox(tools)
    found = find_model(model)
    with Engine(found.path, LoadOptions(vocab_only=True)) as engine:
        version = template_of(found, engine.wait_loaded(), template)
        if version is None:
            raise DataError(f"{model} is a base model: it has no template to render (--template names one)")
        offered = toolbox.tools if toolbox else ()
        conversation = Conversation(version, messages=talk, tools=offered, embedded=engine.apply_template)
        tokens, spans = engine.tokenize(conversation.pieces())
    reports.show_rendering(version, spans, tokens, as_json)


def _format(json_output: bool, schema: str | None, prompt: str | None, tools: str | None) -> Format:
    """What --json-output and --schema ask for, found out before a model is loaded."""
    from minichat import formats

    if json_output and schema is not None:
        raise UsageError("--schema says already that the answer is JSON: leave --json-output out")
    if (json_output or schema is not None) and tools is not None:
        raise UsageError("an answer that must be JSON cannot call tools: leave --tools out, or what asks for JSON")
    if schema == "-" and (prompt is None or prompt == "-"):
        raise UsageError("standard input cannot be both the schema and the prompt")
    if schema is not None:
        return formats.from_schema(schema)
    return formats.any_object() if json_output else formats.TEXT


def _toolbox(file: str | None, allow_tools: bool = False) -> Toolbox | None:
    from minichat.tools.toolbox import load_tools

    if file is None and allow_tools:
        raise UsageError("--allow-tools lets calls run: --tools FILE gives the tools")
    return load_tools(Path(file)) if file is not None else None


def _device(name: str) -> Device:
    match name:
        case "auto" | "cpu" | "gpu":
            return name
        case _:
            raise UsageError(f"--device {name}: one of auto, cpu, gpu")


def use(model: Model, accept_licence: bool) -> None:
    """What comes before a model's use: its licence, and when it was used last."""
    from minichat.gguf_model import licensed_file
    from minichat.licences import Licensed, ask_once
    from minichat.store import Store

    manifest = model.manifest
    ask_once(Licensed.of(manifest) if manifest else licensed_file(model.name, model.path), accept_licence)
    if manifest:
        Store.default().touch_used(manifest)
