"""The compiled kernels against ggml's, and how they come and go."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hard_weights import Weights, samples
from numpy.typing import NDArray

from quant import fast, ggml
from quant.errors import QuantError, UsageError
from quant.kernels import Quantizer, fast_kernels_installed, make_quantizer, quantize
from quant.types import by_name

pytest.importorskip("numba")
KINDS = ("q4_K", "q5_K", "q6_K")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def kernels() -> Iterator[fast.FastKernels]:
    """Compiled in the background, as for a conversion, unless they are in numba's cache."""
    made = fast.FastKernels()
    made.wait()
    yield made


def test_the_kernels_are_ready_and_agree_with_ggml(kernels: fast.FastKernels) -> None:
    assert fast_kernels_installed()
    assert kernels.ready
    assert Quantizer(kernels).is_fast


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", samples())
def test_bytes_are_ggmls(kernels: fast.FastKernels, kind: str, name: str) -> None:
    weights = samples()[name]
    kernel = kernels.get(kind)
    assert kernel is not None
    for values in (weights, (weights.view(np.uint32) & 0xFFFF0000).view(np.float32)):
        ours, theirs = (np.empty(by_name(kind).nbytes(values.size), np.uint8) for _ in range(2))
        kernel(values, ours)
        ggml.quantize(values, by_name(kind), theirs)
        different = np.flatnonzero((ours != theirs).reshape(-1, by_name(kind).block_bytes).any(axis=1))
        assert not different.size, f"blocks {different[:5]}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 256, 257])
def test_any_number_of_blocks(kernels: fast.FastKernels, kind: str, blocks: int) -> None:
    """Groups are of 8 blocks (Q4_K) and 4 (Q6_K); pieces of 256."""
    rows = np.random.default_rng(blocks).standard_normal((1, blocks * 256)).astype(np.float32)
    ours = Quantizer(kernels).quantize(rows, by_name(kind), "w")
    assert ours.tobytes() == quantize(rows, by_name(kind), "w").tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_numba_would_not_take(kernels: fast.FastKernels, kind: str) -> None:
    """Read-only, unaligned and transposed arrays."""
    rows = np.random.default_rng(3).standard_normal((512, 512)).astype(np.float32)
    expected = quantize(rows, by_name(kind), "w").tobytes()
    unaligned = np.frombuffer(b"\0" + rows.tobytes(), np.uint8)[1:].view(np.float32).reshape(512, 512)
    assert not (unaligned.flags.aligned or unaligned.flags.writeable)
    for same in (unaligned, np.ascontiguousarray(rows.T).T):
        assert Quantizer(kernels).quantize(same, by_name(kind), "w").tobytes() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.nan, "NaN weights"),
        (np.inf, "infinite weights"),
        (-np.inf, "infinite weights"),
        (1e9, "weights too large"),
        (1e30, "weights too large"),
    ],
)
@pytest.mark.parametrize("bfloat", [False, True])
def test_bad_weights_are_refused(kernels: fast.FastKernels, kind: str, bad: float, words: str, bfloat: bool) -> None:
    rows = np.full((4, 512), -0.5, np.float32)
    rows[3, 77] = bad
    with pytest.raises(QuantError, match=f"^blk.3.attn_q.weight holds {words}"):
        Quantizer(kernels).quantize(bits(rows) if bfloat else rows, by_name(kind), "blk.3.attn_q.weight")


def bits(rows: Weights) -> NDArray[np.uint16]:
    return (rows.view(np.uint32) >> 16).astype(np.uint16)


def test_many_threads_while_the_kernels_arrive(monkeypatch: pytest.MonkeyPatch, kernels: fast.FastKernels) -> None:
    arrived = threading.Event()
    load = fast.load

    def late(fine: bool) -> object:
        arrived.wait(30)
        return load(fine)

    monkeypatch.setattr(fast, "load", late)
    monkeypatch.setattr(fast, "pays", lambda *_: True)
    quantizer = make_quantizer(1 << 40)
    rng = np.random.default_rng(5)
    chunks = [rng.standard_normal((64, 1024)).astype(np.float32) for _ in range(4)]
    expected = {
        (i, kind): quantize(rows, by_name(kind), "w").tobytes() for i, rows in enumerate(chunks) for kind in KINDS
    }

    def work(number: int) -> bool:
        i, kind = number % 4, KINDS[number % 3]
        if number == 20:
            arrived.set()
        return quantizer.quantize(chunks[i], by_name(kind), "w").tobytes() == expected[i, kind]

    assert not quantizer.is_fast
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(120)))
    deadline = time.monotonic() + 30
    while not quantizer.is_fast and time.monotonic() < deadline:
        time.sleep(0.01)
    assert quantizer.is_fast
    assert all(map(work, range(12)))


def test_little_work_is_left_to_ggml() -> None:
    before = threading.active_count()
    quantizer = make_quantizer(1 << 20)
    assert not quantizer.is_fast
    assert threading.active_count() == before


def test_compiling_needs_more_work_than_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_is_compiled", lambda *_: True)
    loading = [fast.pays(millions * 10**6, 2) for millions in (1, 10, 100, 1000, 10000)]
    monkeypatch.setattr(fast, "_is_compiled", lambda *_: False)
    compiling = [fast.pays(millions * 10**6, 2) for millions in (1, 10, 100, 1000, 10000)]
    assert loading == [False, False, True, True, True]
    assert compiling == [False, False, False, True, True]


def compiled_in(folder: Path, monkeypatch: pytest.MonkeyPatch, python: str = fast._PYTHON) -> list[Path]:
    """What numba leaves beside the modules of `folder`, for a Python of this name."""
    (folder / "__pycache__").mkdir(exist_ok=True)
    cached = [folder / "__pycache__" / f"{name}-1.{python}.nbi" for name in ("fast_q4k.begin", "fast_q6k._quantize")]
    sources = [folder / path.name for path in (ROOT / "quant").glob("*.py")]
    for path in (*sources, *cached):
        path.touch()
        os.utime(path, (1000, 1000))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(fast, "_FOLDER", folder)
    return cached


def test_what_numba_will_not_read_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernels: fast.FastKernels
) -> None:
    """Code of another Python, or beside the modules while numba is told, or has, to keep its cache elsewhere."""
    assert kernels.ready
    assert fast._is_compiled(False) or os.environ.get("NUMBA_CACHE_DIR") or not os.access(ROOT / "quant", os.W_OK)
    compiled_in(tmp_path, monkeypatch, "py27")
    assert not fast._is_compiled(False)
    compiled_in(tmp_path, monkeypatch)
    assert fast._is_compiled(False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not fast._is_compiled(False)
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not fast._is_compiled(False)


def test_a_changed_source_makes_the_cache_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """numba would see it only in the module that was cached, not in one that it took parts from."""
    cached = compiled_in(tmp_path, monkeypatch)
    assert fast._is_compiled(False)
    assert not fast._is_compiled(True)
    os.utime(tmp_path / "lanes.py", (2000, 2000))
    assert not fast._is_compiled(False)
    assert sorted(fast._stale()) == sorted(cached)


def test_kernels_that_make_other_bytes_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_is_compiled", lambda *_: True)
    monkeypatch.setattr(fast, "load", lambda *_: {"q4_K": lambda _, blocks: blocks.fill(0)})
    made = fast.FastKernels()
    made.wait()
    assert not made.ready


def test_a_broken_numba_leaves_the_work_to_ggml(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fine: bool) -> None:
        raise ImportError("numba needs another numpy")

    monkeypatch.setattr(fast, "_is_compiled", lambda *_: True)
    monkeypatch.setattr(fast, "load", broken)
    made = fast.FastKernels()
    made.wait()
    rows = np.ones((2, 256), np.float32)
    quantizer = Quantizer(made)
    assert not quantizer.is_fast
    assert quantizer.quantize(rows, by_name("q4_K"), "w").tobytes() == quantize(rows, by_name("q4_K"), "w").tobytes()


def test_without_numba_there_is_ggml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not fast_kernels_installed()
    assert not make_quantizer(1 << 40).is_fast


def test_an_unknown_search_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown search 'wide'"):
        make_quantizer(1, "wide")


def test_kernels_that_have_only_to_be_loaded_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes too long for that: meanwhile ggml's do the work."""
    loaded = fast.load(False)
    go = threading.Event()

    def late(*_: object) -> object:
        go.wait(30)
        return loaded

    monkeypatch.setattr(fast, "load", late)
    monkeypatch.setattr(fast, "_compile_apart", lambda *_: True)
    for compiled in (True, False):
        go.clear()
        monkeypatch.setattr(fast, "_is_compiled", lambda *_, compiled=compiled: compiled)
        quantizer = make_quantizer(1 << 40)
        threading.Timer(0.1, go.set).start()
        quantizer.settle()
        assert quantizer.is_fast == compiled
        go.set()


@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt", "sys.exit(3)"])
def test_an_exit_does_not_wait_for_the_compiler(end: str) -> None:
    """A process that ends while its child compiles takes the child along, in silence of its own."""
    code = f"""
import subprocess, sys, time
from quant import fast

class Compiler(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **options)
        print(self.pid, flush=True)

subprocess.Popen = Compiler
fast._is_compiled = lambda fine: False
kernels = fast.FastKernels()
time.sleep(0.3)
assert not kernels.ready
{end}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == {"pass": 0, "raise KeyboardInterrupt": -2}.get(end, 3)
    assert done.stderr.count("Traceback") == ("Keyboard" in end)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
