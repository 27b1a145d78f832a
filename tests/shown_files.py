"""Files shown to the program, as a person would who was given one: load it, ask it something, look at it.

The front is the real one, in this process; the engine is forked. Whatever a file is, it comes to an answer or to one
line, and within the time: `shown` asserts that, and tells which it was.
"""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Literal

from checkpoints import config, write_checkpoint

from minichat.engine.client import Engine
from minichat.engine.types import LoadOptions, Sampling
from minichat.models import Model
from minichat.reports import show_model
from minichat.template.messages import Message
from minichat.template.pieces import Text
from minichat.terminal.output import print_error
from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, EngineDiedError, EngineError, MinichatError, UsageError

Fate = Literal["answered", "refused", "died"]
_SIZES = {"hidden": 32, "inner": 64, "heads": 2, "kv_heads": 1, "vocab": 280}
_WINDOWS = {
    "architectures": ["MinistralForCausalLM"],
    "sliding_window": 1024,
    "layer_types": ["full_attention", "sliding_attention"],
}
_QUESTION = [Text("hello there 12")]
_LONGEST_LINE = 1020  # as printed
TIME_S = 60  # for one file; the machine may be busy


def sound_files(folder: Path) -> dict[str, bytes]:
    """Small models: a plain one in three types, one with windows, one with SentencePiece, one of another family."""
    import other_family
    from test_convert_mutations import sentencepiece_model

    from convert.pipeline import convert

    found = {}
    for name, target in (("plain", "q8_0"), ("f16", "fp16"), ("windows", "q8_0"), ("pieces", "q8_0"), ("other", "f32")):
        source = folder / name
        write_checkpoint(source, config(layers=2, **_SIZES) | (_WINDOWS if name == "windows" else {}))
        if name == "pieces":
            (source / "tekken.json").unlink()
            (source / "tokenizer.model").write_bytes(sentencepiece_model())
        file = folder / f"{name}.gguf"
        convert(source, file, target)
        if name == "other":
            file = other_family.write(file, folder / "otherwise.gguf")
        found[name] = file.read_bytes()
    return found


def shown(path: Path) -> tuple[Fate, str]:
    """What became of the file, and the line that was said. AssertionError for anything that should not happen."""
    with _within(TIME_S):
        line = _loaded_and_asked(path)
        described = _looked_at(path)
    for text in (*(_printed(line) if line else ()), *described):
        assert clean_line(text) == text, f"what a terminal obeys: {text!r}"
    if not line:
        return "answered", ""
    return ("died" if line.startswith("the engine ") else "refused"), line


def _loaded_and_asked(path: Path) -> str:
    with Engine(path, LoadOptions(threads=1)) as engine:
        try:
            info = engine.wait_loaded()
            for _ in engine.generate(_QUESTION, Sampling(temperature=1.0, seed=1), max_tokens=3):
                pass
            if info.template_how == "embedded":
                engine.apply_template([Message("user", "Hi")])
        except EngineDiedError as death:
            return death.what
        except EngineError as error:
            assert "Error:" not in str(error), f"a defect of ours: {error}"
            return str(error)
        except (DataError, UsageError) as error:
            return str(error)
    return ""


def _printed(message: str) -> list[str]:
    """The line of an error, as the program prints it."""
    shown = io.StringIO()
    print_error(message, shown)
    lines = shown.getvalue().split("\n")
    assert len(lines) == 2, f"more than a line: {lines}"
    assert lines[1] == ""
    assert len(lines[0]) < _LONGEST_LINE, f"a long line: {lines[0]!r}"
    return lines[:1]


def _looked_at(path: Path) -> list[str]:
    """The lines of `minichat show`, which reads the header in the front."""
    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            show_model(Model(path.name, path), as_json=False)
    except MinichatError as error:
        return [str(error)]
    return shown.getvalue().split("\n")


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"it takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
