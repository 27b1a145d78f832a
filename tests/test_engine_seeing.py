"""A model that sees, against transformers: features, logits, and the ways of a picture through cache and client."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seeing
from numpy.typing import NDArray
from seeing import IMG_BREAK, IMG_END, Seeing, encode, noise

from convert.gguf_file import read_header
from minichat.engine import generation
from minichat.engine.client import Answer, Engine
from minichat.engine.eyesight import Room, gallery_for, read_sound_projector
from minichat.engine.llama import Llama
from minichat.engine.speculation import Speculation
from minichat.engine.types import Done, LoadOptions, Prefill, Sampling
from minichat.template.pieces import Image, Piece, Tokens
from quant.errors import DataError, EngineError, FitError, GgufError, MinichatError, TemplateError

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Seeing:
    """Mistral Small 3.1's shape: squares of 28 pixels."""
    return seeing.seeing("mistral3-vision", tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def pixtral(tmp_path_factory: pytest.TempPathFactory) -> Seeing:
    """Pixtral 12B's: squares of 16 pixels, nothing merged."""
    return seeing.seeing("pixtral-vision", tmp_path_factory.mktemp("pixtral"))


@pytest.fixture(scope="module")
def engine(small: Seeing) -> Iterator[Engine]:
    with Engine(small.model, LoadOptions(ctx=256, projector=str(small.projector), threads=1)) as engine:
        yield engine


def loaded(model: Seeing, ctx: int = 256) -> Llama:
    projector = read_sound_projector(model.projector, read_header(model.model).metadata, "the model")
    llama = Llama(model.model, LoadOptions(ctx=ctx, threads=1))
    llama.gallery = gallery_for(projector, llama, Room(projector, on_gpu=False), lambda: None)
    return llama


def read(llama: Llama, pieces: Sequence[Piece], step: int = 512) -> list[int]:
    """Reads a prompt in batches of `step`; its ids as they are cached."""

    class Pace:
        size = step

        def took(self, tokens: int, seconds: float) -> None: ...

    assert llama.gallery is not None
    prompt = llama.gallery.encode_prompt(pieces, encode)
    *_, last = generation.prefill(llama, prompt, lambda: False, pace=Pace())  # type: ignore[arg-type]
    assert last.done == len(prompt)
    return prompt


def logits(llama: Llama) -> NDArray[np.float32]:
    return np.array(llama.logits())


def done(events: Answer) -> Done:
    *_, last = events
    assert isinstance(last, Done)
    return last


@pytest.mark.parametrize("name", ["small", "pixtral"])
def test_features_and_logits_are_those_of_transformers(name: str, request: pytest.FixtureRequest) -> None:
    model: Seeing = request.getfixturevalue(name)
    llama = loaded(model)
    prompt = read(llama, model.pieces())
    assert llama.gallery is not None
    found = llama.gallery.features(prompt[model.ids.index(seeing.IMG)])
    rows = np.ctypeslib.as_array(found.rows).reshape(found.count, found.width)
    is_break = np.array([token == IMG_BREAK for token in model.ids if token in (seeing.IMG, IMG_BREAK)])
    scale = np.sqrt(np.mean(model.features**2))
    assert np.abs(rows[~is_break] - model.features).max() < 0.005 * scale
    for end in range(1, len(prompt) + 1):  # after every token, those of the picture among them
        list(generation.prefill(llama, prompt[:end], lambda: False))
        ours, theirs = logits(llama), model.logits[end - 1].astype(np.float32)
        assert ours.argmax() == theirs.argmax(), end
        assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max(), end


def test_in_whatever_batches_a_picture_is_read_it_is_the_same(small: Seeing) -> None:
    expected = []
    for step in (512, 1, 3, 7):
        llama = loaded(small)
        read(llama, small.pieces(), step)
        expected.append(logits(llama))
    assert max(np.abs(other - expected[0]).max() for other in expected[1:]) < 0.02


def test_two_pictures_are_told_apart_by_what_is_in_them(small: Seeing, tmp_path: Path) -> None:
    """A second picture of the same size in the place of the first: nothing of that is left."""
    other = noise(tmp_path / "b.ppm", small.image.columns, small.image.rows, seed=5)
    llama, fresh = loaded(small), loaded(small)
    before, behind = Tokens((1, 3)), Tokens((1050, 4))
    read(llama, [before, small.image, behind])
    assert llama.gallery is not None
    prompt = llama.gallery.encode_prompt([before, other, behind], encode)
    assert llama.reuse(prompt) == 2
    read(llama, [before, other, behind])
    read(fresh, [before, other, behind])
    assert np.abs(logits(llama) - logits(fresh)).max() < 0.02
    read(llama, [before, other, Tokens((1050,)), small.image, Tokens((1060,)), other, behind])
    assert llama.gallery.encoded == 0  # in whatever order they come now
    read(fresh, [before, other, Tokens((1050,)), small.image, Tokens((1060,)), other, behind])
    assert np.abs(logits(llama) - logits(fresh)).max() < 0.02


def test_a_cache_that_was_cut_within_a_picture_goes_on_from_there(small: Seeing) -> None:
    llama = loaded(small)
    prompt = read(llama, small.pieces())
    expected = logits(llama)
    for place in (4, 8, 16):
        assert llama.cut(place)
        assert llama.reuse(prompt) == place
        list(generation.prefill(llama, prompt, lambda: False))
        assert np.abs(logits(llama) - expected).max() < 0.02


def test_a_context_grows_with_a_picture_in_it(small: Seeing) -> None:
    llama = loaded(small, 64)
    read(llama, small.pieces())
    expected = logits(llama)
    llama.resize(512)
    list(generation.prefill(llama, list(llama.cached), lambda: False))
    assert np.abs(logits(llama) - expected).max() < 0.02


def test_ids_that_stand_for_nothing_are_an_error(small: Seeing) -> None:
    llama = loaded(small)
    with pytest.raises(EngineError, match="has not been encoded"):
        llama.decode([-5])
    with pytest.raises(EngineError, match="stands for no picture"):
        list(generation.prefill(llama, [1, -5, 13], lambda: False))
    prompt = read(llama, small.pieces())
    row = next(token for token in prompt if token < 0)
    llama.clear()
    with pytest.raises(EngineError, match="more of a picture than there is"):
        llama.decode([row] * 15)
    llama.gallery = None
    with pytest.raises(EngineError, match="none of the"):
        llama.decode([row])


# Through worker and client.


def test_the_client_answers_about_a_picture_and_again_at_no_cost(engine: Engine, small: Seeing, tmp_path: Path) -> None:
    info = engine.wait_loaded()
    assert (info.sees, info.picture_side, info.picture_patch) == (True, 1540, 28)
    assert info.picture_tokens == 55 * 56
    assert engine.tokenize(small.pieces())[0] == small.ids
    events = list(engine.generate(small.pieces(), GREEDY, max_tokens=3))
    assert [event.picture for event in events if isinstance(event, Prefill)] == ["", small.image.source, ""]
    first = events[-1]
    assert isinstance(first, Done)
    assert first.tokens[0] == small.logits[-1].astype(np.float32).argmax()
    assert (first.stats.pictures, first.stats.prompt_tokens) == (1, len(small.ids))
    assert 0 < first.stats.encode_s <= first.stats.prefill_s
    again = done(engine.generate(small.pieces(), GREEDY, max_tokens=3))
    assert again.tokens == first.tokens
    assert (again.stats.pictures, again.stats.encode_s) == (0, 0.0)
    assert again.stats.reused_tokens == len(small.ids) - 1
    elsewhere: list[Piece] = [Tokens((1, 1050)), small.image, Tokens((4,))]
    assert done(engine.generate(elsewhere, GREEDY, max_tokens=1)).stats.pictures == 0


def test_a_picture_is_read_ahead_of_what_is_typed(engine: Engine, tmp_path: Path) -> None:
    image = noise(tmp_path / "ahead.ppm", 3, 5)
    assert done(engine.prefill([Tokens((1, 3)), image, Tokens((1050,))], ahead=True)).stats.pictures == 1
    stats = done(engine.generate([Tokens((1, 3)), image, Tokens((1050, 1051, 4))], GREEDY, max_tokens=1)).stats
    assert (stats.pictures, stats.reused_tokens) == (0, 2 + 20 + 1)


def test_a_stop_does_not_wait_for_a_large_picture(small: Seeing, tmp_path: Path) -> None:
    """It takes many seconds to encode; the next question, about texts, does not wait for it either."""
    large = noise(tmp_path / "large.ppm", 55, 55)
    with Engine(small.model, LoadOptions(ctx=4096, projector=str(small.projector), threads=1)) as engine:
        engine.wait_loaded()
        for ahead in (True, False):
            events = engine.prefill([Tokens((1, 3)), large], ahead=ahead)
            assert any(isinstance(event, Prefill) and event.picture == "large.ppm" for event in events)
            begin = time.monotonic()
            engine.stop()
            last = done(events)
            assert time.monotonic() - begin < 3
            assert last.stats.pictures == 0
        answer = done(engine.generate([Tokens((1, 3, 1050, 4))], GREEDY, max_tokens=2))
        assert len(answer.tokens) == 2
        assert time.monotonic() - begin < 5


def test_a_text_chat_never_loads_the_projector(small: Seeing, tmp_path: Path) -> None:
    """It is read with the first picture: what it holds is not looked at before."""
    hollow = tmp_path / "mmproj.gguf"
    hollow.write_bytes(small.projector.read_bytes())
    with Engine(small.model, LoadOptions(ctx=64, projector=str(hollow), threads=1)) as engine:
        engine.wait_loaded()
        hollow.unlink()
        assert done(engine.generate([Tokens((1, 3, 1050, 4))], GREEDY, max_tokens=2)).stats.encode_s == 0
        with pytest.raises(GgufError, match=r"mmproj\.gguf"):
            list(engine.generate(small.pieces(), GREEDY, max_tokens=2))
        assert done(engine.generate([Tokens((1, 3, 1050, 4))], GREEDY, max_tokens=2)).tokens


def test_a_saved_state_holds_pictures_and_belongs_to_the_projector(
    small: Seeing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minichat.engine.state.MIN_GAIN_S", 0.0)
    from minichat.engine.state import States
    from minichat.engine.state_file import read_head

    state = tmp_path / "a.kv"
    options = LoadOptions(ctx=64, projector=str(small.projector))
    llama = loaded(small, 64)
    prompt = read(llama, small.pieces())
    expected = logits(llama)
    states = States(llama, small.model, options)
    states.note(done_stats(len(prompt)))
    assert llama.gallery is not None
    llama.gallery.row_s = 2.0  # pictures are encoded again where the state is not there
    assert states.save(state, 1 << 30)
    with state.open("rb") as file:
        pace = read_head(file, states._own_key()).facts.prefill_tokens_per_s
    assert pace == pytest.approx(21 / (10 + 14 * 2))
    other = tmp_path / "other.gguf"
    other.write_bytes(small.projector.read_bytes()[:-4] + b"abcd")
    for its, taken in ((options, True), (replace(options, projector=str(other)), False)):
        fresh = loaded(small, 64)
        States(fresh, small.model, its).offer(state)
        waiting = States(fresh, small.model, its)
        waiting.offer(state)
        assert fresh.gallery is not None
        fresh.gallery.encode_prompt(small.pieces(), encode)
        waiting.restore(prompt, lambda: False)
        assert (fresh.cached == prompt) is taken
        if taken:
            list(generation.prefill(fresh, prompt, lambda: False))
            assert fresh.gallery.encoded == 0
            assert np.abs(logits(fresh) - expected).max() < 0.02


def done_stats(tokens: int) -> Any:
    from minichat.engine.types import Stats

    return Stats(tokens, 0, 1, 10.0, 10.0, 0.1, tokens)


def test_a_model_without_a_projector_says_so_and_goes_on(small: Seeing) -> None:
    with Engine(small.model, LoadOptions(ctx=64, threads=1)) as engine:
        assert not engine.wait_loaded().sees
        with pytest.raises(DataError, match=r"reads text alone.*--mmproj FILE"):
            list(engine.generate(small.pieces(), GREEDY))
        with pytest.raises(DataError, match=r"reads text alone.*--mmproj FILE"):
            list(engine.prefill(small.pieces()))
        assert engine.tokenize(small.pieces())[0] == small.ids
        assert done(engine.generate([Tokens((1, 3, 4))], GREEDY, max_tokens=1)).tokens


def test_weights_that_are_no_numbers_are_told(small: Seeing, tmp_path: Path) -> None:
    header = read_header(small.projector)
    norm = next(tensor for tensor in header.tensors if tensor.name == "v.pre_ln.weight")
    raw = bytearray(small.projector.read_bytes())
    begin = header.data_offset + norm.offset
    raw[begin : begin + norm.nbytes] = b"\xff" * norm.nbytes
    (tmp_path / "mmproj.gguf").write_bytes(raw)
    with pytest.raises(GgufError, match="weights are damaged"):
        read(loaded(replace(small, projector=tmp_path / "mmproj.gguf")), small.pieces())


@pytest.mark.parametrize("case", ["gone", "short", "long", "other size", "no pixels", "folder"])
def test_pixels_that_are_none_are_one_line(engine: Engine, tmp_path: Path, case: str) -> None:
    image = noise(tmp_path / "a.ppm", 2, 3, seed=7)
    path = Path(image.pixels)
    raw = path.read_bytes()
    if case == "gone":
        path.unlink()
    elif case == "folder":
        image = replace(image, pixels=str(tmp_path))
    else:
        cases = {"short": raw[:-1], "long": raw + b"a", "no pixels": b"", "other size": raw.replace(b"56 84", b"84 56")}
        path.write_bytes(cases[case])
    with pytest.raises(DataError, match=r"the picture 'a\.ppm' (cannot be read any more|is damaged)") as caught:
        list(engine.generate([Tokens((1, 3)), image, Tokens((4,))], GREEDY, max_tokens=1))
    assert "\n" not in str(caught.value)
    assert done(engine.generate([Tokens((1, 3, 4))], GREEDY, max_tokens=1)).tokens


def test_pictures_that_nobody_looked_at_or_that_are_too_large(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(TemplateError):
        list(engine.generate([Image("cat.png")], GREEDY))
    with pytest.raises(DataError, match="1568 x 28 pixels; the model takes 1540"):
        list(engine.prefill([Tokens((1,)), noise(tmp_path / "a.ppm", 56, 1)]))
    with pytest.raises(
        MinichatError, match=r"holds 256; shorten it, or its pictures, 3,079 tokens, with --image-max-tokens"
    ):
        list(engine.prefill([Tokens((1,)), noise(tmp_path / "b.ppm", 55, 55)]))


def test_a_projector_of_another_model_is_one_line_before_anything_is_loaded(small: Seeing, pixtral: Seeing) -> None:
    metadata = read_header(small.model).metadata
    for path, why in (
        (small.model, "no file that a model reads pictures with"),
        (seeing.CHECKPOINTS / "README.md", "no usable GGUF"),
        (small.model.with_name("none.gguf"), "does not exist"),
    ):
        with pytest.raises(GgufError, match=why) as caught:
            read_sound_projector(path, metadata, "the model")
        assert "\n" not in str(caught.value)
    other = {**metadata, "llama.embedding_length": 5120, "mistral3.embedding_length": 5120}
    with pytest.raises(
        DataError, match="belongs to another model: it makes embeddings of 64 elements, and Big takes 5,120"
    ):
        read_sound_projector(small.projector, other, "Big")
    with (
        Engine(small.model, LoadOptions(ctx=64, projector=str(small.model))) as engine,
        pytest.raises(
            GgufError, match=r"^[^/]+: what it reads pictures with: .*; .* or use it for text alone: --mmproj none$"
        ),
    ):
        engine.wait_loaded()


def test_no_draft_model_guesses_where_pictures_are() -> None:
    """It reads text alone. The text so far may guess, but at nothing that is a picture's."""
    asked: list[int] = []

    class Drafter:
        def guess(self, text: Sequence[int], limit: int) -> list[int]:
            asked.append(limit)
            return [99] * limit

    times = iter(range(1000))
    speculation = Speculation(lambda _: False, Drafter(), clock=lambda: float(next(times)))
    for prompt, is_asked in (([1, 3, -5, -6, 13, 4], False), ([1, 3, 13, 4], True)):
        asked.clear()
        speculation.begin(prompt)
        guessed = []
        for token in (50, 51, 3, 52, 53, 3):
            speculation.add(token)
            guessed += speculation.guess(8)
        assert bool(asked) is is_asked
        assert all(token >= 0 for token in guessed)


def test_there_is_no_room_for_a_picture(small: Seeing, monkeypatch: pytest.MonkeyPatch) -> None:
    projector = read_sound_projector(small.projector, read_header(small.model).metadata, "the model")
    room = Room(projector, on_gpu=False)
    large = Image("large.png", 55, 55)
    free = (projector.weight_bytes + projector.buffer_bytes(500)) / 0.85
    monkeypatch.setattr("minichat.engine.eyesight.spare_bytes", lambda: free)
    assert room.most_tokens() == 500
    with pytest.raises(FitError, match=r"the picture 'large\.png' takes .* are free: --image-max-tokens 500 would fit"):
        room.check(large)
    room.check(Image("small.png", 20, 20))  # what it took is there for the next
    monkeypatch.setattr("minichat.engine.eyesight.spare_bytes", lambda: 0)
    room.check(Image("small.png", 20, 20))
    with pytest.raises(FitError, match=r"--image-max-tokens 420 would fit"):
        room.check(large)
    monkeypatch.setattr("minichat.engine.eyesight.spare_bytes", lambda: None)
    room.check(large)


def test_the_pieces_of_a_picture_cross_the_pipe_as_the_protocol_says(small: Seeing) -> None:
    from minichat.template.pieces import to_json

    assert set(json.loads(json.dumps(to_json(small.image)))["image"]) == {"source", "columns", "rows", "pixels", "key"}
    assert encode(small.pieces()) == small.ids
    assert small.ids.count(IMG_END) == 1


DIRTY = """
import ctypes, json, sys
from pathlib import Path
libc = ctypes.CDLL(None)
MMAP_THRESHOLD, PERTURB = -3, -6
assert libc.mallopt(MMAP_THRESHOLD, 1 << 30) and libc.mallopt(PERTURB, 256)  # every byte is 0xff: floats are no numbers
import test_engine_seeing as test, seeing
small = seeing.seeing("mistral3-vision", Path(sys.argv[1]))
llama = test.loaded(small)
test.read(llama, small.pieces())
print(json.dumps(test.logits(llama).tolist()))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told what to leave in memory")
def test_what_memory_held_before_is_no_part_of_a_picture(small: Seeing, tmp_path: Path) -> None:
    """libmtmd multiplies memory that it has not written with zero, to clear it: NaN stays NaN."""
    tests = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", DIRTY, tmp_path],
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{tests}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert np.abs(np.array(json.loads(run.stdout)) - small.logits[-1]).max() < 0.02 * np.abs(small.logits[-1]).max()
