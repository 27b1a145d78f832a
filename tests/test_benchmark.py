"""`minichat bench`: what it asks of an engine, what it makes of the answers, and what it prints."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tape
from program import MINICHAT, fails, minichat

from minichat import benchmark, benchmark_report
from minichat.benchmark import Plan, Result, Row, Series
from minichat.engine.types import Done, LoadOptions, ModelInfo, Sampling, Stats
from minichat.template.pieces import Control, Piece, Tokens

TEXT = "One two three four five six seven eight nine ten eleven twelve."
INFO = ModelInfo("tiny", "llama", "v7-tekken", "recorded", "", 1000, 1000, 8_000_000, 5_000_000, 99, 2, 0, "<s>")


class Clocked:
    """An engine whose rates are known: 100 tokens/s to read, 10 to write; an answer ends after `ends` tokens."""

    asked: list[tuple[tuple[int, ...], int]]
    options: list[LoadOptions]
    ends = 1000

    def __init__(self, _: Path, options: LoadOptions) -> None:
        self.options.append(options)
        self._cached: tuple[int, ...] = ()

    def __enter__(self) -> Clocked:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_loaded(self) -> ModelInfo:
        return INFO

    def tokenize(self, pieces: list[Piece]) -> tuple[list[int], list[Any]]:
        return ([1], []) if isinstance(pieces[0], Control) else (list(range(10, 80)), [])

    def prefill(self, pieces: list[Piece]) -> Iterator[Done]:
        return self._answer(pieces, 0)

    def generate(self, pieces: list[Piece], sampling: Sampling, most: int) -> Iterator[Done]:
        assert sampling.temperature == 0
        return self._answer(pieces, most)

    def _answer(self, pieces: list[Piece], most: int) -> Iterator[Done]:
        (piece,) = pieces
        assert isinstance(piece, Tokens)
        ids = piece.ids
        self.asked.append((ids, most))
        reused = next(
            (n for n, pair in enumerate(zip(ids, self._cached)) if pair[0] != pair[1]),  # noqa: B905
            min(len(ids), len(self._cached)),
        )
        reused = min(reused, len(ids) - 1)
        self._cached = ids
        took, said = (len(ids) - reused) / 100, min(most, self.ends)
        stats = Stats(len(ids), reused, said, took + 0.1, took, max(said - 1, 0) / 10, len(ids) + said, 0)
        yield Done("length", "", (), Stats(**{**vars(stats), "memory_bytes": 7, "peak_bytes": 9}))


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> type[Clocked]:
    class Fresh(Clocked):
        asked: list[Any] = []  # noqa: RUF012
        options: list[Any] = []  # noqa: RUF012

    monkeypatch.setattr(benchmark, "Engine", Fresh)
    return Fresh


def measured(plan: Plan) -> Result:
    result = Result(plan)
    benchmark.measure(Path("model.gguf"), LoadOptions(ctx=1000), plan, result, lambda _: None)
    return result


@pytest.mark.parametrize("ends", [1000, 5, 2])
def test_rates_are_those_of_the_engine(clocked: type[Clocked], ends: int) -> None:
    """Also where the model ends its answers early."""
    clocked.ends = ends
    result = measured(Plan((0, 300, 5000), prompt=200, answer=20, repeats=3))
    assert [row.depth for row in result.complete_rows] == [0, 300]
    assert result.left_out == [5000]
    for row in result.rows:
        assert row.prefill.values == pytest.approx([100, 100, 100])
        assert row.decode.values == pytest.approx([10, 10, 10])
        assert row.first_token.values == pytest.approx([2.1, 2.1, 2.1])
    assert (len(result.load.values), result.memory_bytes, result.peak_bytes) == (3, 7, 9)


def test_only_the_prompt_behind_the_depth_is_read_each_time(clocked: type[Clocked]) -> None:
    measured(Plan((0, 300), prompt=200, answer=20, repeats=3))
    prompts = [ids for ids, most in clocked.asked if most == 1]
    assert [len(ids) for ids in prompts] == [201] * 3 + [500] * 3
    behind = prompts[3:]
    assert len({ids[:300] for ids in behind}) == 1
    assert len({ids[300] for ids in behind}) == 3  # or some of it would be in the cache already
    assert all(ids[0] == 1 for ids, _ in clocked.asked)
    assert [len(ids) for ids, most in clocked.asked if most == 21] == [2] * 3 + [301] * 3
    assert not any(options.speculation for options in clocked.options)


def test_an_answer_that_never_comes(clocked: type[Clocked]) -> None:
    from quant.errors import EngineError

    clocked.ends = 0
    with pytest.raises(EngineError, match="ends every answer at once"):
        measured(Plan((0,), prompt=10, answer=5, repeats=1))


def result_of(*rows: Row) -> Result:
    plan = Plan((0, 4096, 9999), 512, 64, 3)
    return Result(plan, Series([0.5, 0.7, 0.51]), [*rows], [9999], INFO, 200_000_000, 300_000_000)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Row(0, Series([1500.0, 1700.0, 1650.0]), Series([0.31, 0.3, 0.33]), Series([60.0, 61.5, 61.0]))
    benchmark_report.show("tiny", result_of(rows, Row(4096, Series([1.0]))), as_json=False, interrupted=True)
    out, err = capsys.readouterr()
    assert out == (
        "model     tiny, 8.0M parameters, 5.0 MB\n"
        "computed  on the CPU, 2 threads\n"
        "load      0.51 ± 0.10 s\n"
        "memory    200 MB, at most 300 MB\n"
        "\n"
        "DEPTH  PREFILL 512 TOKENS/S  FIRST TOKEN S  DECODE 64 TOKENS/S\n"
        "    0           1,650 ± 100  0.310 ± 0.015          61.0 ± 0.8\n"
    )
    assert err == "(the context holds 1,000 tokens: left out 9,999)\n"


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Row(0, Series([1500.0]), Series([0.31]), Series([60.0]))
    benchmark_report.show("tiny", result_of(rows), as_json=True, interrupted=False)
    told = json.loads(capsys.readouterr().out)
    assert told["depths"][0]["decode_tokens_per_s"] == {"median": 60.0, "low": 60.0, "high": 60.0, "values": [60.0]}
    assert (told["load_s"]["median"], told["left_out"], told["interrupted"]) == (0.51, [9999], False)
    benchmark_report.show("tiny", Result(Plan()), as_json=True, interrupted=True)
    assert json.loads(capsys.readouterr().out)["load_s"] is None


def test_a_real_model(tmp_path: Path) -> None:
    model = tape.write(tmp_path / "tape", TEXT)
    options = ["--depths", "0,40", "--prompt", "30", "--tokens", "8", "--repeats", "2", "--ctx", "128"]
    done = minichat("bench", model, *options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert [row["depth"] for row in told["depths"]] == [0, 40]
    assert all(0 < low["low"] <= low["high"] for row in told["depths"] for low in list(row.values())[1:])
    assert (told["model"], told["ctx"]) == ("tape.gguf", 128)


def test_ctrl_c_shows_what_there_is(tmp_path: Path) -> None:
    model = tape.write(tmp_path / "tape", TEXT)
    command = [*MINICHAT, "bench", str(model), "--depths", "0,16", "--prompt", "16", "--tokens", "8", "--json"]
    with subprocess.Popen([*command, "--repeats", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    told = json.loads(out)
    assert told["interrupted"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--depths", "x"], 2, "--depths 'x': numbers of tokens with commas between"),
        (["--depths", ""], 2, "numbers of tokens"),
        (["--tokens", "0"], 2, "--tokens"),
        (["--depths", "5000000"], 2, "nothing fits: the context holds"),
    ],
)
def test_what_cannot_be_measured(tmp_path: Path, options: list[str], code: int, says: str) -> None:
    model = tape.write(tmp_path / "tape", TEXT)
    done = minichat("bench", model, *options, "--repeats", "1", "--ctx", "64")
    assert done.returncode == code
    assert says in done.stderr.splitlines()[-1]


def test_a_model_that_is_not_there() -> None:
    fails(3, "no model 'nope'", "bench", "nope")
