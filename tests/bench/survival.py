"""What the engine must not take with it: the front, the conversation, the time of whoever waits.

    python -m tests.bench.survival [--files 20000] [--projectors 2000] [--signals 200]

files      damaged GGUF files, and all crafted ones: each loaded, asked, and looked at by `minichat show`; a front that
           raised what is no error of ours, said more than one line, or waited longer than a minute would end this
projectors damaged files of what a model reads pictures with: each loaded beside its model, and shown a picture
signals    sent to the engine of a chat on a pseudo-terminal, at random moments of loading, reading, answering, waiting;
           how many of the fronts went on, and how soon the line was there
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signalled_chat import SignalledChat

ROOT = Path(__file__).parents[2]
FILES, PROJECTORS, SIGNALS = 20_000, 2_000, 200
_WITHIN_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.survival")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--projectors", type=int, default=PROJECTORS)
    parser.add_argument("--signals", type=int, default=SIGNALS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minichat-bench-") as name:
        os.environ["MINICHAT_HOME"] = str(Path(name) / "home")
        measure(Path(name), chosen.files, chosen.signals, chosen.projectors)


def measure(folder: Path, files: int, signals: int, projectors: int = PROJECTORS) -> None:
    """What became of so many files and signals. It uses what the tests use, and so needs them on its path."""
    sys.path.insert(0, str(ROOT / "tests"))
    print("\nan engine that dies")
    if files:
        show_files(folder, files)
    if projectors:
        show_projectors(folder, projectors)
    if signals:
        send_signals(folder, signals)


def show_files(folder: Path, count: int) -> None:
    from forked_engine import ForkedEngines
    from gguf_mutations import mutated
    from hostile_gguf import CASES, made
    from shown_files import shown, sound_files

    from minichat.engine import starting

    sound = sound_files(folder)
    names = sorted(sound)
    path = folder / "shown.gguf"
    with ForkedEngines() as engines:
        before, starting.take = starting.take, engines.take  # type: ignore[assignment]
        for what, contents in (
            ("crafted", (made(case, sound["plain"]) for case in CASES)),
            ("damaged", (mutated(sound[names[seed % len(names)]], random.Random(seed)) for seed in range(count))),
        ):
            fates: Counter[str] = Counter()
            slowest = 0.0
            for content in contents:
                path.write_bytes(content)
                begin = time.monotonic()
                fates[shown(path)[0]] += 1
                slowest = max(slowest, time.monotonic() - begin)
            total = f"{fates.total():,}"
            print(f"{total} {what} files: front alive {total} of {total}, {_told(fates)}; slowest {slowest:.1f} s")
        starting.take = before


def show_projectors(folder: Path, count: int) -> None:
    from forked_engine import ForkedEngines
    from gguf_mutations import mutated
    from seeing import seeing

    from minichat.engine import starting
    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from quant.errors import EngineDiedError, MinichatError

    model = seeing("mistral3-vision", folder, "q8_0")
    sound, path, fates = model.projector.read_bytes(), folder / "damaged-mmproj.gguf", Counter[str]()
    with ForkedEngines() as engines:
        before, starting.take = starting.take, engines.take  # type: ignore[assignment]
        for seed in range(count):
            path.write_bytes(mutated(sound, random.Random(seed)))
            try:
                with Engine(model.model, LoadOptions(ctx=64, projector=str(path), threads=1)) as engine:
                    list(engine.generate(model.pieces(), max_tokens=1))
                fates["answered"] += 1
            except MinichatError as error:
                fates["died" if isinstance(error, EngineDiedError) else "refused"] += 1
                if "\n" in str(error):
                    raise
        starting.take = before
    print(f"{count:,} damaged projectors: front alive {fates.total():,} of {count:,}, {_told(fates)}")


def _told(fates: Counter[str]) -> str:
    return (
        f"{fates['refused']:,} refused in one line, {fates['died']:,} told as a death of the engine, "
        f"{fates['answered']:,} answered"
    )


def send_signals(folder: Path, count: int) -> None:
    from signalled_chat import SignalledChat, numbers

    model, rng = numbers(folder), random.Random(11)
    took: list[float] = []
    chat = SignalledChat(model)
    for turn in range(count):
        seconds = _survived(chat, turn, rng)
        if seconds is None:
            chat.__exit__()
            chat = SignalledChat(model)
        else:
            took.append(seconds)
    chat.__exit__()
    late = sum(seconds > _WITHIN_S for seconds in took)
    print(f"{count} signals to the engine: front alive {len(took)} of {count}, and its next question answered")
    print(f"  told after {statistics.median(took):.2f} s; later than {_WITHIN_S:.0f} s: {late}")


def _survived(chat: "SignalledChat", turn: int, rng: random.Random) -> float | None:
    """Seconds until the death was told; None, with a line that says why, if the chat did not go on."""
    from signalled_chat import DEADLY, MOMENTS

    try:
        return chat.send(rng.choice(DEADLY), MOMENTS[turn % len(MOMENTS)], rng)
    except (AssertionError, OSError) as error:
        print(f"signal {turn}: {error}")
        return None


if __name__ == "__main__":
    main()
