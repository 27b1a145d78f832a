"""What `list`, `show`, `render`, `convert` and `doctor` have to say: JSON for scripts, aligned text for people."""

from __future__ import annotations

import platform
import shutil
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minichat.terminal import tables
from minichat.terminal.output import print_json, say
from minichat.terminal.render import print_rendering
from minichat.terminal.sanitize import clean_line
from minichat.terminal.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convert.gguf_file import GgufHeader
    from convert.report import Report
    from minichat.manifest import Manifest
    from minichat.models import Model
    from minichat.store import Removed

_PACKAGES = ("minichat", "llama-cpp-python", "numpy", "numba", "tiktoken", "rich", "prompt-toolkit", "typer")
_SHORT_REVISION = 12
_MAX_TEXT = 1000  # characters of a field: room for a path, not for a flood


def show_list(models: Sequence[Manifest], n_damaged: int, as_json: bool) -> None:
    if n_damaged:
        say(f"{n_damaged} of the models here cannot be listed: `minichat verify` tells why", stream=sys.stderr)
    if as_json:
        print_json([asdict(model) | {"full_name": model.full_name} for model in models])
    elif not models and not n_damaged:
        say("no models here yet; try: minichat run demo", stream=sys.stderr)
    else:
        rows = [
            (
                m.full_name,
                format_bytes(m.size_bytes),
                _parameters(m.parameters),
                m.target,
                m.template or "none",
                m.created[:10],
            )
            for m in models
        ]
        tables.print_table(("NAME", "SIZE", "PARAMETERS", "QUANT", "TEMPLATE", "CREATED"), rows, sys.stdout)


def show_model(model: Model, as_json: bool) -> None:
    """What a GGUF's header tells. Metadata may hold anything: what is not of its kind counts as missing."""
    from convert.gguf_file import read_header
    from minichat.attention import in_words

    header = read_header(model.path)
    facts = {"name": model.name, "file": str(model.path), "size_bytes": header.file_bytes, **_header_facts(header)}
    attention = facts.pop("attention")
    if as_json:
        print_json(facts | {"attention": asdict(attention) if attention else None})
        return
    source, bits = facts["source"], facts["bits_per_weight"]
    licence = dict.fromkeys(filter(None, (facts["licence"], facts["licence_name"], facts["licence_link"])))
    revision = (source["revision"] or "")[:_SHORT_REVISION] if source["repo"] else source["revision"]
    context, vocabulary = facts["context_length"], facts["vocabulary"]
    lines = {
        "name": facts["name"],
        "file": facts["file"],
        "architecture": facts["architecture"],
        "parameters": f"{facts['parameters']:,}",
        "quantization": ", ".join(filter(None, (facts["quantization"], bits and f"{bits:.2f} bits per weight"))),
        "template": facts["template"] or "none: a base model",
        "context length": f"{context:,} tokens" if context else None,
        "attention": in_words(attention) if attention else None,
        "layers": facts["layers"],
        "width": facts["width"],
        "heads": facts["heads"],
        "kv heads": facts["kv_heads"],
        "vocabulary": f"{vocabulary:,} tokens" if vocabulary else None,
        "source": " @ ".join(filter(None, (source["repo"], revision))),
        "licence": ", ".join(licence),
        "notice": facts["notice"],
        "made by": f"minichat {facts['minichat_version']}" if facts["minichat_version"] else None,
        "recipe": facts["recipe"],
        "tensors": ", ".join(f"{count} {kind}" for kind, count in facts["tensors"].items()),
        "size": format_bytes(facts["size_bytes"]),
    }
    tables.print_fields([(name, _bounded(str(value))) for name, value in lines.items() if value], sys.stdout)


def _header_facts(header: GgufHeader) -> dict[str, Any]:
    from minichat.attention import read_attention
    from quant.types import target_by_file_type

    metadata = header.metadata

    def text(key: str) -> str | None:
        return value if isinstance(value := metadata.get(key), str) else None

    def count(key: str) -> int | None:
        return value if type(value := metadata.get(key)) is int else None

    def texts(key: str) -> list[str]:
        value = metadata.get(key)
        return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else []

    architecture = text("general.architecture") or "unknown"
    file_type = count("general.file_type")
    target = None if file_type is None else target_by_file_type(file_type)
    tokens = metadata.get("tokenizer.ggml.tokens")
    parameters = header.parameters
    return {
        "architecture": architecture,
        "parameters": parameters,
        "quantization": target.name if target else None,
        "bits_per_weight": 8 * sum(tensor.nbytes for tensor in header.weights) / parameters if parameters else None,
        "template": text("minichat.template"),
        "context_length": count(f"{architecture}.context_length"),
        "attention": read_attention(metadata, architecture),
        "layers": count(f"{architecture}.block_count"),
        "width": count(f"{architecture}.embedding_length"),
        "heads": count(f"{architecture}.attention.head_count"),
        "kv_heads": count(f"{architecture}.attention.head_count_kv"),
        "vocabulary": len(tokens) if isinstance(tokens, list) else None,
        "licence": text("general.license"),
        "licence_name": text("general.license.name"),
        "licence_link": text("general.license.link"),
        "notice": text("minichat.notice"),
        "source": {
            "repo": text("minichat.source.repo"),
            "revision": text("minichat.source.revision"),
            "sha256": dict(zip(texts("minichat.source.files"), texts("minichat.source.sha256"), strict=False)),
        },
        "minichat_version": text("minichat.version"),
        "recipe": text("minichat.recipe"),
        "tensors": dict(Counter(tensor.kind.name for tensor in header.tensors).most_common()),
    }


def show_converted(name: str, size_bytes: int, digest: str, report: Report | None, full: bool, as_json: bool) -> None:
    """What `convert` made; `full`: tensor by tensor. `report` is None for a file that another process has made."""
    if as_json:
        facts: dict[str, Any] = {"name": name, "size_bytes": size_bytes, "digest": digest}
        if report is not None:
            facts |= _conversion(report)
            facts |= {"tensors": [asdict(tensor) for tensor in report.tensors]} if full else {}
        print_json(facts)
        return
    if full and report is not None:
        _show_tensors(report)
    say(f"{clean_line(name)}  {format_bytes(size_bytes)}")


def _conversion(report: Report) -> dict[str, Any]:
    """A conversion's report as data, without its tensors."""
    return {
        "target": report.target,
        "architecture": report.architecture,
        "template": report.template,
        "parameters": report.parameters,
        "context_length": report.context_length,
        "bits_per_weight": report.bits_per_weight,
        "licence": report.licence,
        "notice": report.notice,
        "remarks": list(report.remarks),
    }


def _show_tensors(report: Report) -> None:
    """Each tensor's type, size and error, and then each type's, and the bits per weight in all."""
    rows = [
        (t.name, t.type, "×".join(map(str, t.shape)), format_bytes(t.size_bytes), f"{t.relative_error:.3%}")
        for t in report.tensors
    ]
    tables.print_table(("TENSOR", "TYPE", "SHAPE", "SIZE", "ERROR"), rows, sys.stdout, right=(3, 4))
    say("")
    pairs = []
    for kind in dict.fromkeys(t.type for t in report.tensors):
        of_kind = [t for t in report.tensors if t.type == kind]
        worst = max(t.relative_error for t in of_kind)
        size = format_bytes(sum(t.size_bytes for t in of_kind))
        pairs.append((kind, f"{len(of_kind)} tensors, {size}, error at most {worst:.3%}"))
    pairs.append(("in all", f"{report.bits_per_weight:.2f} bits per weight"))
    tables.print_fields(pairs, sys.stdout)
    say("")


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
    say(f"{manifest.full_name}  {format_bytes(manifest.size_bytes)}")


def show_rendering(version: str, spans: Sequence[tuple[str, bool]], tokens: Sequence[int], as_json: bool) -> None:
    if as_json:
        print_json({"template": version, "text": "".join(text for text, _ in spans), "tokens": tokens}, indent=None)
    else:
        print_rendering(spans, sys.stdout)


def show_doctor(as_json: bool) -> None:
    from minichat.engine.client import Engine
    from minichat.store import Store, home
    from quant.errors import EngineError

    engine_facts: dict[str, Any] = {"devices": [], "gpu_offload": False}
    try:
        with Engine(None) as engine:
            engine_facts = engine.describe()
    except EngineError as error:
        engine_facts["error"] = str(error)
    models = Store.default().models()
    disk = shutil.disk_usage(next(folder for folder in (home(), *home().parents) if folder.is_dir()))
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "engine": engine_facts,
        "folder": str(home()),
        "disk_free_bytes": disk.free,
        "models": len(models),
        "models_bytes": sum({model.blob: model.size_bytes for model in models}.values()),
    }
    if as_json:
        print_json(facts)
        return
    rows = [("python", f"{facts['python']} on {facts['system']}")]
    rows += [(name, version or "not installed") for name, version in facts["packages"].items()]
    for device in engine_facts["devices"]:
        memory = f"{format_bytes(device['free_bytes'])} free of {format_bytes(device['total_bytes'])}"
        rows.append(("device", f"{device['name']}: {device['description']} ({device['kind']}), {memory}"))
    if "error" in engine_facts:
        rows.append(("engine", engine_facts["error"]))
    rows += [
        ("gpu offload", "yes" if engine_facts["gpu_offload"] else "no: this build of llama.cpp computes on the CPU"),
        ("folder", f"{facts['folder']}, {format_bytes(disk.free)} free"),
        ("models", f"{len(models)}, {format_bytes(facts['models_bytes'])}"),
    ]
    tables.print_fields(rows, sys.stdout)


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _parameters(count: int) -> str:
    """
    >>> _parameters(23_572_403_200), _parameters(6_800_000)
    ('23.6B', '6.8M')
    """
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
