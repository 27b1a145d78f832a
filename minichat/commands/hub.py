"""`search`, `pull` and `import`: models from the hub, and from other programs on this disk."""

from __future__ import annotations

import sys
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

if TYPE_CHECKING:
    from minichat.foreign import Foreign
    from minichat.manifest import Manifest
    from minichat.models import Fetch
    from minichat.plan import Plan
    from minichat.pull import Agree, Source
    from minichat.wanted import Wanted

app = typer.Typer()


@app.command(
    short_help="Find models by name.",
    epilog="\b\nExamples:\n  minichat search\n  minichat search small\n  minichat search mistral 7b --json",
)
def search(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Parts of a name. Without: the whole catalog.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find models by name: first those that minichat knows, then the repos of the Hugging Face hub."""
    from minichat import search as searching
    from minichat.catalog import load_catalog

    def ask_hub(text: str, limit: int) -> list[searching.Found]:
        from minichat.hub.lookup import search as search_hub

        return list(search_hub(text, limit))

    word = " ".join(words or ())
    searching.show(word, searching.find(word, load_catalog(), ask_hub), as_json)


@app.command(
    short_help="Fetch a model into the store.",
    epilog="\b\nExamples:\n"
    "  minichat pull mistral-small\n"
    "  minichat pull mistral-small:24b-q8_0 --plan\n"
    "  minichat pull ministral:8b --yes --accept-licence\n"
    "  minichat pull mistralai/Mistral-Nemo-Instruct-2407 -q q6_K\n"
    "  minichat pull https://huggingface.co/ORG/REPO/blob/main/model-Q4_K_M.gguf\n"
    "\n\b\nIt asks before the first byte. Whatever ends it, the same command goes on.",
)
def pull(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name of the catalog, ORG/REPO[:QUANT], or a link to the hub.")
    ],
    quant: Annotated[str | None, typer.Option("-q", "--quant", help="The quantization: q4_K_M, q8_0, fp16, …")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what each quantization takes on the disk and in memory, and stop.")
    ] = False,
    mmproj: ProjectorTypeOption = None,
    yes: YesOption = False,
    accept_licence: LicenceOption = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model from the hub into the store, with what it reads pictures with, if it does.

    A ready GGUF file is fetched as it is; a checkpoint is quantized while it arrives, and never lies on the disk. Every
    byte is checked against the hub's sha256.
    """
    from minichat.conversion_report import show_converted
    from minichat.making import ConvertOptions
    from minichat.plan import show_grid
    from minichat.pull import find_grid, pull
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    wanted, projector = _wanted(model, quant), projector_type(mmproj)
    options = ConvertOptions(threads, projector=projector)
    if plan:
        from minichat.hub.transfer import Hub

        with Hub() as hub:
            show_grid(find_grid(hub, wanted, options), as_json)
        return
    made = pull(wanted, Store.default(), WorkProgress, asking(yes, accept_licence), options).manifest
    show_converted(made.full_name, made.total_bytes, made.blob, None, False, as_json)


@app.command(
    "import",
    short_help="Take a model of another program into the store.",
    epilog="\b\nExamples:\n"
    "  minichat import\n"
    "  minichat import mistral-small:24b --name mistral-small:ollama\n"
    "  minichat import ~/Downloads/model.gguf",
)
def import_model(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A name out of the list, or a .gguf file. Without: list.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME:TAG", help="The name in the store.")] = None,
    mmproj: Annotated[
        str | None,
        typer.Option("--mmproj", metavar="FILE|none", help="What it reads pictures with; none: text only."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the file, also where it could be linked.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a model that Ollama, LM Studio or Hugging Face's tools keep on this disk into the store, without a copy.

    The file is shared or linked where the disk can do that, and used in place otherwise.
    """
    from minichat import elsewhere, reports
    from minichat.importing import import_model
    from minichat.making import check_free
    from minichat.manifest import ModelName
    from minichat.store import Store
    from minichat.terminal.progress import WorkProgress

    if model is None:
        elsewhere.show_found(elsewhere.found(), as_json)
        return
    named = check_free(ModelName.parse(name)) if name is not None else None
    store = Store.default()
    foreign = _with_projector(_foreign(model), mmproj)
    made = import_model(foreign, store, WorkProgress, named, copy=copy)
    reports.show_imported(made, as_json)


def fetching(yes: bool, accept_licence: bool, threads: int | None = None) -> Fetch:
    """What `run` does with a model that is not here: pull it, after the same questions."""

    def fetch(wanted: Wanted) -> Manifest:
        from minichat.making import ConvertOptions
        from minichat.pull import pull
        from minichat.store import Store
        from minichat.terminal.progress import WorkProgress

        agree, options = asking(yes, accept_licence), ConvertOptions(threads)
        return pull(wanted, Store.default(), WorkProgress, agree, options).manifest

    return fetch


def asking(yes: bool, accept_licence: bool) -> Agree:
    """Shows the plan on stderr and asks, for the licence too. Nobody there to ask, and no --yes: UsageError."""

    def agree(source: Source, plan: Plan) -> None:
        from minichat.licences import ask_once
        from minichat.plan import show_plan
        from minichat.terminal.ask import can_ask, says_yes

        if not yes and not can_ask():
            raise UsageError(f"{plan.name} would have to be fetched, and nobody is there to ask: --yes fetches it")
        licensed = source.licensed(plan.name)
        if not can_ask():  # a refusal is one line
            ask_once(licensed, accept_licence)
        show_plan(plan, False, sys.stderr)
        if can_ask():
            ask_once(licensed, accept_licence)
        if not yes and not says_yes("Fetch it?", default=True):
            raise UsageError(f"{plan.name} was not fetched")

    return agree


def _wanted(model: str, quant: str | None) -> Wanted:
    """What is to be pulled. UsageError for what is no name, DataError for one that the catalog does not know."""
    from minichat import models
    from minichat.demos import is_demo
    from minichat.manifest import ModelName
    from minichat.store import Store

    if models.is_path(model):
        raise UsageError(f"{model} is a path: pull fetches from the hub (`minichat import` takes files that are here)")
    wanted = models.on_hub(model, quant) or models.in_catalog(model, quant)
    if wanted is None:
        name = ModelName.parse(model)
        if is_demo(name.name):
            raise UsageError(f"{name.name} comes with minichat, and need not be pulled: `minichat run {name}`")
        raise models.unknown(name, Store.default())
    return wanted


def _foreign(model: str) -> Foreign:
    """The one model of another program, or file, that is meant."""
    from minichat import elsewhere
    from minichat.models import expanded, is_there

    if model.lower().endswith(".gguf") and is_there(path := expanded(model)):
        return elsewhere.at(path)
    named = elsewhere.named(model, elsewhere.found())
    if not named:
        raise DataError(f"no program here has a model {model!r}: `minichat import` lists what there is")
    files = [foreign for foreign in named if foreign.kind == "gguf"]
    if not files:
        raise DataError(f"{model} is a checkpoint: `minichat convert {named[0].path}` makes a model of it")
    if len(files) > 1:
        kept = ", ".join(str(foreign.path) for foreign in files)
        raise DataError(f"several files are called {model}: {kept}; give the path of one")
    return files[0]


def _with_projector(model: Foreign, mmproj: str | None) -> Foreign:
    """The model, with what a person says that it reads pictures with. DataError if that is none, or another model's."""
    from dataclasses import replace

    from minichat import elsewhere, projectors
    from minichat.models import expanded

    if mmproj is None:
        return model
    if mmproj == "none":
        return replace(model, projector=None)
    path = expanded(mmproj)
    file = elsewhere.projector_at(path)
    projectors.check_sound(path, projectors.leading_keys(model.file), model.name, mmproj)
    return replace(model, projector=file)
