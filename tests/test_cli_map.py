"""`minichat map`: one answer for each line, from a fake engine and from a small real model."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from program import MINICHAT, fails, minichat
from test_hostile_output import payloads, read_strictly

from minichat import formats, mapping
from minichat.chat import RunOptions
from minichat.engine.types import Chunk, Sampling
from minichat.inputs import Lines
from minichat.mapped import LinePrompt
from minichat.mapping import map_lines
from minichat.models import Model
from minichat.template.pieces import Text
from minichat.terminal.line_progress import LineProgress
from quant.errors import ContextError, DataError, EngineDiedError, EngineError, StorageError, TemplateError, UsageError

MODEL = Model("mine", Path("mine.gguf"))
PROMPT = LinePrompt.parse("Say {line}!")


def run(
    engine: FakeEngine,
    raw: bytes,
    options: RunOptions | None = None,
    as_json: bool = False,
    resume: Path | None = None,
    prompt: LinePrompt = PROMPT,
) -> FakeEngine:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mapping, "Engine", lambda path, load: engine)  # noqa: ARG005
        map_lines(MODEL, prompt, options or RunOptions(), Lines(io.BytesIO(raw)), as_json, resume)
    return engine


def asked(engine: FakeEngine) -> list[str]:
    return [piece.text for prompt in engine.prompts for piece in prompt if isinstance(piece, Text)]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Lines and answers.


def test_each_line_is_a_conversation_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    engine = run(FakeEngine(["One", "."], ["Two."], ["Three."]), b"a\n{line}\r\n{}")
    assert capsys.readouterr() == ("One.\nTwo.\nThree.\n", "")
    assert asked(engine) == ["Say a!", "Say {line}!", "Say {}!"]
    assert engine.closed


def test_a_system_prompt_and_sampling(capsys: pytest.CaptureFixture[str]) -> None:
    options = RunOptions("Be brief.", Sampling(0.5, seed=3), max_tokens=2)
    engine = run(FakeEngine(["Long"], ["Short"]), b"a\nb\n", options, as_json=True)
    assert asked(engine) == ["Be brief.", "Say a!", "Be brief.", "Say b!"]
    assert engine.sampling == Sampling(0.5, seed=3)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["line"], one["input"], one["reason"], one["seed"]) for one in found] == [
        (1, "a", "length", 3),
        (2, "b", "length", 3),
    ]


def test_an_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = "\n# One\n\n- two\r\n- \tthree\x1b[2J\x07\n"
    run(FakeEngine([said], [said]), b"a\n")
    assert capsys.readouterr().out == "# One - two - \tthree␛[2J␇\n"
    run(FakeEngine([said]), b"a\n", as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out)["answer"] == said
    assert out.count("\n") == 1
    assert "\x1b" not in out


def test_a_blank_line_has_a_blank_answer(capsys: pytest.CaptureFixture[str]) -> None:
    run(FakeEngine(["One"], ["Two"]), b"\na\n \t\nb")
    assert capsys.readouterr().out == "\nOne\n\nTwo\n"
    run(FakeEngine(), b"\n", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"line": 1, "input": "", "answer": "", "reason": "blank"}


def test_thoughts_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    said = [Chunk("Hm", "think"), Chunk("m.", "think"), "42"]
    run(FakeEngine(said, said), b"a\n")
    assert capsys.readouterr().out == "42\n"
    run(FakeEngine(said), b"a\n", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["answer"], found["thinking"]) == ("42", "Hmm.")


def test_no_lines_are_no_answers(capsys: pytest.CaptureFixture[str]) -> None:
    run(FakeEngine(), b"")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "filled"),
    [("{}", "x"), ("{line}, {line}", "x, x"), ('{line} as {"a": {}}', 'x as {"a": {}}'), ("{{}}", "{x}")],
)
def test_places_for_the_line(text: str, filled: str) -> None:
    assert LinePrompt.parse(text).fill("x") == filled


def test_a_prompt_without_a_place() -> None:
    with pytest.raises(UsageError, match=r"no place for the line: write \{line\}"):
        LinePrompt.parse("Translate this: {Line}")


# Errors.


def test_a_line_with_an_error_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    too_long = ContextError("the prompt is 9,000 tokens long, and the context holds 4,096")
    with pytest.raises(DataError, match="1 of 3 lines have an error"):
        run(FakeEngine(["One"], [too_long], ["Three"]), b"a\nb\x1b\nc\n")
    out, err = capsys.readouterr()
    assert out == "One\n\nThree\n"
    assert err == "minichat: line 2: the prompt is 9,000 tokens long, and the context holds 4,096\n"
    with pytest.raises(DataError, match="1 of 3"):
        run(FakeEngine(["One"], [too_long], ["Three"]), b"a\nb\nc\n", as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[1] == {"line": 2, "input": "b", "error": str(too_long)}
    assert [one.get("answer") for one in found] == ["One", None, "Three"]


def test_a_line_that_no_model_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="1 of 2"):
        run(FakeEngine(["Two"]), b"x" * (17 << 20) + b"\nb\n", as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[0]) == {"line": 1, "input": None, "error": "longer than any model reads"}
    assert err.startswith("minichat: line 1: longer than any model reads")


def test_an_answer_that_was_cut_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="1 of 2"):
        options = RunOptions(form=formats.any_object(), max_tokens=5)
        run(FakeEngine(['{"a":', " 1}"], ["{}"]), b"a\nb\n", options)
    out, err = capsys.readouterr()
    assert out == "\n{}\n"
    assert "line 1: the answer was cut before its JSON was complete: raise --max-tokens" in err


def test_a_prompt_that_fits_nowhere_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ContextError, match=r"the prompt alone is 4 tokens long, and the context holds 4"):
        run(FakeEngine(limit=4), b"a\nb\n")
    engine = FakeEngine()

    def refuses(pieces: object) -> None:
        raise TemplateError("what no template can express")

    engine.tokenize = refuses  # type: ignore[assignment,method-assign]
    with pytest.raises(TemplateError):
        run(engine, b"a\nb\n")
    assert engine.prompts == []
    assert capsys.readouterr().out == ""


def test_an_engine_that_dies_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineError):
        run(FakeEngine(["One"], [EngineError("the engine died")]), b"a\nb\nc\n", resume=tmp_path / "r")
    assert capsys.readouterr().out == "One\n"
    assert [one["line"] for one in records(tmp_path / "r")] == [0, 1]


DEATH = EngineDiedError("the engine died: SIGSEGV")


def run_with(*engines: FakeEngine, raw: bytes) -> None:
    """One engine after another."""
    waiting = iter(engines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mapping, "Engine", lambda path, load: next(waiting))  # noqa: ARG005
        map_lines(MODEL, PROMPT, RunOptions(), Lines(io.BytesIO(raw)), False, None)


def test_a_dead_engine_is_started_again_and_asked_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = FakeEngine(["One"], ["Tw", DEATH]), FakeEngine(["Two"], ["Three"])
    run_with(first, second, raw=b"a\nb\nc\n")
    out, err = capsys.readouterr()
    assert out == "One\nTwo\nThree\n"
    assert err == "the engine died: SIGSEGV; it starts again\n"
    assert first.closed
    assert second.closed


def test_a_line_that_kills_two_engines_has_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    engines = FakeEngine(["One"], [DEATH]), FakeEngine([DEATH]), FakeEngine(["Three"], [DEATH]), FakeEngine(["Four"])
    with pytest.raises(DataError, match="1 of 4 lines have an error"):
        run_with(*engines, raw=b"a\nb\nc\nd\n")
    out, err = capsys.readouterr()
    assert out == "One\n\nThree\nFour\n"
    assert "line 2: the engine died: SIGSEGV, twice over this line" in err
    assert err.count("it starts again") == 3


def test_three_deaths_in_a_row_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    engines = FakeEngine(["One"], [DEATH]), FakeEngine([DEATH]), FakeEngine([DEATH])
    with pytest.raises(EngineDiedError, match="SIGSEGV"):
        run_with(*engines, raw=b"a\nb\nc\n")
    assert capsys.readouterr().out == "One\n\n"
    assert all(engine.closed for engine in engines)


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_that_a_terminal_obeys_comes_out(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [text for text in payloads(2000, seed=6) if text.strip()]
    answers = [[DataError(text)] if number % 3 == 0 else [*text] for number, text in enumerate(texts)]
    raw = "".join(re.sub(r"\s", " ", text) + "x\n" for text in texts).encode("utf-8", "surrogatepass")
    with pytest.raises(DataError, match=f" of {len(texts):,} lines have an error"):
        run(FakeEngine(*answers), raw, as_json=as_json)
    out, err = capsys.readouterr()
    read_strictly(out + err)
    assert out.count("\n") == len(texts)
    if as_json:
        told = [json.loads(line) for line in out.split("\n")[:-1]]
        joined = [text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for text in texts]
        assert [one.get("answer", one.get("error")) for one in told] == joined


# --resume.


def test_answers_that_are_there_are_not_asked_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    run(FakeEngine(["One\nand a half"]), b"a\n", resume=file)
    capsys.readouterr()
    engine = run(FakeEngine(["Three"]), b"a\n\nc\n", resume=file)
    assert capsys.readouterr().out == "One and a half\n\nThree\n"
    assert asked(engine) == ["Say c!"]
    run(FakeEngine(), b"a\n\nc\n", resume=file, as_json=True)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert shown == records(file)[1:]
    assert shown[0]["answer"] == "One\nand a half"


def test_lines_with_an_error_are_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    with pytest.raises(DataError):
        run(FakeEngine(["One"], [ContextError("too long")], ["Three"]), b"a\nb\nc\n", resume=file)
    with pytest.raises(DataError):
        run(FakeEngine([ContextError("still too long")]), b"a\nb\nc\n", resume=file)
    capsys.readouterr()
    run(FakeEngine(["Two"]), b"a\nb\nc\n", resume=file)
    assert capsys.readouterr() == ("One\nTwo\nThree\n", "")
    assert [one["line"] for one in records(file)] == [0, 1, 2, 3, 2, 2]
    run(FakeEngine(), b"a\nb\nc\n", resume=file)
    assert capsys.readouterr().out == "One\nTwo\nThree\n"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"prompt": LinePrompt.parse("Sing {line}!")}, 'prompt, "Say {line}!"'),
        ({"options": RunOptions(system="Be brief.")}, "system, null"),
        ({"options": RunOptions(sampling=Sampling(top_k=3))}, "top-k, null"),
        ({"options": RunOptions(form=formats.any_object())}, 'format, "text"'),
    ],
)
def test_a_file_that_was_made_with_something_else(change: dict[str, Any], what: str, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    run(FakeEngine(["One"]), b"a\n", resume=file)
    before = file.read_bytes()
    with pytest.raises(UsageError) as caught:
        run(FakeEngine(), b"a\n", resume=file, **change)
    assert f"was made with another {what}" in str(caught.value)
    assert file.read_bytes() == before


def test_other_lines_than_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    run(FakeEngine(["One"], ["Two"]), b"a\nb\n", resume=file)
    with pytest.raises(DataError, match=r"line 2 of standard input is not the one .* \(\"b\"\)"):
        run(FakeEngine(), b"a\nc\n", resume=file)


@pytest.mark.parametrize(
    "content",
    [
        "hello\n",
        '{"line": 0}\n',
        "[]\n",
        '{"line": 1, "answer": "x"}\n',
        "[" * 100_000 + "\n",
        "\x00" * 10,
        '{"a": 1}',
    ],
)
def test_a_file_of_another_kind_is_left_alone(content: str, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text(content)
    with pytest.raises(DataError, match="precious is no file of `minichat map --resume`"):
        run(FakeEngine(), b"a\n", resume=file)
    assert file.read_text() == content


@pytest.mark.parametrize("line", ['{"line": 7}', '{"line": -1}', '{"line": true}', '{"line": "1"}', "nonsense", "7"])
def test_a_damaged_file(line: str, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    run(FakeEngine(["One"], ["Two"]), b"a\nb\n", resume=file)
    content = f"{file.read_text()}{line}\n"
    file.write_text(content)
    with pytest.raises(DataError, match=r"results\.jsonl is"):
        run(FakeEngine(), b"a\nb\n", resume=file)
    assert file.read_text() == content


def test_a_torn_last_line_at_every_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    run(FakeEngine(["One"], ["Zwölf"]), "a\nö\n".encode(), resume=file)
    whole = file.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        capsys.readouterr()
        there = max(0, sum(end <= cut for end in ends) - 1)
        engine = run(FakeEngine(*[["One"], ["Zwölf"]][there:]), "a\nö\n".encode(), resume=file)
        assert capsys.readouterr().out == "One\nZwölf\n"
        assert len(engine.prompts) == 2 - there
        assert file.read_bytes() == whole


def test_one_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"

    def second() -> None:
        with pytest.raises(UsageError, match="another minichat writes there"):
            run(FakeEngine(["x"]), b"a\n", resume=file)

    run(FakeEngine(["One", second, "."]), b"a\n", resume=file)
    assert records(file)[1]["answer"] == "One."
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["results.jsonl"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        run(FakeEngine(), b"a\n", resume=tmp_path)
    with pytest.raises(StorageError, match="--resume"):
        run(FakeEngine(), b"a\n", resume=tmp_path / "no" / "folder")


def test_many_lines_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 MB of answers, of which nothing is kept but where they are in the file."""

    class Many(FakeEngine):
        def generate(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            self.prompts, self.answers, self.fitting, self.grammars = [], [["x" * 2000]], [], []
            return super().generate(*arguments, **named)

    class Greetings(io.RawIOBase):
        left = 3000

        def readline(self, size: int | None = -1, /) -> bytes:
            self.left -= 1
            return b"hello\n" if self.left >= 0 else b""

    many = Many()
    monkeypatch.setattr(mapping, "Engine", lambda path, load: many)  # noqa: ARG005
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        tracemalloc.start()
        try:
            map_lines(MODEL, PROMPT, RunOptions(), Lines(Greetings()), False, tmp_path / "r")  # type: ignore[arg-type]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "r").stat().st_size > 3000 * 2000
    assert peak_bytes < 3_000_000


# The whole program.


def test_the_shared_beginning_is_prefilled_once(small_gguf: Path) -> None:
    beginning = "A long story that all of the lines have in common. " * 20
    done = minichat(
        "map", small_gguf, beginning + "{line}", "--max-tokens", "3", "--json", stdin=b"one\ntwo\nthree\nthree\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    stats = [json.loads(line)["stats"] for line in done.stdout.splitlines()]
    assert stats[0]["reused_tokens"] == 0
    for one in stats[1:]:
        assert one["prompt_tokens"] - one["reused_tokens"] < 20 < stats[0]["prompt_tokens"]


def test_an_answer_is_the_one_of_run(small_gguf: Path) -> None:
    options = ["--max-tokens", "8", "--seed", "3", "--temperature", "1.2", "--system", "Be odd."]
    mapped = minichat("map", small_gguf, "Say {line}!", *options, "--json", stdin=b"first\nsecond\n").stdout
    for line, said in zip(mapped.splitlines(), ("Say first!", "Say second!"), strict=True):
        alone = json.loads(minichat("run", small_gguf, said, *options, "--json").stdout)
        assert json.loads(line)["answer"] == alone["answer"]


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*MINICHAT, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_line_is_answered_before_the_next_one_comes(small_gguf: Path) -> None:
    with start("map", small_gguf, "{line}", "--max-tokens", "3") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(f"line {number}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(30) == 0


def test_a_reader_that_leaves(small_gguf: Path) -> None:
    command = f'yes hello | "$@" map {small_gguf} "{{}}" --max-tokens 3 --json | head -n 1; echo "${{PIPESTATUS[1]}}"'
    done = subprocess.run(["bash", "-c", command, "bash", *MINICHAT], capture_output=True, timeout=60, check=False)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["line"] == 1
    assert (code, done.stderr) == (b"141", b"")


def test_ctrl_c_leaves_what_is_answered(small_gguf: Path) -> None:
    with start("map", small_gguf, "{line}", "--temperature", "1.5", "--json", "--max-tokens", "5") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        rest, said = process.communicate(timeout=30)
        assert time.monotonic() - begin < 10
        assert json.loads(first)["line"] == 1
        assert (process.returncode, rest, said) == (130, b"", b"")


def test_kills_lose_no_answer(small_gguf: Path, tmp_path: Path) -> None:
    file, raw = tmp_path / "results.jsonl", b"".join(b"line %d\n" % n for n in range(60))
    arguments = ("map", small_gguf, "{line}", "--max-tokens", "2", "--resume", file, "--json")
    chance, known = random.Random(6), 0
    for _ in range(4):
        with start(*arguments) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(raw)
            process.stdin.close()
            for _ in range(known + chance.randrange(1, 12)):
                process.stdout.readline()
            process.kill()
        assert file.read_bytes().count(b"\n") - 1 > known
        known = file.read_bytes().count(b"\n") - 1
    done = minichat(*arguments, stdin=raw)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == [f"line {n}" for n in range(60)]
    assert [one["line"] for one in records(file)] == [*range(61)]


def test_wrong_usage(small_gguf: Path, tmp_path: Path) -> None:
    fails(2, "no place for the line", "map", small_gguf, "hello", stdin=b"x\n")
    fails(2, "no place for the line", "map", small_gguf, stdin=b"x\n")
    fails(2, "no MODEL", "map", "{line}", stdin=b"x\n")
    fails(2, "standard input has the lines", "map", small_gguf, "{}", "--schema", "-", stdin=b"x\n")
    fails(
        2,
        "--json-output and --schema both say",
        "map",
        small_gguf,
        "{}",
        "--schema",
        "x",
        "--json-output",
        stdin=b"x\n",
    )
    fails(3, "No such file", "map", small_gguf, "{}", "--schema", tmp_path / "none.json", stdin=b"x\n")
    fails(3, "nothing", "map", "nothing", "{}", stdin=b"x\n")
    fails(2, "no persona 'nobody'", "map", small_gguf, "{}", "--as", "nobody", stdin=b"x\n")


def test_a_file_that_is_a_stream_too(small_gguf: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for redirected in (f"> {file}", f"< {file}"):
        file.write_text("hello\n")
        command = f'printf "a\\n" | "$@" {redirected}'
        arguments = [*MINICHAT, "map", str(small_gguf), "{line}", "--resume", str(file)]
        done = subprocess.run(["bash", "-c", command, "bash", *arguments], capture_output=True, check=False)
        assert done.returncode == 2
        assert done.stderr.endswith(b"put, too; leave that to another file\n")


def test_a_long_line_is_an_error_of_that_line(small_gguf: Path) -> None:
    raw = b"short\n" + b"word " * 200 + b"\nshort\n"
    done = minichat("map", small_gguf, "{}", "--ctx", "256", "--max-tokens", "3", "--json", stdin=raw)
    assert done.returncode == 3
    assert [json.loads(line).get("reason") for line in done.stdout.splitlines()] == ["length", None, "length"]
    first, last = done.stderr.splitlines()
    assert first.startswith("minichat: line 2: the prompt is ")
    assert "the context holds 256" in first
    assert last == "minichat: 1 of 3 lines have an error"


def test_settings_count_here_too(small_gguf: Path, home: Path) -> None:
    (home / "minichat").mkdir(exist_ok=True)
    (home / "minichat" / "config.toml").write_text(
        f'model = "{small_gguf}"\n[defaults]\nmax-tokens = 2\n[personas.odd]\nsystem = "Be odd."\nseed = 7\n'
    )
    done = minichat("map", "Say {line}!", "--as", "odd", "--json", stdin=b"hello\n")
    found = json.loads(done.stdout)
    assert (found["stats"]["answer_tokens"], found["seed"]) == (2, 7)
    fails(3, "no model 'nothing'", "map", "nothing", "Say {line}!", stdin=b"x\n")  # which is not left out, but wrong
    fails(2, "no model name", "map", "no name", "Say {line}!", stdin=b"x\n")


def test_model_may_be_left_out_and_the_prompt_may_not() -> None:
    assert "required" not in minichat("map", "--help").stdout
    fails(2, "no prompt: put one in quotes behind MODEL", "map", stdin=b"x\n")


# Progress.


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_tells_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock, screen = Clock(), Screen()
    with LineProgress(1000, screen, clock) as progress:
        clock.now = 100
        progress.update(40, 200, is_new=False)  # known before: tells nothing of the rate
        clock.now = 110
        progress.update(50, 400, is_new=True)
    shown = screen.getvalue().split("\r")
    assert "40 lines  20%" in shown[1]
    assert "/s" not in shown[1]
    assert "50 lines  40%  6.0/min  0:30 left" in shown[2]
    assert shown[-1] == "\x1b[K"


def test_progress_of_an_input_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock, screen = Clock(), Screen()
    with LineProgress(None, screen, clock) as progress:
        clock.now = 2
        progress.update(1, 10, is_new=True)
        clock.now = 4
        progress.update(8, 99, is_new=True)
    shown = screen.getvalue()
    assert "1 line  30.0/min" in shown
    assert "left" not in shown
    quiet = io.StringIO()
    with LineProgress(None, quiet, clock) as progress:
        progress.update(8, 99, is_new=True)
    assert quiet.getvalue() == ""
