"""A context that grows says what one says that was as large from the start, bit by bit, and stops where memory does."""

from __future__ import annotations

import doctest
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import passkey
import pytest

from convert.gguf_file import read_header
from convert.pipeline import convert
from minichat.engine import growth
from minichat.engine.client import Engine
from minichat.engine.fitting import fit_for
from minichat.engine.growth import Growth
from minichat.engine.llama import BATCH, START_CTX, Llama
from minichat.engine.types import CacheType, Done, LoadOptions, Sampling
from minichat.fit import Demand, Device, Fit, Parts, Room
from minichat.memory import Shape
from minichat.template.pieces import Tokens
from quant.errors import ContextError, EngineError, FitError, UsageError

START, MOST = 1024, 4096


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "windows.gguf"
    convert(passkey.CHECKPOINT, path, "f32")
    return path


def opened(path: Path, start: int = START, most: int = MOST, cache_type: CacheType = "f16") -> Llama:
    options = LoadOptions(threads=1, cache_type=cache_type)
    fit = fit_for("m", read_header(path), options)
    assert fit is not None
    return Llama(path, options, None, replace(fit, start=start, most=most))


def tokens(count: int, seed: int = 1) -> list[int]:
    drawn = random.Random(seed)
    return [drawn.randrange(3, 250) for _ in range(count)]


def read(model: Llama, ids: list[int]) -> list[float]:
    """The logits behind these."""
    for place in range(0, len(ids), BATCH):
        assert model.decode(ids[place : place + BATCH])
    return list(model.logits())


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_no_token_is_computed_twice_and_none_is_another(
    small_gguf: Path, cache_type: CacheType, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0

    def counted(self: Llama, ids: list[int], *rest: object) -> bool:
        nonlocal computed
        computed += len(ids)
        return decode(self, ids, *rest)  # type: ignore[arg-type]

    decode = Llama._decode
    grows, large = opened(small_gguf, cache_type=cache_type), opened(small_gguf, MOST, cache_type=cache_type)
    assert (grows.opened, grows.ctx, large.opened) == (START, MOST, MOST)
    ids = tokens(700)
    expected = read(large, ids)
    monkeypatch.setattr(Llama, "_decode", counted)
    assert read(grows, ids) == expected
    assert (grows.opened, grows.ctx, computed) == (2 * START, MOST, len(ids))
    assert read(grows, ids[:3]) == read(large, ids[:3])
    assert grows.cached == large.cached


def test_windows_are_carried_over(windows: Path) -> None:
    grows, large = opened(windows, 1024, 2048), opened(windows, 2048, 2048)
    ids = tokens(900)
    assert read(grows, ids) == pytest.approx(read(large, ids), abs=1e-3)  # another order of sums
    assert (grows.opened, large.opened) == (2048, 2048)
    other = [*ids[:-1], 7]
    assert grows.reuse(other) == large.reuse(other)
    assert read(grows, [7, 8]) == pytest.approx(read(large, [7, 8]), abs=1e-3)


def test_a_prompt_opens_at_once_what_it_needs(small_gguf: Path) -> None:
    model = opened(small_gguf)
    model.reserve(3000)
    assert (model.opened, model.cached) == (4096, [])
    model.reserve(9000)
    assert (model.opened, model.ctx) == (MOST, MOST)


def test_where_memory_ends_the_context_does(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(small_gguf)
    read(model, tokens(400))
    monkeypatch.setattr(Growth, "is_room", lambda *_: False)
    read(model, tokens(300))  # wants to grow, and cannot
    assert (model.opened, model.ctx) == (START, START)
    read(model, tokens(START - 700))
    assert len(model.cached) == model.ctx
    monkeypatch.undo()
    model.reserve(START + 1)  # another prompt asks again
    assert (model.opened, model.ctx, len(model.cached)) == (2 * START, MOST, START)


def test_a_context_that_cannot_be_opened_leaves_the_old_one(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = opened(small_gguf), opened(small_gguf)
    ids = tokens(400)
    assert read(model, ids) == read(other, ids)
    new_context = Llama._new_context

    def failing(self: Llama, n_ctx: int) -> None:
        if n_ctx > START:
            raise EngineError("no room")
        new_context(self, n_ctx)

    monkeypatch.setattr(Llama, "_new_context", failing)
    model.reserve(2000)
    assert (model.opened, model.ctx, len(model.cached)) == (START, START, 400)
    assert read(model, [5]) == read(other, [5])


def test_a_context_that_is_lost_is_an_error_and_opened_again(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the longer context nor the old one can be opened any more: each request is refused, none crashes."""
    model, other = opened(small_gguf), opened(small_gguf, START_CTX)
    ids = tokens(400)
    read(model, ids)

    def failing(*_: object) -> None:
        raise EngineError("no room")

    with monkeypatch.context() as short:
        short.setattr(Llama, "_new_context", failing)
        with pytest.raises(EngineError, match=r"^the context was lost when it grew: no room$"):
            model.reserve(2000)
        assert (model.opened, model.cached) == (0, [])
        for request in (
            lambda: model.reserve(2000), lambda: model.decode(ids), lambda: model.resize(3000),
            model.clear, model.logits, model.kept_from, lambda: model.state_size(0),
        ):  # fmt: skip
            with pytest.raises(EngineError, match=r"^no room$"):
                request()
    assert read(model, ids) == read(other, ids)
    assert (model.opened, model.ctx, model.cached) == (START_CTX, MOST, ids)
    model.reserve(START_CTX + 1)
    assert (model.opened, model.ctx) == (MOST, MOST)


def test_the_last_chance_for_the_longest_is_taken(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where twice as long would leave no room to carry that over later, all is opened at once."""
    model = opened(small_gguf)
    monkeypatch.setattr(model, "_can_grow", lambda old, _: old == START)
    model.reserve(START + 1)
    assert (model.opened, model.ctx) == (MOST, MOST)


def test_an_engine_without_numbers_opens_all_at_once(small_gguf: Path) -> None:
    model = Llama(small_gguf, LoadOptions(ctx=512, threads=1))
    assert (model.opened, model.ctx) == (512, 512)
    model.reserve(9999)
    assert (model.opened, model.ctx) == (512, 512)


# What there is room for.


def test_room_for_a_longer_context_is_counted() -> None:
    shape = Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768, n_heads=32)
    demand = Demand(shape, Parts(0, (335_000_000,) * 40, 0))
    more = demand.at(8192).ram - demand.at(4096).ram
    assert Growth(demand, 4096, 100, Room(more + 100)).is_room(8192)
    assert not Growth(demand, 4096, 101, Room(more + 100)).is_room(8192)
    assert Growth(demand, 4096, 0, Room(None)).is_room(8192)
    assert not Growth(demand, 4096, 0, Room(10**12), demand.at(8192).ram - 1).is_room(8192)
    on_gpu = replace(demand, gpu_layers=41)
    more = on_gpu.at(8192).devices - on_gpu.at(4096).devices
    assert Growth(on_gpu, 4096, 0, Room(10**9, (Device("G", more),))).is_room(8192)
    assert not Growth(on_gpu, 4096, 0, Room(10**9, (Device("G", more - 1),))).is_room(8192)
    assert not Growth(on_gpu, 4096, 0, Room(10**8, (Device("M", more, is_unified=True),))).is_room(8192)


def test_a_refusal_has_the_numbers() -> None:
    shape = Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768, n_heads=32)
    there_is = Growth(Demand(shape, Parts(0, (335_000_000,) * 40, 0)), 4096, 0, Room(2 * 10**9))
    assert there_is.refusal(32768) == (
        "a context of 32,768 tokens takes 4.7 GB more than there is now, and 2.0 GB are free: 16,128 tokens would fit"
    )
    assert there_is.is_room(16128)
    assert not there_is.is_room(16128 + 256)


# From the front.


def test_a_chat_is_told_of_the_context_that_there_may_be(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(small_gguf, LoadOptions(threads=1)) as engine:
        info = engine.wait_loaded()
        assert (info.ctx, info.fit) == (info.ctx_train, "")
    monkeypatch.setenv("MINICHAT_MEMORY", "80M")
    with Engine(small_gguf, LoadOptions(threads=1)) as engine:
        info = engine.wait_loaded()
        assert START_CTX < info.ctx < info.ctx_train
        assert info.fit == (
            f"a context of {info.ctx:,} tokens fits into the 80.0 MB that are free; the model was trained for 32,768"
        )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is told otherwise")
@pytest.mark.parametrize(("ctx", "cache_type"), [(1024, "f16"), (16384, "q8_0")])
def test_what_is_foretold_is_what_is_taken(small_gguf: Path, ctx: int, cache_type: CacheType) -> None:
    options = LoadOptions(threads=1, ctx=ctx, cache_type=cache_type)
    fit = fit_for("m", read_header(small_gguf), options)
    assert fit is not None
    assert fit.demand is not None
    with Engine(small_gguf, options) as engine:
        taken = answered(engine, tokens(1000)).stats.peak_bytes
    assert 0.85 * taken < fit.demand.at(ctx).ram < 1.35 * taken  # other machines, other sizes of an interpreter


def test_too_much_is_refused_before_it_is_loaded(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICHAT_MEMORY", "40M")
    with Engine(small_gguf) as engine, pytest.raises(FitError, match=r"free are 40\.0 MB of RAM"):
        engine.wait_loaded()
    monkeypatch.setenv("MINICHAT_MEMORY", "many")
    with Engine(small_gguf) as engine, pytest.raises(UsageError, match="'many': give a size"):
        engine.wait_loaded()
    monkeypatch.delenv("MINICHAT_MEMORY")
    odd = LoadOptions(cache_type="q8_0", flash_attention="off")
    with Engine(small_gguf, odd) as engine, pytest.raises(UsageError, match="q8_0 needs flash attention"):
        engine.wait_loaded()


@pytest.fixture(scope="module")
def engine(small_gguf: Path) -> Iterator[Engine]:
    with Engine(small_gguf, LoadOptions(threads=1, ctx=300)) as engine:
        yield engine


def answered(engine: Engine, ids: list[int], length: int = 3) -> Done:
    *_, done = engine.generate([Tokens(tuple(ids))], Sampling(temperature=0), length)
    assert isinstance(done, Done)
    return done


def test_another_context_keeps_what_was_read(engine: Engine) -> None:
    ids = tokens(290)
    first = answered(engine, ids)
    with pytest.raises(ContextError):
        answered(engine, tokens(400))
    assert answered(engine, ids).stats.reused_tokens == len(ids) - 1
    assert engine.resize(2000).ctx == 2000
    done = answered(engine, ids)
    assert (done.tokens, done.stats.reused_tokens) == (first.tokens, len(ids) - 1)
    assert answered(engine, [*ids, *done.tokens, *tokens(400)]).stats.reused_tokens == len(ids) + len(done.tokens) - 1
    with pytest.raises(UsageError, match="at most 32,768"):
        engine.resize(40_000)
    assert engine.wait_loaded().ctx == 2000
    assert engine.resize(200).ctx == 200
    with pytest.raises(ContextError):
        answered(engine, ids)
    assert len(answered(engine, ids[:100]).tokens) == 3


def test_examples() -> None:
    assert doctest.testmod(growth).failed == 0
    assert Fit(1, 2, 0).note == ""
