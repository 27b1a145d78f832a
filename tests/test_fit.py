"""What is chosen to fit, and what is refused."""

from __future__ import annotations

import doctest
import random
import re
from dataclasses import replace

import pytest

from convert.gguf_file import GgufHeader, TensorInfo
from minichat import fit
from minichat.engine.types import CacheType, LoadOptions
from minichat.fit import (
    Demand,
    Device,
    Parts,
    Room,
    Sight,
    choose,
    choose_with_draft,
    choose_with_sight,
    longest,
    parts_of,
)
from minichat.memory import Shape, kv_cache_bytes, needed
from quant.errors import FitError

GB = 10**9
# Mistral Small 3 at q4_K_M: the table of the input, 40 layers, the output.
SMALL3 = Shape(40, 5120, 32768, 2 * 8 * 128, 131072, 32768, n_heads=32)
PARTS = Parts(378_000_000, (335_000_000,) * 40, 550_000_000)
DEMAND = Demand(SMALL3, PARTS)
RAGGED = Shape(36, 4096, 12288, 2 * 8 * 128, 131072, 131072, window=32768, windowed_layers=27, n_heads=32)


def test_on_the_cpu_all_of_it_is_in_ram() -> None:
    for ctx in (512, 8192, 32768):
        taken = DEMAND.at(ctx)
        assert (taken.ram, taken.devices) == (needed(SMALL3, PARTS.total, ctx).total, 0)


def test_what_is_on_the_gpus_and_what_is_not_add_up() -> None:
    everything = DEMAND.at(8192)
    for layers in range(42):
        taken = replace(DEMAND, gpu_layers=layers).at(8192)
        compute_twice = taken.ram + taken.devices - everything.ram
        assert 0 <= compute_twice < 0.4 * GB
    full = replace(DEMAND, gpu_layers=41).at(8192)
    assert full.devices > PARTS.total - PARTS.head + kv_cache_bytes(SMALL3, 8192)
    assert full.ram < PARTS.head + 0.25 * GB


@pytest.mark.parametrize(("cache_type", "share"), [("q8_0", 34 / 64), ("q4_0", 18 / 64)])
def test_a_quantized_cache_is_smaller(cache_type: CacheType, share: float) -> None:
    assert kv_cache_bytes(SMALL3, 8192, cache_type) == kv_cache_bytes(SMALL3, 8192) * share


def test_a_model_that_fits_may_grow_to_what_it_was_trained_for() -> None:
    chosen = choose("m", DEMAND, LoadOptions(), Room(30 * GB))
    assert (chosen.start, chosen.most, chosen.gpu_layers, chosen.note) == (2048, 32768, 0, "")


def test_the_context_is_as_long_as_fits_and_that_is_said() -> None:
    for free in range(15 * GB, 22 * GB, GB // 3):
        chosen = choose("m", DEMAND, LoadOptions(), Room(free))
        assert DEMAND.fits(chosen.most, Room(free))
        if chosen.most < 32768:
            assert f"{chosen.most:,} tokens" in chosen.note
            assert not DEMAND.fits(chosen.most + 256, Room(free), margin=True)
        assert chosen.start <= chosen.most


def test_windows_let_a_context_be_longer() -> None:
    plain = replace(RAGGED, window=0, windowed_layers=0)
    parts = Parts(10**8, (120_000_000,) * 36, 10**8)
    room = Room(12 * GB)
    assert longest(Demand(RAGGED, parts), room, 131072) > 1.5 * longest(Demand(plain, parts), room, 131072) > 0


@pytest.mark.parametrize(
    ("options", "free", "out"),
    [
        (LoadOptions(ctx=32768), 18 * GB, r"--ctx 14080 or --cache-type q8_0 would fit$"),
        (LoadOptions(ctx=32768), 16.5 * GB, r"--ctx \d+ or --cache-type q4_0 would fit$"),
        (LoadOptions(ctx=32768, cache_type="q4_0"), 15.5 * GB, r"--ctx \d+ would fit$"),
        (LoadOptions(), 8 * GB, r"a file of 7\.5 GB would fit: end other programs, or take a smaller model$"),
        (LoadOptions(ctx=1024), 0.1 * GB, r": end other programs, no model would fit$"),
    ],
)
def test_too_much_is_refused_with_the_numbers_and_what_would_fit(options: LoadOptions, free: float, out: str) -> None:
    with pytest.raises(FitError, match=out) as caught:
        choose("small3", replace(DEMAND, cache_type=options.cache_type), options, Room(int(free)))
    assert "\n" not in str(caught.value)
    assert "14.3 GB for weights" in str(caught.value)


def test_what_would_fit_does() -> None:
    for free in range(17 * GB, 20 * GB, GB // 2):
        with pytest.raises(FitError) as caught:
            choose("m", DEMAND, LoadOptions(ctx=32768), Room(free))
        ctx = int(str(caught.value).partition("--ctx ")[2].split()[0])
        assert choose("m", DEMAND, LoadOptions(ctx=ctx), Room(free)).most == ctx
        kind = str(caught.value).partition("--cache-type ")[2].split()[0]
        smaller = replace(DEMAND, cache_type=kind)  # type: ignore[arg-type]
        assert choose("m", smaller, LoadOptions(ctx=32768), Room(free)).most == 32768


def test_what_is_not_known_bounds_nothing() -> None:
    assert choose("m", DEMAND, LoadOptions(), Room(None)).most == 8192
    assert choose("m", DEMAND, LoadOptions(ctx=32768), Room(None)).most == 32768
    unknown = replace(DEMAND, shape=replace(SMALL3, is_exact=False))  # its cache may take less than is thought
    assert choose("m", unknown, LoadOptions(ctx=32768), Room(16 * GB)).most == 32768
    assert (
        choose("m", unknown, LoadOptions(), Room(16 * GB)).most
        == choose("m", DEMAND, LoadOptions(), Room(16 * GB)).most
    )


def test_more_than_it_was_trained_for_is_left_to_the_engine_to_refuse() -> None:
    assert choose("m", DEMAND, LoadOptions(ctx=40000), Room(GB)).most == 40000


# GPUs.


def test_all_layers_go_onto_a_gpu_that_holds_them() -> None:
    chosen = choose("m", DEMAND, LoadOptions(), Room(30 * GB, (Device("CUDA0", 24 * GB),)))
    assert (chosen.gpu_layers, chosen.most, chosen.note) == (41, 32768, "")
    assert choose("m", DEMAND, LoadOptions(device="cpu"), Room(30 * GB, (Device("CUDA0", 24 * GB),))).gpu_layers == 0


def test_as_many_layers_as_fit_and_that_is_said() -> None:
    for free in range(GB, 16 * GB, GB):
        room = Room(30 * GB, (Device("CUDA0", free),))
        chosen = choose("m", DEMAND, LoadOptions(), room)
        assert chosen.demand is not None
        assert chosen.demand.at(8192).devices <= free or not chosen.gpu_layers
        assert replace(DEMAND, gpu_layers=chosen.gpu_layers + 1).at(8192).devices > free * 0.95 - 0.3 * GB
        assert f"{chosen.gpu_layers} of 41 layers fit into the {free / GB:.1f} GB that are free on CUDA0" in chosen.note


DRAFT = Demand(Shape(20, 2048, 8192, 2 * 8 * 128, 131072, 32768, n_heads=16), Parts(10**8, (50_000_000,) * 20, 10**8))


def test_a_draft_model_is_on_the_gpu_where_all_of_the_other_is() -> None:
    for free in range(GB, 26 * GB, GB):
        room = Room(60 * GB, (Device("CUDA0", free),))
        both = choose_with_draft("m", DEMAND, LoadOptions(), room, DRAFT)
        assert both.demand is not None
        assert both.gpu_layers == 41 or not both.draft_on_gpu
        on_device = both.demand.at(8192).devices + both.draft_on_gpu * replace(DRAFT, gpu_layers=21).at(8192).devices
        assert on_device <= free or both.gpu_layers == 0
    assert both.draft_on_gpu
    for options in (LoadOptions(gpu_layers=0), LoadOptions(gpu_layers=40), LoadOptions(device="cpu")):
        assert not choose_with_draft("m", DEMAND, options, room, DRAFT).draft_on_gpu
    assert choose_with_draft("m", DEMAND, LoadOptions(gpu_layers=41), room, DRAFT).draft_on_gpu


def test_a_draft_model_takes_memory() -> None:
    for options in (LoadOptions(ctx=32768), LoadOptions()):
        most = choose("m", DEMAND, options, Room(int(20.5 * GB))).most
        assert most == 32768 or options.ctx is None
    with pytest.raises(FitError):
        choose_with_draft("m", DEMAND, LoadOptions(ctx=32768), Room(int(20.5 * GB)), DRAFT)
    shorter = choose_with_draft("m", DEMAND, LoadOptions(), Room(int(20.5 * GB)), DRAFT)
    assert shorter.most < choose("m", DEMAND, LoadOptions(), Room(int(20.5 * GB))).most
    unified = Room(20 * GB, (Device("MTL0", 20 * GB, is_unified=True),))
    assert (
        choose_with_draft("m", DEMAND, LoadOptions(), unified, DRAFT).most
        < choose("m", DEMAND, LoadOptions(), unified).most
    )


SIGHT = Sight(880_000_000, 900_000_000, 100_000_000)


def test_pictures_have_room_where_a_common_context_is_left_beside_them() -> None:
    alone = {free: choose("m", DEMAND, LoadOptions(), Room(free)).most for free in range(15 * GB, 30 * GB, GB // 4)}
    beside = {free: choose_with_sight("m", DEMAND, LoadOptions(), Room(free), SIGHT).most for free in alone}
    assert beside[max(alone)] == 32768
    assert any(8192 <= beside[free] < alone[free] for free in alone)
    for free in alone:
        assert beside[free] == alone[free] or beside[free] >= 8192
        taken = DEMAND.at(beside[free]).ram
        if beside[free] != alone[free]:
            assert taken + SIGHT.weights + SIGHT.least <= free
    with pytest.raises(FitError) as refused:
        choose_with_sight("m", DEMAND, LoadOptions(), Room(9 * GB), SIGHT)
    with pytest.raises(FitError, match=re.escape(str(refused.value))):
        choose("m", DEMAND, LoadOptions(), Room(9 * GB))
    assert choose_with_sight("m", DEMAND, LoadOptions(ctx=512), Room(15 * GB), SIGHT).most == 512


def test_a_projector_is_on_the_gpu_where_all_of_the_model_is() -> None:
    def on_gpu(free: int, options: LoadOptions | None = None, draft: Demand | None = None) -> bool:
        room = Room(64 * GB, (Device("GPU", free),))
        return choose_with_sight("m", DEMAND, options or LoadOptions(), room, SIGHT, draft).projector_on_gpu

    assert [on_gpu(free * GB) for free in (12, 16, 24)] == [False, False, True]
    assert not on_gpu(24 * GB, LoadOptions(device="cpu"))
    assert not on_gpu(24 * GB, LoadOptions(gpu_layers=20))
    assert on_gpu(24 * GB, draft=DRAFT)


def test_the_parts_of_a_refusal_add_up() -> None:
    with pytest.raises(FitError) as caught:
        choose("m", DEMAND, LoadOptions(ctx=32768), Room(18 * GB))
    told = re.search(
        r"needs (.*) of memory, (.*) for weights, (.*) for the context and (.*) for buffers;", str(caught.value)
    )
    assert told is not None
    total, *parts = (float(size.split()[0]) * {"GB": 1000, "MB": 1}[size.split()[1]] for size in told.groups())
    assert sum(parts) == pytest.approx(total, abs=150)  # each is rounded


def test_a_small_ram_does_not_matter_where_all_is_on_the_gpu() -> None:
    room = Room(2 * GB, (Device("CUDA0", 12 * GB), Device("CUDA1", 12 * GB)))
    assert choose("m", DEMAND, LoadOptions(), room).gpu_layers == 41
    shared = Room(2 * GB, (Device("Metal", 24 * GB, is_unified=True),))
    with pytest.raises(FitError):
        choose("m", DEMAND, LoadOptions(), shared)


def test_too_many_layers_are_refused_with_what_would_fit() -> None:
    room = Room(30 * GB, (Device("CUDA0", 8 * GB),))
    with pytest.raises(FitError, match=r"8\.0 GB on CUDA0: .*--gpu-layers (\d+) would fit") as caught:
        choose("m", DEMAND, LoadOptions(gpu_layers=40), room)
    layers = int(str(caught.value).partition("--gpu-layers ")[2].split()[0])
    assert choose("m", DEMAND, LoadOptions(gpu_layers=layers), room).gpu_layers == layers


def test_nothing_that_is_chosen_is_more_than_there_is() -> None:
    drawn = random.Random(7)
    for _ in range(300):
        devices = tuple(Device(f"G{n}", drawn.randrange(0, 30 * GB)) for n in range(drawn.randrange(3)))
        room = Room(drawn.randrange(0, 40 * GB), devices)
        ctx = drawn.choice([None, drawn.randrange(16, 32769)])
        layers = drawn.choice([None, drawn.randrange(0, 100)])
        options = LoadOptions(ctx, layers, device=drawn.choice(["auto", "cpu"]))
        try:
            chosen = choose("m", DEMAND, options, room)
        except FitError as error:
            assert "\n" not in str(error)
            continue
        assert chosen.demand is not None
        assert chosen.demand.fits(chosen.most, room)
        assert 16 <= chosen.start <= chosen.most <= 32768


# A file's parts.


def header(*sizes: tuple[str, int]) -> GgufHeader:
    return GgufHeader({}, [TensorInfo(name, (1,), 0, 0, size) for name, size in sizes], 0, 0)


def test_tensors_belong_to_parts() -> None:
    told = header(
        ("token_embd.weight", 1), ("blk.0.attn_q.weight", 10), ("blk.1.attn_q.weight", 100), ("blk.1.x", 1000),
        ("output_norm.weight", 10_000), ("output.weight", 100_000),
    )  # fmt: skip
    assert parts_of(told, 2) == Parts(1, (10, 1100), 110_000)
    assert parts_of(header(("token_embd.weight", 5), ("output_norm.weight", 1)), 1) == Parts(0, (0,), 6)
    odd = header(("blk.7.x", 1), ("blk.x.y", 2), ("blk", 3), ("blk.-1.x", 4), ("blk.²", 5), ("output.weight", 1))
    assert parts_of(odd, 2) == Parts(15, (0, 0), 1)


def test_examples() -> None:
    assert doctest.testmod(fit).failed == 0
