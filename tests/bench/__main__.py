"""What minichat does and costs next to what llama.cpp's own tools do and cost, each pair measured in turns in one run.

    python -m tests.bench [--quick] [PART …]

    exact        the checkpoints of tests/data at f32         against  transformers' logits
    convert      checkpoint -> GGUF in one pass                        to bf16, then llama_model_quantize
    memory       one pass over one tensor of 131,072 x 5,120
    chat         `minichat run`, on a terminal                         the bare llama_decode loop, and the Llama class
    depths       `minichat bench`                                      the bare llama_decode loop
    speculation  answers with guesses                                  token by token
    kv           turn 20, /retry, /load, /model; pass keys             all decoded again
    resume       a session that goes on                                the same, read by the model again
    typeahead    what is read while it is typed                        nothing before Enter
    fitting      what a model takes, and a context that grows          what was foretold, and one that is long at once
    reading      CPU time of showing a long answer                     3% of one core at 100 tokens/s
    survival     the engine's deaths and damaged files                 no front dies

All but the last if none is named; `tests.bench.survival` says how many there are. It needs 4 GB in the folder for
temporary files (TMPDIR). `--quick` is for work on these measurements: a smaller checkpoint, and every pair once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import chat, conversions, depths, fitting, kv, reading, resume, speculation, survival, typeahead
from tests.bench.measure import run

ROOT = Path(__file__).parents[2]
# Those that talk to a model of 0.3 billion parameters.
TALKS = ("chat", "depths", "speculation", "kv", "resume", "fitting")
PARTS = ("exact", "convert", "memory", *TALKS, "typeahead", "reading")
LONG = ("survival",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS + LONG)}")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    parts = chosen.parts or PARTS
    if set(parts) - set(PARTS + LONG):
        parser.error(f"the parts are {', '.join(PARTS + LONG)}")
    with tempfile.TemporaryDirectory(prefix="minichat-bench-") as name:
        folder = Path(name)
        os.environ["MINICHAT_HOME"] = str(folder / "home")
        os.environ["PYTHONPATH"] = str(copied(folder / "program"))
        if "exact" in parts:
            (folder / "exact").mkdir()
            subprocess.run([sys.executable, "-m", "tests.bench.exactness", str(folder / "exact")], check=True)
        if "convert" in parts:
            convert(folder, chosen.quick)
        if "memory" in parts:
            made(folder, "wide")
            conversions.measure_memory(folder / "wide", folder / "scratch")
            shutil.rmtree(folder / "wide")
        if set(parts) & set(TALKS):
            talk(folder, parts, chosen.quick)
        if "typeahead" in parts:
            print("\na slow model that says a text by heart, on a pseudo-terminal")
            typeahead.measure(folder, 1 if chosen.quick else 3)
        if "survival" in parts:
            sizes = (survival.FILES, survival.SIGNALS, survival.PROJECTORS)
            survival.measure(folder, *((100, 10, 50) if chosen.quick else sizes))
    if "reading" in parts:
        reading.measure(reading.TOKENS // 10 if chosen.quick else reading.TOKENS)


def convert(folder: Path, quick: bool) -> None:
    parameters = made(folder, "large", *(["6"] if quick else []))
    print(
        f"\na random checkpoint of {parameters / 1e6:.0f} million parameters in bf16; {os.cpu_count()} processors; "
        "files in the page cache\n"
        "two steps: to bf16 by minichat, which is quicker than convert_hf_to_gguf.py; then llama_model_quantize"
    )
    conversions.measure(folder / "large", folder / "scratch", 1 if quick else 3)
    shutil.rmtree(folder / "large")


def talk(folder: Path, parts: Sequence[str], quick: bool) -> None:
    parameters = made(folder, "chat")
    model = folder / "scratch" / "ours.gguf"
    conversions.ours(folder / "chat", folder / "scratch", "q4_K_M")
    print(f"\na random model of {parameters / 1e6:.0f} million parameters in q4_K_M")
    if "chat" in parts:
        chat.measure(model, 1 if quick else 5)
    if "depths" in parts:
        depths.measure(model, 1 if quick else 3, (0,) if quick else (0, 2048))
    if "speculation" in parts:
        speculation.measure(model, 1 if quick else 3)
    if "kv" in parts:
        kv.measure(model, folder, (1000,) if quick else (4000, 16000))
    if "resume" in parts:
        resume.measure(model, 1 if quick else 5)
    if "fitting" in parts:
        fitting.measure(model, 1 if quick else 3)


def copied(folder: Path) -> Path:
    """A copy of the program as it comes, without compiled kernels: the first conversion makes them, beside it."""
    for room in ("quant", "convert", "minichat"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "model"))
    return folder


def made(folder: Path, kind: str, *more: str) -> int:
    return int(run_python("material", kind, str(folder / kind), *more))


def run_python(module: str, *arguments: str) -> str:
    """In a process of its own: a child's peak memory counts from that of the process that started it."""
    return run([sys.executable, "-m", f"tests.bench.{module}", *arguments]).output


if __name__ == "__main__":
    main()
