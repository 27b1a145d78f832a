"""Whether models are whole: `minichat verify`.

Of a model in the store: its manifest makes sense, its file is there, is as long as it was, begins with a sound GGUF
header, and has the sha256 that it is named by; so, too, what it reads pictures with, which must go with the model. So
with a file of another program that is used in place. Of any other file there is no hash to hold it against; one beside
it that it reads pictures with is looked at as far as `run` would take it. The vocabulary is tried with strings and
conversations whose ids are known (`minichat.golden`). Nothing is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convert.digest import sha256_of
from convert.gguf_file import GgufHeader, read_header
from minichat.golden import TokenCheck, check_tokens
from minichat.manifest import KeptFile, Manifest, ModelName
from minichat.models import is_path
from minichat.projectors import beside, check_projector, check_sound, is_projector_header, leading_keys
from minichat.store import Store
from minichat.terminal import tables
from minichat.terminal.output import print_error, print_json, say
from minichat.terminal.units import format_bytes
from minichat.work import ShowWork
from quant.errors import DataError, EngineError, GgufError

_SEE_DOCTOR = "see whether `minichat doctor` finds a sound engine"
_UNREADABLE = "see who owns it, and whether its disk is sound"


@dataclass(frozen=True)
class Verdict:
    """What was found out about one model.

    problem: what is wrong, None if nothing is. advice: what to do about it. hash_checked: whether there is a recorded
    hash, and the content was held against it. tokens: what came of trying the vocabulary, None if that was not tried.
    linked: where another program keeps the file, if it is used in place. projector: what it reads pictures with; the
    verdict is on both, and so is size_bytes.
    """

    name: str
    file: Path
    size_bytes: int
    hash_checked: bool = False
    problem: str | None = None
    advice: str = ""
    linked: str | None = None
    tokens: TokenCheck | None = None
    projector: Path | None = None


def verify(wanted: str | None, store: Store, show_work: ShowWork) -> list[Verdict]:
    """The verdict on MODEL, a name in the store or a path; None: on every model in the store, damaged manifests too.

    Raises UsageError for what can be no name, DataError for what is neither a model here nor a file.
    """
    if wanted is not None and is_path(wanted):
        return [_judge_file(Path(wanted))]
    damaged = store.damaged()
    if wanted is None:
        models = store.models()
    else:
        name = ModelName.parse(wanted)
        if (path := store.manifest_path(name)) in damaged:
            return [_judge_manifest(path, damaged[path], store)]
        models, damaged = [store.get(name)], {}
    verdicts = _judge_models(models, store, show_work) if models else []
    return verdicts + [_judge_manifest(path, problem, store) for path, problem in damaged.items()]


def show_verdicts(verdicts: list[Verdict], as_json: bool) -> bool:
    """A table, or JSON, on stdout, and on stderr one line for each damaged model. Whether all are whole."""
    if as_json:
        print_json([_facts(verdict) for verdict in verdicts])
    elif not verdicts:
        say("no models here yet; try: minichat run demo", stream=sys.stderr)
    else:
        rows = [(v.name, format_bytes(v.size_bytes), _tokens(v), _result(v)) for v in verdicts]
        tables.print_table(("NAME", "SIZE", "TOKENS", "RESULT"), rows, sys.stdout, wraps=(3,))
    damaged = [verdict for verdict in verdicts if verdict.problem is not None]
    for verdict in damaged:
        print_error(f"{verdict.name} is damaged: {verdict.problem}; {verdict.advice}")
    return not damaged


def _tokens(verdict: Verdict) -> str:
    if verdict.tokens is None:
        return "-"
    return verdict.tokens.kind if verdict.tokens.problem is None else "wrong"


def _result(verdict: Verdict) -> str:
    if verdict.problem is not None:
        return "damaged"
    if verdict.linked is not None:
        return f"whole, used in place: {verdict.linked}"
    if verdict.hash_checked:
        return "whole"
    header = (
        f"sound headers, that of {verdict.projector.name}, too" if verdict.projector is not None else "sound header"
    )
    return f"{header}; no hash is recorded outside the store"


def _facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "file": str(verdict.file),
        "size_bytes": verdict.size_bytes,
        "whole": verdict.problem is None,
        "hash_checked": verdict.hash_checked,
        "tokens": None if verdict.tokens is None else asdict(verdict.tokens),
        "problem": verdict.problem,
        "linked": verdict.linked,
        "projector": None if verdict.projector is None else str(verdict.projector),
    }


def _judge_file(path: Path) -> Verdict:
    path = path.expanduser()
    if path.is_dir():
        raise DataError(f"{path} is a folder: verify checks models in the store and .gguf files")
    if not path.exists():
        raise DataError(f"{path}: no such file")
    verdict = Verdict(path.name, path, path.stat().st_size, advice="fetch it or convert it again")
    verdict, header = _with_header(verdict)
    if header is not None and is_projector_header(header.metadata):
        return _as_projector(verdict, header)
    if header is None:
        return verdict
    if (other := beside(path)) is not None:  # which is sound, and goes with the model
        verdict = replace(verdict, size_bytes=verdict.size_bytes + other.stat().st_size, projector=other)
    return _with_tokens(verdict, header, None)


def _judge_manifest(path: Path, problem: str, store: Store) -> Verdict:
    if path.parent == store.root / "manifests":  # what should be the folder of a name
        return Verdict(path.name, path, 0, problem=f"{path}: {problem}", advice="see who has put it there")
    name = f"{path.parent.name}:{path.stem}"
    advice = f"remove it with `minichat rm {name}` and convert the model again"
    return Verdict(name, path, 0, problem=f"{path}: {problem}", advice=advice)


def _judge_models(models: list[Manifest], store: Store, show_work: ShowWork) -> list[Verdict]:
    """A file that several names share is read once."""
    files = {kept: m for m in reversed(models) for kept in reversed(m.files)}  # the first of the names
    total, done = sum(kept.size_bytes for kept in files), 0
    title = models[0].full_name if len(models) == 1 else f"{len(models)} models"
    verdicts = {}
    with show_work(f"verifying {title}") as work:

        def on_bytes(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            work.update(done, total, model.full_name)

        for kept, model in reversed(files.items()):
            verdicts[kept] = _judge(kept, model, store, on_bytes)
    return [_named(_on_both(verdicts, m), m) for m in models]


def _named(verdict: Verdict, model: Manifest) -> Verdict:
    again = f"remove it with `minichat rm {model.full_name}` and convert it again from {model.source}"
    return replace(verdict, name=model.full_name, advice=verdict.advice or again)


def _on_both(verdicts: Mapping[KeptFile, Verdict], model: Manifest) -> Verdict:
    """The verdict on a model and on what it reads pictures with."""
    verdict = verdicts[model.file]
    if model.projector_file is None:
        return verdict
    other = verdicts[model.projector_file]
    both = replace(verdict, size_bytes=verdict.size_bytes + other.size_bytes, projector=other.file)
    if verdict.problem is not None:
        return both
    problem = other.problem or _misfit(verdict, other)
    if problem is None:
        return both
    return replace(both, problem=f"what it reads pictures with: {problem}", advice=other.advice)


def _misfit(model: Verdict, projector: Verdict) -> str | None:
    try:
        check_sound(projector.file, leading_keys(model.file), model.name)
    except OSError as error:
        return error.strerror or str(error)
    except DataError as error:
        return str(error)
    return None


def _judge(kept: KeptFile, model: Manifest, store: Store, on_bytes: Callable[[int], None]) -> Verdict:
    """The verdict on one file of a model."""
    path = store.blob(kept)
    if (problem := store.problem_of(kept)) is not None:
        return Verdict(model.full_name, path, 0, problem=problem, linked=kept.linked)
    verdict = Verdict(model.full_name, path, path.stat().st_size, linked=store.linked(kept))
    if verdict.size_bytes != kept.size_bytes:
        size = f"its file has {verdict.size_bytes:,} bytes, and had {kept.size_bytes:,}"
        return replace(verdict, problem=size)
    verdict, header = _with_header(verdict)
    if header is None:
        return verdict
    try:
        found = sha256_of(path, on_bytes)
    except BrokenPipeError:  # whoever was told of the progress has left
        raise
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
        return replace(verdict, problem=problem, advice=_UNREADABLE)
    if f"sha256-{found}" != kept.blob:
        return replace(verdict, hash_checked=True, problem=f"its content has changed (sha256 {found})")
    verdict = replace(verdict, hash_checked=True)
    if kept != model.file:
        return _as_projector(verdict, header)
    return _with_tokens(verdict, header, model.template)


def _as_projector(verdict: Verdict, header: GgufHeader) -> Verdict:
    try:
        check_projector(header, str(verdict.file))
    except GgufError as error:
        return replace(verdict, problem=str(error))
    return verdict


def _with_header(verdict: Verdict) -> tuple[Verdict, GgufHeader | None]:
    """The file's header; None, and the verdict with what is wrong with it, if anything is."""
    try:
        return verdict, read_header(verdict.file)
    except GgufError as error:
        unreadable = isinstance(error.__cause__, OSError)
        advice = _UNREADABLE if unreadable else verdict.advice
        return replace(verdict, problem=str(error), advice=advice), None


def _with_tokens(verdict: Verdict, header: GgufHeader, template: str | None) -> Verdict:
    """The verdict, with whether the vocabulary gives the ids that it should, as far as that can be known.

    A file that is what it was when its hash was recorded, and that llama.cpp does not take, is not damaged.
    """
    try:
        tokens = check_tokens(verdict.file, header, template)
    except EngineError as error:
        return replace(verdict, problem=f"its vocabulary cannot be loaded: {error}", advice=_SEE_DOCTOR)
    except DataError as error:
        if not verdict.hash_checked:
            return replace(verdict, problem=str(error))
        tokens = TokenCheck("not checked", str(error))
    return replace(verdict, tokens=tokens, problem=tokens.problem)
