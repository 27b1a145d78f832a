"""The engine's process: begun early, given once, never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import MINICHAT

from minichat.engine import starting
from minichat.engine.client import Engine
from quant.errors import EngineError

ROOT = Path(__file__).parents[1]
MARK = "MINICHAT_TEST_MARK"


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    starting.discard_early()
    yield
    starting.discard_early()


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def marked(mark: str) -> list[int]:
    """The processes that have inherited `mark` in their environment, and are not this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def test_the_first_engine_takes_the_early_process_and_the_second_its_own() -> None:
    starting.start_early()
    starting.start_early()  # once is enough
    early = starting._early[0][0].pid
    with Engine(None) as first, Engine(None) as second:
        assert first._process.pid == early != second._process.pid
        assert first.describe()["system"] == second.describe()["system"]
    assert not is_there(early)


def test_an_early_process_that_died_meanwhile_is_replaced() -> None:
    starting.start_early()
    early = starting._early[0][0]
    early.kill()
    early.wait()
    with Engine(None) as engine:
        assert engine._process.pid != early.pid
        assert engine.describe()


def test_an_early_process_that_nobody_needs_is_ended() -> None:
    starting.start_early()
    early = starting._early[0][0].pid
    starting.discard_early()
    assert not is_there(early)
    starting.discard_early()


def test_a_process_that_cannot_be_started_is_told_of_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nothing/here")
    starting.start_early()
    with pytest.raises(EngineError, match="the engine cannot be started: No such file"):
        Engine(None)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("arguments", [["run", "--nonsense"], ["run", "./none.gguf", "hello"], ["map", "--help"]])
def test_a_command_that_ends_early_leaves_no_process(arguments: list[str], tmp_path: Path) -> None:
    mark = str(tmp_path)
    done = subprocess.run(
        [*MINICHAT, *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=os.environ | {MARK: mark}
    )
    assert done.returncode in (0, 2, 3)
    for _ in range(50):
        if not (left := marked(mark)):
            break
        time.sleep(0.02)
    assert not left


def test_modules_of_the_current_folder_are_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("quant", "minichat", "json", "llama_cpp"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert "" not in starting.folders()
    assert starting.folders().count(str(ROOT)) == 1
    with Engine(None) as engine:
        assert engine.describe()


def test_llama_cpp_is_found_where_only_a_finder_of_the_installation_knows_it() -> None:
    """The engine's Python runs no .pth file by itself; here they are what puts llama_cpp on the path."""
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from minichat.engine import binding\n"
        "assert not any(folder.endswith('site-packages') for folder in sys.path)\n"
        "print(bool(binding.load().llama_backend_init))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_first_request_waits_for_no_import_of_a_later_one() -> None:
    """The engine's own module brings nothing that is not needed to hear of a request."""
    code = "import sys, minichat.engine.worker; print([m for m in ('minichat.tokenizer', 'urllib.request', 'ctypes',"
    code += (
        " 'minichat.engine.llama', 'minichat.template.version', 'importlib.metadata', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
