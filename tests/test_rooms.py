"""The arrows between the rooms: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"quant": {"quant"}, "convert": {"quant", "convert"}, "minichat": {"quant", "convert", "minichat"}}
# Third-party packages that only some rooms may touch: path prefixes of their importers.
DOORS = {
    "llama_cpp": ("minichat/engine/binding.py", "quant/ggml.py", "minichat/demo/training/"),
    "numba": ("quant/lanes.py",),
    "PIL": ("minichat/pictures/reading.py", "minichat/demo/training/"),
    "rich": ("minichat/terminal/",),
    "prompt_toolkit": ("minichat/terminal/",),
    "huggingface_hub": ("minichat/hub/",),
    **dict.fromkeys(("socket", "ssl", "http", "urllib", "requests", "httpx", "httpx2"), ("minichat/hub/",)),
    "torch": ("minichat/demo/training/",),
    "transformers": ("minichat/demo/training/",),
    "mistral_common": ("minichat/demo/training/",),
}
# Inside minichat: modules that know almost nothing of the others.
QUIET = {
    "minichat/template/": {"minichat.template", "quant.errors"},
    "minichat/schema/": {"minichat.schema", "quant.errors"},
    "minichat/tools/": {
        *("minichat.template", "minichat.tools", "minichat.schema", "minichat.conversation", "minichat.engine.types"),
        "quant.errors",
    },
    "minichat/pictures/size.py": set(),
    "minichat/pictures/sources.py": {"quant.errors"},
    "minichat/pictures/reading.py": {"minichat.pictures.size"},
    "minichat/pictures/reader.py": {"minichat.engine.starting", "minichat.pictures.size", "quant.errors"},
    "minichat/pictures/keeping.py": {"minichat.folders", "quant.errors"},
    "minichat/pictures/album.py": {"minichat.pictures", "quant.errors"},
    "minichat/conversation.py": {"minichat.template"},
    "minichat/demos.py": set(),
    "minichat/manifest.py": {"minichat.demos", "minichat.hub.address", "quant.errors"},
    "minichat/folders.py": {"convert.publish"},
    "minichat/working.py": {"minichat.folders", "convert.lock", "quant.errors"},
    "minichat/blobs.py": {"minichat.manifest", "minichat.folders", "convert.publish"},
    "minichat/names.py": {"minichat.demos", "minichat.manifest", "minichat.folders", "convert.publish", "quant.errors"},
    "minichat/notices.py": {
        *("minichat.manifest", "minichat.names", "minichat.folders", "minichat.terminal.sanitize"),
        *("convert.publish", "quant.errors"),
    },
    "minichat/home.py": set(),
    "minichat/results.py": {"convert.lock", "quant.errors"},
    "minichat/inputs.py": {"minichat.pictures.sources", "minichat.terminal.output", "quant.errors"},
    "minichat/parameters.py": {"quant.errors"},
    "minichat/settings_file.py": {"minichat.home", "minichat.parameters", "quant.errors"},
    "minichat/session_message.py": {"minichat.template"},
    "minichat/worded.py": {"minichat.pictures.sources", "minichat.template"},
    "minichat/session_file.py": {"minichat.session_message", "minichat.template", "minichat.worded", "quant.errors"},
    "minichat/saved.py": {"minichat.session_file", "minichat.template"},
    "minichat/session_search.py": {"minichat.template", "minichat.worded"},
    "minichat/session.py": {"minichat.session_file", "minichat.conversation", "minichat.folders", "convert.publish"},
    "minichat/last_used.py": {"minichat.folders"},
    "minichat/store.py": {
        *("minichat.manifest", "minichat.names", "minichat.blobs", "minichat.notices", "minichat.last_used"),
        *("minichat.folders", "minichat.home", "minichat.working", "convert.lock", "convert.publish", "quant.errors"),
    },
    "minichat/other_tokenizer.py": {"minichat.tokenizer", "minichat.symbols", "quant.errors"},
    "minichat/tokenizer.py": {
        "minichat.other_tokenizer",
        "minichat.template",
        "minichat.tekken",
        "minichat.symbols",
        "convert.gguf_file",
        "quant.errors",
    },
}
FRONT = [
    "minichat.cli",
    "minichat.commands.program",
    "minichat.store",
    "minichat.models",
    "minichat.conversation",
    "minichat.sessions",
    "minichat.engine.client",
    "minichat.pictures.album",
    "minichat.terminal.repl",
]
HEAVY = [
    *("numpy", "PIL", "numba", "gguf", "llama_cpp", "tiktoken", "huggingface_hub", "httpx2", "rich.markdown", "torch"),
]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.Module) -> set[str]:
    """All modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # inside one folder, so inside one room
                continue
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in ("llama_cpp", "llama_cpp.llama_cpp"):
            found.add(node.value)  # for importlib
    return found


def test_rooms_are_imported_one_way() -> None:
    for file, tree in sources():
        allowed = ROOMS[file.split("/")[0]]
        for module in imports(tree):
            assert module.split(".")[0] not in set(ROOMS) - allowed, f"{file} imports {module}"


def test_heavy_packages_are_touched_by_their_rooms_only() -> None:
    for file, tree in sources():
        for module in imports(tree):
            doors = DOORS.get(module.split(".")[0])
            assert doors is None or file.startswith(doors), f"{file} imports {module}"


def test_quiet_modules_know_almost_nothing() -> None:
    for file, tree in sources():
        for prefix, allowed in QUIET.items():
            if file.startswith(prefix):
                for module in imports(tree):
                    ours = module.split(".")[0] in ROOMS
                    assert not ours or any(f"{module}.".startswith(f"{a}.") for a in allowed), f"{file}: {module}"


@pytest.mark.parametrize("module", FRONT)
def test_the_front_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_engine_leaves_the_llama_class_alone() -> None:
    code = "import sys; from minichat.engine import binding; binding.load(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
