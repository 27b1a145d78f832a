from __future__ import annotations

import doctest
import io
import json
from dataclasses import replace
from typing import Any

import pytest

import minichat.plan as plan_module
from minichat.memory import Needed, Shape, needed
from minichat.plan import Grid, Plan, PlannedFile, show_grid, show_plan

GB = 10**9
MINISTRAL = Shape(36, 4096, 12288, 2 * 8 * 128, 131072, 131072, window=32768, windowed_layers=27)
PLAN = Plan(
    name="mistral-small:24b-instruct-2501-q4_K_M",
    repo="mistralai/Mistral-Small-24B-Instruct-2501",
    revision="20b2ed1c4e9af44b9ad125f79f713301e27737e2",
    target="q4_K_M",
    converts=True,
    files=(PlannedFile("config.json", 1_000), *[PlannedFile("model.safetensors", 4_714_000_000)] * 10),
    model_bytes=14_334_000_000,
    licence="apache-2.0",
    ctx=8192,
    memory=Needed(14_334_000_000, 1_342_177_280, 289_931_264, 160_000_000),
    available_bytes=24 * GB,
    disk_free_bytes=210 * GB,
)  # fmt: skip


def shown(plan: Plan) -> str:
    stream = io.StringIO()
    show_plan(plan, False, stream)
    return stream.getvalue()


def grid_text(grid: Grid) -> str:
    stream = io.StringIO()
    show_grid(grid, False, stream)
    return stream.getvalue()


def as_json(show: Any, what: Plan | Grid) -> Any:
    stream = io.StringIO()
    show(what, True, stream)
    return json.loads(stream.getvalue())


def test_a_grid_of_files_that_do_not_tell_of_memory() -> None:
    grid = Grid("a/b", None, {"q4_K_M": 5 * GB, "q8_0": 9 * GB}, 7 * GB, 6 * GB)
    assert grid_text(grid) == (
        "a/b: disk; the files do not tell of memory\n"
        "QUANT     DISK\n"
        "q4_K_M  5.0 GB *\n"
        "q8_0    9.0 GB\n"
        "* fits into what is free now: 6.0 GB of disk\n"
    )
    assert [row["contexts"] for row in as_json(show_grid, grid)["quantizations"]] == [[], []]


def test_a_plan_tells_all_before_the_first_byte() -> None:
    assert shown(PLAN) == (
        "model    mistral-small:24b-instruct-2501-q4_K_M\n"
        "source   mistralai/Mistral-Small-24B-Instruct-2501 @ 20b2ed1c4e9a\n"
        "licence  apache-2.0\n"
        "fetch    11 files, 47.1 GB, 1 h 3 min at 100 Mbit/s, quantized to q4_K_M as they arrive\n"
        "disk     14.3 GB when done, 210 GB free: fits\n"
        "memory   16.1 GB with a context of 8,192 tokens, 24.0 GB free: fits\n"
    )


def test_what_does_not_fit_is_told() -> None:
    text = shown(replace(PLAN, available_bytes=8 * GB, disk_free_bytes=GB))
    assert "8.0 GB free: does not fit (`--plan` compares quantizations)" in text
    assert "disk     14.3 GB when done, 1.0 GB free: does not fit" in text


def test_what_is_here_already_is_not_fetched() -> None:
    files = (PlannedFile("a", 40 * GB, here_bytes=10 * GB), PlannedFile("b", GB, here_bytes=GB))
    plan = replace(PLAN, files=files, disk_free_bytes=5 * GB, written_bytes=10 * GB)
    assert plan.fetch_bytes == 30 * GB
    assert plan.fits_disk
    assert "fetch    2 files, 41.0 GB, of them 11.0 GB are here, 40 minutes at 100 Mbit/s" in shown(plan)
    done = replace(PLAN, converts=False, files=(PlannedFile("a.gguf", GB, here_bytes=GB),))
    assert "fetch    1 file, 1.0 GB, all here\n" in shown(done)


def test_what_is_not_known_is_left_out() -> None:
    plan = replace(PLAN, revision=None, licence=None, memory=None, available_bytes=None, disk_free_bytes=None)
    text = shown(plan)
    assert "source  mistralai/Mistral-Small-24B-Instruct-2501\n" in text
    assert "disk    14.3 GB\n" in text
    assert "licence" not in text
    assert "memory" not in text
    assert (plan.fits_memory, plan.fits_disk) == (None, None)
    assert "memory   16.1 GB with a context of 8,192 tokens\n" in shown(replace(PLAN, available_bytes=None))


def test_what_a_hub_says_cannot_move_the_cursor() -> None:
    text = shown(replace(PLAN, repo="a/b\x1b[2J\n", licence="mit\x9b1m"))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert len(text.splitlines()) == 6


def test_the_exact_limit_fits() -> None:
    assert PLAN.memory is not None
    assert replace(PLAN, available_bytes=PLAN.memory.total).fits_memory is True
    assert replace(PLAN, available_bytes=PLAN.memory.total - 1).fits_memory is False
    assert replace(PLAN, disk_free_bytes=PLAN.model_bytes).fits_disk is True
    assert replace(PLAN, disk_free_bytes=PLAN.model_bytes - 1).fits_disk is False


def test_a_plan_as_json_is_exact() -> None:
    facts = as_json(show_plan, PLAN)
    assert facts["fetch_bytes"] == facts["total_bytes"] == 47_140_001_000
    assert facts["memory"]["total"] == 16_126_108_544
    assert (facts["fits_memory"], facts["fits_disk"], facts["ctx"]) == (True, True, 8192)
    assert facts["files"][0] == {"name": "config.json", "size_bytes": 1000, "here_bytes": 0}
    assert as_json(show_plan, replace(PLAN, memory=None))["memory"] is None


def test_the_grid_marks_what_fits() -> None:
    sizes = {"q4_K_M": 4_910_000_000, "q8_0": 8_530_000_000, "fp16": 16_050_000_000}
    assert grid_text(Grid("ministral:8b", MINISTRAL, sizes, available_bytes=13 * GB, disk_free_bytes=10 * GB)) == (
        "ministral:8b: disk, and memory at contexts of so many tokens\n"
        "QUANT      DISK      4,096      8,192     32,768    131,072\n"
        "q4_K_M   4.9 GB *   5.8 GB *   6.4 GB *  10.1 GB *  13.9 GB\n"
        "q8_0     8.5 GB *   9.4 GB *  10.1 GB *  13.7 GB    17.5 GB\n"
        "fp16    16.1 GB    17.0 GB    17.6 GB    21.2 GB    25.0 GB\n"
        "* fits into what is free now: 10.0 GB of disk and 13.0 GB of memory\n"
    )


def test_a_grid_marks_nothing_where_nothing_is_known() -> None:
    text = grid_text(Grid("x", MINISTRAL, {"q8_0": GB}))
    assert "*" not in text
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    ("trained", "contexts"),
    [(1024, (1024,)), (8192, (4096, 8192)), (40960, (4096, 8192, 32768, 40960)), (131072, (4096, 8192, 32768, 131072))],
)
def test_contexts_go_up_to_the_longest_one(trained: int, contexts: tuple[int, ...]) -> None:
    assert Grid("x", replace(MINISTRAL, context_length=trained), {}).contexts == contexts


def test_a_grid_as_json_is_exact() -> None:
    facts = as_json(show_grid, Grid("x", MINISTRAL, {"q8_0": GB, "fp16": 2 * GB}, available_bytes=9 * GB))
    assert [row["target"] for row in facts["quantizations"]] == ["q8_0", "fp16"]
    assert [row["fits_disk"] for row in facts["quantizations"]] == [None, None]
    cells = facts["quantizations"][0]["contexts"]
    assert [cell["ctx"] for cell in cells] == [4096, 8192, 32768, 131072]
    assert cells[1]["memory_bytes"] == needed(MINISTRAL, GB, 8192).total
    assert [cell["fits"] for cell in cells] == [True, True, True, False]


def test_examples() -> None:
    assert doctest.testmod(plan_module).failed == 0
