"""`run` and `render`: talk to a model, or see what it would see."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    ImageOption,
    JsonOption,
    JsonOutputOption,
    KeysOption,
    LicenceOption,
    MaxTokensOption,
    MinPOption,
    MmprojOption,
    ModelArgument,
    NoTypeaheadOption,
    PersonaOption,
    SchemaOption,
    SeedOption,
    SpeculationOption,
    SystemOption,
    TemperatureOption,
    TemplateOption,
    ThreadsOption,
    ToolsOption,
    TopKOption,
    TopPOption,
    TypeaheadOption,
    YesOption,
    find_model,
)
from minichat.commands.variadic import TellsOfImage
from minichat.inputs import read_question
from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minichat.formats import Format
    from minichat.models import Model
    from minichat.settings import Setting
    from minichat.tools.toolbox import Toolbox

app = typer.Typer()


@app.command(
    cls=TellsOfImage,
    short_help="Chat with a model, or get one answer.",
    epilog="\b\nExamples:\n"
    "  minichat run demo\n"
    '  minichat run demo "How do I convert a checkpoint?"\n'
    '  git diff | minichat run mistral-small "Write a commit message for this"\n'
    "  minichat run --continue\n"
    "  minichat run mistral-small --session garden\n"
    '  minichat run ./model.gguf --system "Answer in French." --temperature 0.2\n'
    '  minichat run mistral-small3.1 --image photo.jpg "What is this?"\n'
    '  minichat run mistral-small --tools weather.py "Is it warm in Rome?"\n'
    '  minichat run demo --schema person.json "Ada Lovelace, 36, London"\n'
    "\n\b\nIn the chat: Enter sends, Alt-Enter makes a new line, Ctrl-C stops\n"
    "the answer, Ctrl-D leaves, /help tells more.",
)
def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="As above; may be left out with --continue, or where settings name one: a word that names no model is "
            "the PROMPT then.",
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="One question, one answer. `-` reads standard input.")
    ] = None,
    continues: Annotated[bool, typer.Option("-c", "--continue", help="Go on with the last session.")] = False,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with the session of this name, or begin it.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Write nothing of this conversation to the disk.")] = False,
    persona: PersonaOption = None,
    system: SystemOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
    image: ImageOption = None,
    image_max_tokens: ImageMaxTokensOption = None,
    mmproj: MmprojOption = None,
    messages: Annotated[
        str | None,
        typer.Option("--messages", metavar="FILE|-", help="What was said before, as JSON in OpenAI's shape."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Go on with PROMPT as it stands: no template, as for a base model.")
    ] = False,
    ctx: CtxOption = None,
    cache_type: CacheTypeOption = None,
    flash_attention: FlashAttentionOption = None,
    device: DeviceOption = None,
    gpu_layers: GpuLayersOption = None,
    threads: ThreadsOption = None,
    draft: DraftOption = None,
    speculation: SpeculationOption = None,
    template: TemplateOption = None,
    tools: ToolsOption = None,
    allow_tools: Annotated[bool, typer.Option("--allow-tools", help="Run calls of tools without asking.")] = False,
    form: FormatOption = None,
    json_output: JsonOutputOption = False,
    schema: SchemaOption = None,
    keys: KeysOption = None,
    typeahead: TypeaheadOption = None,
    no_typeahead: NoTypeaheadOption = False,
    plain: Annotated[bool, typer.Option("--plain", help="For screen readers: nothing is redrawn.")] = False,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    stats: Annotated[bool, typer.Option("--stats", help="One answer's cost, to standard error.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Chat with a model, or get one answer with a PROMPT or piped input.

    MODEL is a name, `demo`, a .gguf file, a checkpoint folder, or a repo on the hub. Piped text comes first, then a
    blank line, then PROMPT. Standard output carries only the answer.

    Pictures (JPEG, PNG, WebP, GIF) come before the prompt, for models that see; `--image -` reads one from standard
    input. In a chat, @photo.jpg in a message attaches one. Those in --messages are paths, from the folder of that file
    on, or data: URLs.

    A chat is kept as a session (`minichat sessions` lists them). One answer is not, unless --session or --continue say
    so: then it is asked behind what was said before.

    Tools are a JSON list in OpenAI's shape, each with a "command" that gets the arguments as JSON on standard input, or
    a .py file of functions. You are asked before a call runs. A call that nothing runs is printed as JSON.
    """
    from minichat import asking, chat, oneshot
    from minichat.choices import Choices
    from minichat.commands.choosing import model_and_prompt, open_memory, open_model, run_options
    from minichat.settings_file import load_settings
    from minichat.sight import check_sees, with_mmproj

    given = {
        "system": system, "temperature": temperature, "top-k": top_k, "top-p": top_p, "min-p": min_p, "seed": seed,
        "max-tokens": max_tokens, "image-max-tokens": image_max_tokens,
        "ctx": ctx, "device": device, "gpu-layers": gpu_layers, "threads": threads,
        "cache-type": cache_type, "flash-attention": flash_attention,
        "template": template, "draft": draft, "speculation": speculation,
        "keys": keys, "plain": plain or None, "private": private or None,
        "typeahead": "off" if no_typeahead else typeahead,
        "format": asked_format(form, json_output, schema, tools),
    }  # fmt: skip
    settings = load_settings()
    choices = Choices(settings, persona, given, os.environ)
    chosen = choices.chosen()
    goes_on = continues or session is not None  # which says more than a setting that keeps nothing
    memory = open_memory(continues, session, private or (bool(chosen["private"].value) and not goes_on))
    if memory.saved is not None:
        choices = replace(choices, saved={"system": memory.saved.system or ""})
    default = memory.saved.model if memory.saved is not None and memory.saved.model else settings.model_for(persona)
    model, prompt = model_and_prompt(model, prompt, default)
    answer_form = _early_form(chosen, schema, prompt)
    toolbox = _toolbox(tools, allow_tools)
    along = asking.bring(image or [], messages)
    question = read_question(prompt, along.takes_stdin, bool(along.images) or along.has_messages)
    if question is None and along.has_messages:
        question = ""
    said = {name for name, value in (given | {"tools": tools}).items() if value}
    asking.check_form(along, question, raw, said, goes_on)
    begun = asking.as_typed(image or []) if question is None else ""
    if question is None and not sys.stdout.isatty():
        raise UsageError("no prompt: give one after MODEL, pipe one in, or start the chat in a terminal")
    if question is None and (as_json or stats):
        asked = "--json and --stats are" if as_json and stats else "--json is" if as_json else "--stats is"
        raise UsageError(f"{asked} for one answer: give a prompt after MODEL, or pipe one in")
    found = with_mmproj(find_model(model, fetching(yes, accept_licence, threads)), mmproj)
    if along.has_pictures:
        check_sees(found)
    use(found, accept_licence)
    if draft:
        use(find_model(draft, fetching(yes, accept_licence, threads)), accept_licence)
    choices = choices.for_model(found, model)
    options = replace(run_options(choices, toolbox, allow_tools), memory=memory, raw=raw)
    if along.has_system:
        options = replace(options, system=None)
    if schema == "-":
        options = replace(options, form=answer_form)  # standard input can be read once
    if toolbox is not None and options.form.grammar:
        raise UsageError("an answer that must be JSON cannot call tools: leave --tools out, or take --format text")
    if question is None:
        chat.chat(found, options, choices, open_model, begun)
    else:
        if (hint := asking.hint(prompt or "", image or [])) is not None:
            from minichat.terminal.output import say

            say(hint, "dim", stream=sys.stderr)
        oneshot.answer(found, question, options, as_json, stats, along)


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
    image_max_tokens: ImageMaxTokensOption = None,
    mmproj: MmprojOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the exact text and token ids that the model would see for a conversation.

    Pictures are paths, from the folder of FILE on, or data: URLs.
    """
    from minichat import asking, reports
    from minichat.conversation import Conversation
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from minichat.sight import Sight, check_sees, seeing, with_mmproj
    from minichat.templates import template_of

    along = asking.bring([], messages)
    toolbox = _toolbox(tools)
    found = with_mmproj(find_model(model), mmproj)
    if along.has_pictures:
        check_sees(found)
    with (
        Sight(found, image_max_tokens, along.folder, keeps=False) as sight,
        seeing(Engine(found.path, LoadOptions(vocab_only=True)), sight, found) as engine,
    ):
        version = template_of(found, engine.wait_loaded(), template)
        if version is None:
            raise DataError(f"{model} is a base model: it has no template to render (--template names one)")
        offered = toolbox.tools if toolbox else ()
        talk = list(along.messages)
        conversation = Conversation(version, messages=talk, tools=offered, embedded=engine.apply_template)
        tokens, spans = engine.tokenize(conversation.pieces())
    reports.show_rendering(version, spans, tokens, as_json)


def asked_format(form: str | None, json_output: bool, schema: str | None, tools: str | None = None) -> str | None:
    """What --format, --json-output and --schema ask for, as the parameter `format`."""
    asked = [name for name, said in (("--format", form), ("--json-output", json_output), ("--schema", schema)) if said]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} both say what the answer looks like: leave one out")
    if (json_output or schema is not None) and tools is not None:
        raise UsageError("an answer that must be JSON cannot call tools: leave --tools out, or what asks for JSON")
    return "json" if json_output else schema if schema is not None and schema != "-" else form


def _early_form(chosen: Mapping[str, Setting], schema: str | None, prompt: str | None) -> Format:
    """The form of the answer, found out before a model is fetched or loaded."""
    from minichat import formats
    from minichat.settings import answer_format

    if schema != "-":
        return answer_format(chosen)
    if prompt is None or prompt == "-":
        raise UsageError("standard input cannot be both the schema and the prompt")
    return formats.from_schema(schema)


def _toolbox(file: str | None, allow_tools: bool = False) -> Toolbox | None:
    from minichat.tools.toolbox import load_tools

    if file is None and allow_tools:
        raise UsageError("--allow-tools lets calls run: --tools FILE gives the tools")
    return load_tools(Path(file)) if file is not None else None


def use(model: Model, accept_licence: bool) -> None:
    """What comes before a model's use: its licence, and when it was used last."""
    from minichat.gguf_model import licensed_file
    from minichat.licences import Licensed, ask_once
    from minichat.store import Store

    manifest = model.manifest
    ask_once(Licensed.of(manifest) if manifest else licensed_file(model.name, model.path), accept_licence)
    if manifest:
        Store.default().touch_used(manifest)
