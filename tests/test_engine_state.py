"""The state of a KV cache in a file: what is taken, what is passed over, and that neither changes a token."""

from __future__ import annotations

import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import RAGGED

from minichat.engine import state_file
from minichat.engine.client import Engine
from minichat.engine.llama import Llama
from minichat.engine.state import States
from minichat.engine.state_file import DamagedStateError, Facts, check_sum, open_state, read_head, seal
from minichat.engine.types import LoadOptions, Sampling, Stats
from minichat.template.pieces import Control, Piece, Text, Tokens
from quant.errors import StorageError

KEY = Facts("of a model", 100.0)
NO_LIMIT = 1 << 40
OPTIONS, OPTIONS_LONG = LoadOptions(ctx=512, threads=1), LoadOptions(ctx=16384, threads=1)


def never() -> bool:
    return False


# The file, without llama.cpp.


def cache(n_ids: int, cells: int, *, transposed: bool = False, layers: int = 2) -> bytes:
    """One cache as llama.cpp writes it: rows of 8 bytes, or 4 dimensions of 2."""
    places = b"".join(struct.pack("=iIi", place, 1, 0) for place in range(n_ids - cells, n_ids))
    keys = struct.pack("=iQ", 1, 8) + bytes(8 * cells)
    values = struct.pack("=iII", 1, 2, 4) + bytes(8 * cells) if transposed else keys
    return (
        struct.pack("=II", 1, cells) + places + struct.pack("=II", transposed, layers) + keys * layers + values * layers
    )


def llama_part(ids: Sequence[int], *caches: bytes) -> bytes:
    return struct.pack(f"=III{len(ids)}i", 0x67677371, 3, len(ids), *ids) + b"".join(caches)


IDS = [5, 6, 7, 8]
FULL, SLIDING = cache(4, 4), cache(4, 2)


def sealed(path: Path, part: bytes, facts: Facts = KEY) -> Path:
    path.write_bytes(part)
    seal(path, facts)
    return path


@pytest.mark.parametrize(
    ("caches", "kept_from"), [([FULL], 0), ([FULL, SLIDING], 2), ([cache(4, 4, transposed=True)], 0)]
)
def test_a_file_tells_its_ids_and_what_it_has(tmp_path: Path, caches: list[bytes], kept_from: int) -> None:
    with open_state(sealed(tmp_path / "a.kv", llama_part(IDS, *caches))) as file:
        head = read_head(file, KEY.key)
        assert (head.ids, head.kept_from, head.facts) == (IDS, kept_from, KEY)
        assert check_sum(file, head, lambda _: True)
        assert not check_sum(file, head, lambda _: False)


def at(offset: int, value: int, form: str = "=i") -> Callable[[bytearray], None]:
    def change(raw: bytearray) -> None:
        struct.pack_into(form, raw, offset, value)

    return change


_CACHE = 12 + 4 * len(IDS)  # where it begins
_CELLS, _LAYERS = _CACHE + 8, _CACHE + 8 + 12 * len(IDS)


@pytest.mark.parametrize(
    "change",
    [
        at(0, 7),
        at(8, 0),
        at(8, 3),
        at(8, 5),
        at(8, -1),
        at(8, 1 << 24),
        at(_CACHE, 2),
        at(_CACHE, 0),
        at(_CACHE + 4, 0),
        at(_CACHE + 4, 5),
        at(_CACHE + 4, -1),
        at(_CELLS, 1),
        at(_CELLS, -1),
        at(_CELLS, 1 << 30),
        at(_CELLS + 4, 0),
        at(_CELLS + 4, 1 << 30),
        at(_CELLS + 8, 1),
        at(_LAYERS, 2),
        at(_LAYERS + 4, 1),
        at(_LAYERS + 4, 3),
        at(_LAYERS + 4, -1),
        at(_LAYERS + 12, 0, "=Q"),
        at(_LAYERS + 12, 7, "=Q"),
        at(_LAYERS + 12, 1 << 63, "=Q"),
        lambda raw: raw.extend(b"\0"),
        lambda raw: raw.extend(struct.pack("=II", 1, 0)),
        lambda raw: raw.pop(),
        lambda raw: raw.clear(),
    ],
)
def test_what_llama_would_stumble_over_is_no_state(tmp_path: Path, change: Callable[[bytearray], None]) -> None:
    raw = bytearray(llama_part(IDS, FULL))
    change(raw)
    with pytest.raises(DamagedStateError):
        sealed(tmp_path / "a.kv", bytes(raw))


def test_a_file_that_is_cut_anywhere_or_changed_anywhere_is_told(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a.kv", llama_part(IDS, FULL, SLIDING))
    good = path.read_bytes()
    cut = [good[:size] for size in range(0, len(good), 5)]
    flipped = [good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :] for place in range(0, len(good), 5)]
    for raw in cut + flipped:
        path.write_bytes(raw)
        with open_state(path) as file:
            try:
                head = read_head(file, KEY.key)
            except DamagedStateError:
                continue
            assert not check_sum(file, head, lambda _: True)


@pytest.mark.parametrize(
    "facts",
    [
        b"{",
        b"[]",
        b'{"key": "of a model"}',
        b'{"key": 1, "prefill_tokens_per_s": 1.0}',
        *(b'{"key": "of a model", "prefill_tokens_per_s": %s}' % rate for rate in (b"0.0", b"-1.0", b"NaN", b"1e999")),
    ],
)
def test_facts_that_make_no_sense(tmp_path: Path, facts: bytes) -> None:
    path, body = tmp_path / "a.kv", llama_part(IDS, FULL) + facts
    path.write_bytes(body + struct.pack("=II16s", zlib.crc32(body), len(facts), b"minichat-state-1"))
    with open_state(path) as file, pytest.raises(DamagedStateError):
        read_head(file, KEY.key)


def test_links_and_folders_are_no_files(tmp_path: Path) -> None:
    sealed(tmp_path / "a.kv", llama_part(IDS, FULL))
    (tmp_path / "link").symlink_to("a.kv")
    for name in ("link", "missing", "."):
        with pytest.raises(OSError), open_state(tmp_path / name):
            pass


# With llama.cpp.


@pytest.fixture(scope="module")
def ragged_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose layers attend to all, or to a window of 16 tokens."""
    from convert.pipeline import convert

    folder = tmp_path_factory.mktemp("ragged")
    convert(Path(shutil.copytree(RAGGED, folder / "ragged")), folder / "ragged.gguf", "f32")
    return folder / "ragged.gguf"


@pytest.fixture(params=["full", "ragged"])
def model(request: pytest.FixtureRequest, small_gguf: Path, ragged_gguf: Path) -> Path:
    return small_gguf if request.param == "full" else ragged_gguf


class Loaded:
    """A model, and its states as if it took a second for each token: everything is worth keeping."""

    def __init__(self, path: Path, options: LoadOptions = OPTIONS, tokens_per_s: float = 1.0) -> None:
        self.llama = Llama(path, options)
        self.states = States(self.llama, path, options)
        self.states.note(Stats(100, 0, 0, 0.0, 100 / tokens_per_s, 0.0, 100))

    def read(self, ids: Sequence[int]) -> Loaded:
        assert self.llama.decode(ids)
        return self

    def restored(self, path: Path, prompt: Sequence[int], stopped: Callable[[], bool] = never) -> int:
        """How many tokens were there when `prompt` is to be decoded."""
        self.states.offer(path)
        self.states.restore(prompt, stopped)
        return len(self.llama.cached)

    def next_logits(self, token: int) -> bytes:
        assert self.llama.decode([token])
        return bytes(self.llama.logits())


def ids(count: int, seed: int = 1) -> list[int]:
    return random.Random(seed).choices(range(100, 200), k=count)


@pytest.fixture
def kept(model: Path, tmp_path: Path) -> Path:
    """What was read of 60 tokens."""
    assert Loaded(model).read(ids(60)).states.save(tmp_path / "a.kv", NO_LIMIT)
    return tmp_path / "a.kv"


@pytest.mark.parametrize("options", [OPTIONS, replace(OPTIONS, ctx=300), replace(OPTIONS, flash_attention="off")])
def test_what_comes_back_is_what_was_there(model: Path, tmp_path: Path, options: LoadOptions) -> None:
    whole = Loaded(model, replace(OPTIONS, flash_attention=options.flash_attention)).read(ids(60))
    assert whole.states.save(tmp_path / "a.kv", NO_LIMIT) == (tmp_path / "a.kv").stat().st_size
    other = Loaded(model, options)
    assert other.restored(tmp_path / "a.kv", ids(70)) == 60
    assert other.llama.cached == ids(60)
    assert other.next_logits(7) == whole.next_logits(7)


def test_a_prompt_that_went_another_way(model: Path, kept: Path) -> None:
    """Full layers can be cut back; sliding ones have forgotten what is needed there."""
    prompt = [*ids(60)[:40], *ids(20, seed=2)]
    loaded = Loaded(model)
    assert loaded.restored(kept, prompt) == (60 if "small" in model.name else 0)
    reused = loaded.llama.reuse(prompt)
    assert reused == (40 if "small" in model.name else 0)
    loaded.read(prompt[reused:-1])
    found, expected = loaded.next_logits(prompt[-1]), Loaded(model).read(prompt[:-1]).next_logits(prompt[-1])
    assert list(memoryview(found).cast("f")) == pytest.approx(list(memoryview(expected).cast("f")), abs=1e-4)


def test_what_is_there_already_is_not_read(model: Path, kept: Path) -> None:
    loaded = Loaded(model).read([*ids(60), 7])
    loaded.restored(kept, [*ids(60), 7, 8])
    assert loaded.llama.cached == [*ids(60), 7]


def test_reading_that_is_slower_than_computing_is_left(small_gguf: Path, tmp_path: Path) -> None:
    assert Loaded(small_gguf, tokens_per_s=200).read(ids(60)).states.save(tmp_path / "a.kv", NO_LIMIT)
    raw = (tmp_path / "a.kv").read_bytes()
    facts = raw.rindex(b'{"key"')
    body = raw[:facts] + raw[facts : -state_file._END.size].replace(b"200.0", b"200e9")
    end = struct.pack("=II16s", zlib.crc32(body), len(body) - facts, b"minichat-state-1")
    (tmp_path / "a.kv").write_bytes(body + end)
    assert Loaded(small_gguf).restored(tmp_path / "a.kv", ids(70)) == 0


def test_what_belongs_to_something_else_is_passed_over(
    small_gguf: Path, ragged_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copy(small_gguf, tmp_path / "model.gguf"))
    assert Loaded(model).read(ids(60)).states.save(tmp_path / "a.kv", NO_LIMIT)
    assert Loaded(ragged_gguf).restored(tmp_path / "a.kv", ids(70)) == 0
    assert Loaded(model, replace(OPTIONS, cache_type="q8_0")).restored(tmp_path / "a.kv", ids(70)) == 0
    assert Loaded(model, replace(OPTIONS, ctx=50)).restored(tmp_path / "a.kv", ids(49)) == 0
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.0.1")
    assert Loaded(model).restored(tmp_path / "a.kv", ids(70)) == 0
    monkeypatch.undo()
    assert Loaded(model).restored(tmp_path / "a.kv", ids(70)) == 60
    os.utime(model, (1, 1))
    assert Loaded(model).restored(tmp_path / "a.kv", ids(70)) == 0


def test_a_model_that_is_replaced_meanwhile_keeps_nothing(small_gguf: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(small_gguf, tmp_path / "model.gguf"))
    loaded = Loaded(model).read(ids(60))
    os.utime(model, (1, 1))
    with pytest.raises(StorageError, match="has changed"):
        loaded.states.save(tmp_path / "a.kv", NO_LIMIT)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "model.gguf"}


def test_a_stop_is_obeyed_and_the_next_prompt_tries_again(model: Path, kept: Path) -> None:
    loaded = Loaded(model)
    assert loaded.restored(kept, ids(70), lambda: True) == 0
    loaded.states.restore(ids(70), never)
    assert len(loaded.llama.cached) == 60


def test_only_what_pays_is_kept(small_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    loaded = Loaded(small_gguf).read(ids(60))
    size = loaded.states.save(path, NO_LIMIT)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    assert loaded.states.save(path, NO_LIMIT) == size
    assert path.stat().st_ino == before  # nothing more was read: nothing is written again
    assert Loaded(small_gguf).states.save(path, NO_LIMIT) == size  # nothing was read: what is there stays
    assert loaded.read([7]).states.save(path, size - 1) == 0
    assert not list(tmp_path.glob("a.*"))  # what was kept belongs to a conversation that went on
    assert Loaded(small_gguf, tokens_per_s=1e6).read(ids(60)).states.save(path, NO_LIMIT) == 0


def test_a_disk_that_cannot_be_written(small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Loaded(small_gguf).read(ids(60))
    with pytest.raises(StorageError, match=r"a\.kv cannot be written: No such file"):
        loaded.states.save(tmp_path / "missing" / "a.kv", NO_LIMIT)
    monkeypatch.setattr(loaded.llama, "write_state", lambda _: 0)
    with pytest.raises(StorageError):
        loaded.states.save(tmp_path / "a.kv", NO_LIMIT)
    assert not list(tmp_path.glob("a.*"))


def _mutants(good: bytes, count: int) -> Iterator[bytes]:
    """Damaged files, most of them with a sum that is right: only what stands in them is wrong."""
    rng, end = random.Random(7), state_file._END
    for _ in range(count):
        raw = bytearray(good)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(min(len(raw), rng.choice((16, 300, 1200, len(raw)))))
            match rng.randrange(5):
                case 0:
                    raw[place] ^= 1 << rng.randrange(8)
                case 1:
                    value = rng.choice((0, 1, 2, 59, 61, 511, 513, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)))
                    struct.pack_into("<I", raw, min(place & ~3, len(raw) - 4), value)
                case 2:
                    del raw[max(end.size, place) :]
                case 3:
                    raw[place:place] = bytes(rng.randrange(1, 9))
                case 4:
                    del raw[place : place + rng.randrange(1, 9)]
        if rng.random() < 0.8:
            raw[-end.size :] = end.pack(zlib.crc32(raw[: -end.size]), *end.unpack(good[-end.size :])[1:])
        yield bytes(raw)


def test_no_damaged_file_ends_the_engine(model: Path, kept: Path) -> None:
    loaded, taken = Loaded(model), 0
    for raw in _mutants(kept.read_bytes(), 120):
        kept.write_bytes(raw)
        loaded.llama.clear()
        taken += bool(loaded.restored(kept, ids(70)))
        loaded.read([7])
    assert 0 < taken < 60  # a number in a row that is another one cannot be told where the sum is right


def test_an_engine_goes_on_where_another_one_ended(small_gguf: Path, tmp_path: Path) -> None:
    def ask(engine: Engine, pieces: list[Piece]) -> tuple[tuple[int, ...], Stats]:
        *_, done = engine.generate(pieces, Sampling(temperature=0), 8)
        return done.tokens, done.stats

    path, words = tmp_path / "a.kv", 100
    with Engine(small_gguf, OPTIONS_LONG) as engine:
        while True:  # until it takes so long that it is worth keeping
            pieces: list[Piece] = [Control("<s>"), Control("[INST]"), Text("one two " * words), Control("[/INST]")]
            tokens, stats = ask(engine, pieces)
            if engine.save(path, NO_LIMIT):
                break
            words *= 2
        pieces += [Tokens(tokens), Control("</s>"), Control("[INST]"), Text("three"), Control("[/INST]")]
        expected = ask(engine, pieces)
    with Engine(small_gguf, OPTIONS_LONG) as engine:
        engine.restore(path)
        found = ask(engine, pieces)
    assert found[0] == expected[0]
    assert found[1].reused_tokens == expected[1].reused_tokens >= stats.prompt_tokens
