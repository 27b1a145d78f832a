"""What `list`, `show` and `render` have to say: JSON for scripts, aligned text for people."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.render import print_rendering
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_ago, format_bytes, format_parameters
from quant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from convert.gguf_file import GgufHeader
    from minichat.attention import Attention
    from minichat.importing import Imported
    from minichat.manifest import Manifest
    from minichat.models import Model
    from minichat.store import Removed

_SHORT_REVISION = 12
_MAX_TEXT = 1000  # characters of a field: room for a path, not for a flood


def show_list(
    models: Sequence[Manifest],
    n_damaged: int,
    as_json: bool,
    used: Callable[[Manifest], datetime | None] = lambda _: None,
) -> None:
    """The models in the store. used: when each was last used, `Store.used`."""
    if n_damaged:
        say(f"{n_damaged} of the models here cannot be listed: `minichat verify` tells why", stream=sys.stderr)
    times = [used(model) for model in models]
    if as_json:
        print_json(
            [
                asdict(model)
                | {"full_name": model.full_name, "total_bytes": model.total_bytes, "sees": model.sees}
                | {"used": time.isoformat() if time else None}
                for model, time in zip(models, times, strict=True)
            ]
        )
    elif not models and not n_damaged:
        say("no models here yet; try: minichat run demo", stream=sys.stderr)
    else:
        rows = [
            (
                m.full_name,
                format_bytes(m.total_bytes),
                format_parameters(m.parameters),
                m.target,
                f"{m.template or 'none'}{', pictures' if m.sees else ''}",
                f"{m.context_length:,}" if m.context_length else "unknown",
                format_ago(time),
            )
            for m, time in zip(models, times, strict=True)
        ]
        titles = ("NAME", "SIZE", "PARAMETERS", "QUANT", "TEMPLATE", "CONTEXT", "USED")
        tables.print_table(titles, rows, sys.stdout, drop=(2, 4, 5, 3, 6))


def show_model(model: Model, as_json: bool) -> None:
    """What a GGUF's header tells, and what the store knows of it."""
    facts, attention = _model_facts(model)
    sight: dict[str, Any] | None = facts["pictures"]
    if as_json:
        print_json(facts | {"attention": asdict(attention) if attention else None})
        return
    from minichat.attention import in_words

    source, bits = facts["source"], facts["bits_per_weight"]
    revision = (source["revision"] or "")[:_SHORT_REVISION] if source["repo"] else source["revision"]
    context, vocabulary = facts["context_length"], facts["vocabulary"]
    lines = {
        "name": facts["name"],
        "file": facts["file"],
        "used in place": facts["linked"],
        "architecture": facts["architecture"],
        "parameters": f"{facts['parameters']:,}",
        "quantization": ", ".join(filter(None, (facts["quantization"], bits and f"{bits:.2f} bits per weight"))),
        "template": _template_line(facts),
        "pictures": _sight_line(sight) if sight else None,
        "pictures' file": _projector_line(sight) if sight else None,
        "context length": f"{context:,} tokens" if context else None,
        "attention": in_words(attention) if attention else None,
        "memory": ", ".join(f"{format_bytes(m['total_bytes'])} at {m['ctx']:,} tokens" for m in facts["memory"]),
        "layers": facts["layers"],
        "width": facts["width"],
        "heads": facts["heads"],
        "kv heads": facts["kv_heads"],
        "vocabulary": f"{vocabulary:,} tokens" if vocabulary else None,
        "source": " @ ".join(filter(None, (source["repo"], revision))),
        "licence": ", ".join(_licence_parts(facts)),
        "notice": facts["notice"],
        "made by": f"minichat {facts['minichat_version']}" if facts["minichat_version"] else None,
        "recipe": facts["recipe"],
        "tensors": ", ".join(f"{count} {kind}" for kind, count in facts["tensors"].items()),
        "size": format_bytes(facts["total_bytes"]),
    }
    tables.print_fields([(name, _bounded(str(value))) for name, value in lines.items() if value], sys.stdout)


def show_licence(model: Model, as_json: bool) -> None:
    """`show --license`: under which licence a model is, what that binds to as far as we know, and its notice."""
    from minichat.licences import terms_of

    facts, _ = _model_facts(model)
    terms = terms_of(facts["licence"], facts["licence_name"])
    if as_json:
        told = {key: facts[key] for key in ("name", "licence", "licence_name", "licence_link", "notice", "source")}
        print_json(told | {"terms": asdict(terms) if terms else None})
        return
    source = facts["source"]
    lines = {
        "name": facts["name"],
        "licence": ", ".join(_licence_parts(facts)) or "none is told; ask whoever made the model",
        "allows": terms.allows if terms else None,
        "forbids": terms.forbids if terms else None,
        "what counts": terms.link if terms else None,
        "notice": facts["notice"],
        "source": source["repo"],
    }
    tables.print_fields([(name, _bounded(str(value))) for name, value in lines.items() if value], sys.stdout)


def _model_facts(model: Model) -> tuple[dict[str, Any], Attention | None]:
    """What is known of a model, and its attention. What the file says goes over what the store has written down."""
    from convert.gguf_file import read_header
    from minichat.facts import header_facts

    header, manifest = read_header(model.path), model.manifest
    facts = {"name": model.name, "file": str(model.path), "size_bytes": header.file_bytes, **header_facts(header)}
    facts["linked"] = None
    facts["pictures"] = sight = _sight(model, header)
    facts["total_bytes"] = facts["size_bytes"] + (sight["size_bytes"] if sight else 0)
    if manifest is not None:
        if facts["template_how"] != "recorded" and manifest.template is not None:
            facts |= {"template": manifest.template, "template_how": "recorded"}
        for key in ("licence", "licence_name", "notice"):
            facts[key] = facts[key] or getattr(manifest, key)
        if facts["source"]["repo"] is None:
            facts["source"] |= {"repo": manifest.repo, "revision": facts["source"]["revision"] or manifest.revision}
        facts["linked"] = manifest.linked
    return facts, facts.pop("attention")


def _sight(model: Model, header: GgufHeader) -> dict[str, Any] | None:
    """What a model reads pictures with, as data; None for one of text alone. DataError if that is of no use to it.

    memory_bytes: what reading pictures takes besides the model, up to the largest one.
    """
    if model.lacks is not None:
        raise DataError(model.lacks)
    if (path := model.projector) is None:
        return None
    from minichat.engine.eyesight import read_sound_projector
    from minichat.projectors import for_pictures

    with for_pictures(model.name):
        sound = read_sound_projector(path, header.metadata, model.name)
    told, most = asdict(sound.told), sound.told.max_tokens
    memory_bytes, size_bytes = sound.weight_bytes + sound.buffer_bytes(most), path.stat().st_size
    return {"file": str(path), "size_bytes": size_bytes, **told, "max_tokens": most, "memory_bytes": memory_bytes}


def _sight_line(sight: Mapping[str, Any]) -> str:
    step, side = sight["patch"] * sight["merge"], sight["longest_side"]
    largest = (
        f"up to {side:,} pixels on the longer side: {sight['max_tokens']:,} tokens, each of {step} × {step} pixels"
    )
    return f"{largest}, and {format_bytes(sight['memory_bytes'])} of memory besides the model's"


def _projector_line(sight: Mapping[str, Any]) -> str:
    parts = (sight["kind"], sight["quantization"], format_bytes(sight["size_bytes"]), sight["file"])
    return ", ".join(filter(None, parts))


def _template_line(facts: Mapping[str, Any]) -> str:
    match facts["template_how"], facts["template"]:
        case "recorded", template:
            return str(template)
        case "base", _:
            return "none: a base model"
        case _, str(template):
            return f"{template} ({facts['template_why']})"
        case "embedded", _:
            return "its own, of another family"
        case _:
            return f"not known: {facts['template_why']}"


def _licence_parts(facts: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(filter(None, (facts["licence"], facts["licence_name"], facts["licence_link"]))))


def show_removed(removed: Removed) -> None:
    """What was removed, what that freed, and why if that was nothing."""
    what = ""
    if removed.shared_with:
        what = f"; its file stays for {', '.join(removed.shared_with)}"
    elif removed.linked is not None:
        what = f"; its file stays where it belongs: {removed.linked}"
    elif removed.freed_bytes:
        what = f": {format_bytes(removed.freed_bytes)} freed"
    say(clean_line(f"removed {removed.name}{what}"))


def show_copied(manifest: Manifest) -> None:
    say(f"{manifest.full_name}  {format_bytes(manifest.total_bytes)}")


def show_imported(imported: Imported, as_json: bool) -> None:
    """What `import` took, and how: whether the other program may remove its file now."""
    made = imported.manifest
    if as_json:
        print_json(asdict(made) | {"full_name": made.full_name, "way": imported.way})
        return
    how = "the store has a file of its own" if made.linked is None else f"used in place: {made.linked}"
    say(clean_line(f"{made.full_name}  {format_bytes(made.total_bytes)}; {how}{'; it reads pictures' * made.sees}"))


def show_rendering(version: str, spans: Sequence[tuple[str, bool]], tokens: Sequence[int], as_json: bool) -> None:
    if as_json:
        print_json({"template": version, "text": "".join(text for text, _ in spans), "tokens": tokens}, indent=None)
    else:
        print_rendering(spans, sys.stdout)


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
