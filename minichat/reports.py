"""What `list`, `show`, `render`, `convert` and `doctor` have to say: JSON for scripts, aligned text for people."""

from __future__ import annotations

import math
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

    from minichat.models import Model
    from minichat.store import Manifest

_PACKAGES = ("minichat", "llama-cpp-python", "numpy", "tiktoken", "rich", "prompt-toolkit", "typer")


def show_list(models: Sequence[Manifest], as_json: bool) -> None:
    if as_json:
        print_json([asdict(model) | {"full_name": model.full_name} for model in models])
    elif not models:
        say("no models here yet; try: minichat run demo", stream=sys.stderr)
    else:
        rows = [
            (m.full_name, format_bytes(m.size_bytes), _parameters(m.parameters), m.template or "none", m.created[:10])
            for m in models
        ]
        tables.print_table(("NAME", "SIZE", "PARAMETERS", "TEMPLATE", "CREATED"), rows, sys.stdout)


def show_model(model: Model, as_json: bool) -> None:
    from convert.gguf_file import read_header
    from quant.types import target_by_file_type

    header = read_header(model.path)
    metadata = header.metadata
    architecture = metadata.get("general.architecture", "unknown")
    file_type = metadata.get("general.file_type")
    target = target_by_file_type(file_type) if isinstance(file_type, int) else None
    kinds = Counter(tensor.kind.name for tensor in header.tensors)
    facts: dict[str, Any] = {
        "name": model.name,
        "file": str(model.path),
        "size_bytes": header.file_bytes,
        "architecture": architecture,
        "parameters": sum(math.prod(tensor.shape) for tensor in header.tensors),
        "quantization": target.name if target else None,
        "template": metadata.get("minichat.template"),
        "context_length": metadata.get(f"{architecture}.context_length"),
        "layers": metadata.get(f"{architecture}.block_count"),
        "width": metadata.get(f"{architecture}.embedding_length"),
        "heads": metadata.get(f"{architecture}.attention.head_count"),
        "kv_heads": metadata.get(f"{architecture}.attention.head_count_kv"),
        "vocabulary": len(tokens) if isinstance(tokens := metadata.get("tokenizer.ggml.tokens"), list) else None,
        "licence": metadata.get("general.license"),
        "tensors": dict(kinds.most_common()),
    }
    if as_json:
        print_json(facts)
        return
    for key in ("context_length", "vocabulary"):
        facts[key] = f"{facts[key]:,} tokens" if isinstance(facts[key], int) else facts[key]
    facts["size"] = format_bytes(facts.pop("size_bytes"))
    facts["parameters"] = f"{facts['parameters']:,}"
    facts["template"] = facts["template"] or "none: a base model"
    facts["tensors"] = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    tables.print_fields([(key.replace("_", " "), str(value)) for key, value in facts.items() if value], sys.stdout)


def show_converted(name: str, size_bytes: int, digest: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "size_bytes": size_bytes, "digest": digest})
    else:
        say(f"{clean_line(name)}  {format_bytes(size_bytes)}")


def show_removed(manifest: Manifest) -> None:
    say(f"removed {manifest.full_name}")


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
