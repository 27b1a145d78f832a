"""Ready GGUF files: from a hub on this machine, or from another program's folder, into the store."""

from __future__ import annotations

import doctest
import functools
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf_samples
import pytest
from hub_server import HubServer, listing
from program import fails
from shown import Work

import minichat.gguf_model as model_module
import minichat.hub.transfer as transfer_module
from convert import gguf_writer as w
from convert.gguf_file import read_header
from convert.provenance import MRL, MRL_NAME, MRL_NOTICE
from minichat import place as placing
from minichat import pull_gguf
from minichat.catalog import load_catalog
from minichat.commands.hub import asking
from minichat.gguf_model import Known, manifest_of_header
from minichat.hub.address import parse_address
from minichat.hub.transfer import Hub, Patience
from minichat.making import Converted, ConvertOptions
from minichat.manifest import Manifest, ModelName
from minichat.memory import default_context, needed, shape_of_header
from minichat.plan import Grid, Plan, show_grid
from minichat.pull import Source, find_grid, pull
from minichat.store import Store
from minichat.verification import verify
from minichat.wanted import Wanted, from_address
from quant.errors import DataError, DiskFullError, GgufError, MinichatError, NetworkError, StorageError, UsageError
from quant.types import by_name

REPO, FILE = "someone/Small-GGUF", "Small-Q4_K_M.gguf"
HEAD_BYTES = 64 << 10
PATIENCE = Patience(tries=2, base_s=0, stall_s=5)
SIZES = {
    "block_count": 2, "context_length": 4096, "embedding_length": 256, "feed_forward_length": 512,
    "attention.head_count": 4, "attention.head_count_kv": 2,
}  # fmt: skip
METADATA = {
    "general.architecture": w.string("llama"),
    "general.file_type": w.u32(15),
    **{f"llama.{key}": w.u32(value) for key, value in SIZES.items()},
    "tokenizer.ggml.tokens": w.strings([f"token {n}" for n in range(9000)]),
}


class StopError(Exception):
    pass


def gguf(seed: int = 0, rows: int = 1000, **more: w.Value) -> bytes:
    """A GGUF file, of which each row of weights takes 1,088 bytes."""
    changes = {key.replace("__", "."): value for key, value in more.items()}
    first = {key: value for key, value in changes.items() if key.startswith("general.")}
    metadata = first | METADATA | changes
    layout = w.lay_out(metadata, [("token_embd.weight", (rows, 1024), by_name("q8_0"))])
    return layout.header + random.Random(seed).randbytes(layout.file_bytes - len(layout.header))


@pytest.fixture(scope="module")
def data() -> bytes:
    return gguf()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[HubServer]:
    with HubServer() as hub:
        hub.add(REPO, {FILE: data, "README.md": b"A card.\n"})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr(transfer_module, "Hub", functools.partial(Hub, PATIENCE))
        yield hub


@pytest.fixture
def in_turn(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A hub that is asked for one thing at a time, so that a list of faults means the same each time."""
    monkeypatch.setattr(transfer_module, "Hub", functools.partial(Hub, PATIENCE, connections=1))
    return hub


@pytest.fixture
def store() -> Store:
    return Store.default()


@pytest.fixture(autouse=True)
def plain_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways do not hang on the disk that the tests run on."""

    def no_reflinks(source: Path, destination: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(placing, "_clone", no_reflinks)


def wanted(text: str = REPO, quant: str | None = None) -> Wanted:
    address = parse_address(text)
    assert address is not None
    return from_address(address, quant, load_catalog())


def pulled(text: str = REPO, work: Work | None = None) -> Manifest:
    return pull(wanted(text), Store.default(), work or Work(), lambda *_: None, ConvertOptions()).manifest


def planned(text: str = REPO) -> Plan:
    """What a person would be asked about."""
    plans = []

    def agree(source: Source, plan: Plan) -> None:
        plans.append(plan)
        raise StopError

    with pytest.raises(StopError):
        pull(wanted(text), Store.default(), Work(), agree, ConvertOptions())
    return plans[0]


def refused(kind: type[MinichatError], says: str, text: str = REPO) -> str:
    """Nothing is put into the store, and one line says why."""
    with pytest.raises(kind, match=says) as caught:
        pulled(text)
    assert Store.default().models() == [] and Store.default().partials() == []
    told = str(caught.value)
    assert "\n" not in told and len(told) < 400
    return told


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_fetched(hub: HubServer, store: Store, data: bytes) -> None:
    work = Work()
    made = pulled(work=work)
    assert store.path(made).read_bytes() == data
    assert verify(None, store, Work())[0].problem is None
    commit = hub.repos[REPO][0].commit
    assert (made.full_name, made.target, made.source) == ("small:q4_K_M", "q4_K_M", f"hf:{REPO}")
    assert (made.repo, made.revision, made.licence, made.notice) == (REPO, commit, "apache-2.0", None)
    assert (made.parameters, made.context_length, made.size_bytes) == (1000 * 1024, 4096, len(data))
    assert work.titles[-1:] == ["fetching small:q4_K_M"]
    assert work.updates == sorted(work.updates) and work.updates[-1] == (len(data), len(data))
    assert store.partials() == []
    assert hub.sent(FILE) <= len(data) + HEAD_BYTES


def test_the_plan_tells_of_memory_after_some_kilobytes(
    hub: HubServer, store: Store, data: bytes, tmp_path: Path
) -> None:
    plan = planned()
    assert hub.sent(FILE) <= HEAD_BYTES < len(data)
    assert not store.root.exists()
    (tmp_path / "x.gguf").write_bytes(data)
    shape = shape_of_header(read_header(tmp_path / "x.gguf"))  # which reads all of it
    assert shape is not None and shape.vocab_size == 9000
    assert (plan.ctx, plan.memory) == (4096, needed(shape, len(data), default_context(shape)))
    assert (plan.name, plan.repo, plan.target, plan.converts) == ("small:q4_K_M", REPO, "q4_K_M", False)
    assert (plan.fetch_bytes, plan.model_bytes, plan.licence) == (len(data), len(data), "apache-2.0")
    assert plan.fits_disk is True and plan.fits_memory is not None


def test_a_header_that_does_not_tell_of_memory(hub: HubServer, data: bytes) -> None:
    hub.add("a/odd", {"odd-Q8_0.gguf": gguf(llama__embedding_length=w.string("wide"))})
    plan = planned("a/odd")
    assert (plan.ctx, plan.memory, plan.fits_memory) == (None, None, None)
    assert grid("a/odd").contexts == ()


def test_what_is_here_is_not_fetched_again(hub: HubServer, store: Store) -> None:
    first = pulled()
    hub.log.clear()
    work = Work()
    again = pull(wanted(), store, work, lambda *_: pytest.fail("it asks"), ConvertOptions())
    assert again == Converted(first)
    assert work.notes == ["small:q4_K_M is here already, as it is on the hub"]
    assert (hub.sent(FILE), len(hub.requests())) == (0, 1)  # the listing


def test_a_newer_file_replaces_the_old_one(hub: HubServer, store: Store, data: bytes) -> None:
    old, newer = pulled(), gguf(seed=1)
    commit = hub.add(REPO, {FILE: newer})
    made = pulled()
    assert (made.full_name, made.revision, made.blob) == (old.full_name, commit, f"sha256-{sha256(newer)}")
    assert store.path(made).read_bytes() == newer
    assert store.models() == [made] and len(list((store.root / "blobs").iterdir())) == 1


def test_a_newer_file_that_cannot_be_fetched_leaves_the_old_one(hub: HubServer, store: Store, data: bytes) -> None:
    old = pulled()
    hub.add(REPO, {FILE: gguf(seed=1)})
    hub.faults = iter(["503"] * 1000)
    with pytest.raises(NetworkError):
        pulled()
    assert store.models() == [old] and store.path(old).read_bytes() == data


def test_a_transfer_goes_on_where_it_broke(in_turn: HubServer, store: Store) -> None:
    large = gguf(rows=8000)
    in_turn.add("a/large", {"large-Q8_0.gguf": large})
    in_turn.faults = iter([None] * 5 + ["503"] * 1000)
    with pytest.raises(NetworkError, match="what has come is kept: the same command goes on from there"):
        pulled("a/large")
    assert store.models() == []
    (partial,) = store.partials()
    assert 1 << 20 <= partial.size_bytes < len(large)
    in_turn.faults = iter(())
    assert planned("a/large").fetch_bytes == len(large) - (partial.path / "model.gguf").stat().st_size
    in_turn.log.clear()
    work = Work()
    made = pulled("a/large", work)
    assert store.path(made).read_bytes() == large
    assert in_turn.sent("large-Q8_0.gguf") <= len(large) - (1 << 20) + HEAD_BYTES
    assert work.updates == sorted(work.updates) and work.updates[-1] == (len(large), len(large))
    assert store.partials() == []


def test_a_part_of_another_content_is_never_gone_on_with(in_turn: HubServer, store: Store) -> None:
    in_turn.add("a/large", {"large-Q8_0.gguf": gguf(rows=8000)})
    in_turn.faults = iter([None] * 5 + ["503"] * 1000)
    with pytest.raises(NetworkError):
        pulled("a/large")
    newer = gguf(seed=2, rows=8000)
    in_turn.add("a/large", {"large-Q8_0.gguf": newer})
    in_turn.faults = iter(())
    assert store.path(pulled("a/large")).read_bytes() == newer


def test_a_complete_part_that_is_read_only_is_taken(hub: HubServer, store: Store, data: bytes) -> None:
    """As it is left by who is killed while it is put into the store."""
    with store.partial(ModelName("small", "q4_K_M")) as folder:
        (folder / "model.gguf").write_bytes(data)
        note = {"size_bytes": len(data), "sha256": sha256(data), "git_oid": None}
        (folder / "model.gguf.json").write_text(json.dumps(note))
        (folder / "model.gguf").chmod(0o444)
    made = pulled()
    assert store.path(made).read_bytes() == data
    assert hub.sent(FILE) <= HEAD_BYTES


def in_hub_cache(folder: Path, data: bytes) -> Path:
    return folder / "huggingface" / "hub" / "models--someone--Small-GGUF" / "blobs" / sha256(data)


def in_ollama(folder: Path, data: bytes) -> Path:
    return folder / ".ollama" / "models" / "blobs" / f"sha256-{sha256(data)}"


def in_lm_studio(folder: Path, data: bytes) -> Path:
    return folder / ".lmstudio" / "models" / "someone" / "Small-GGUF" / FILE


PLACES = pytest.mark.parametrize("place", [in_hub_cache, in_ollama, in_lm_studio])


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@PLACES
def test_another_programs_file_is_used(
    place: Callable[[Path, bytes], Path], hub: HubServer, home: Path, data: bytes
) -> None:
    theirs = put(place(home, data), data)
    plan = planned()
    assert (plan.fetch_bytes, plan.fits_disk) == (0, True) and plan.memory is not None
    work, store = Work(), Store.default()
    made = pulled(work=work)
    assert made.linked == str(theirs) and store.path(made).read_bytes() == data
    assert (made.repo, made.source) == (REPO, f"hf:{REPO}")
    assert hub.sent(FILE) == 0
    assert work.updates[-1] == (len(data), len(data)) and work.notes == []
    assert store.partials() == []


@PLACES
def test_a_damaged_file_of_another_program_is_not(
    place: Callable[[Path, bytes], Path], hub: HubServer, home: Path, data: bytes
) -> None:
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    theirs = put(place(home, data), damaged)
    work, store = Work(), Store.default()
    made = pulled(work=work)
    assert work.notes == [f"{theirs} is not what it should be: fetching the file from the hub"]
    assert (made.linked, store.path(made).read_bytes()) == (None, data)
    assert theirs.read_bytes() == damaged
    assert store.partials() == []


def test_a_file_of_another_program_that_is_no_gguf_at_all(hub: HubServer, home: Path, data: bytes) -> None:
    put(in_ollama(home, data), bytes(len(data)))
    assert planned().memory is not None
    assert Store.default().path(pulled()).read_bytes() == data


def test_a_file_that_goes_before_it_is_taken(hub: HubServer, home: Path, data: bytes) -> None:
    theirs = put(in_ollama(home, data), data)
    work = Work()
    made = pull(wanted(), Store.default(), work, lambda *_: theirs.unlink(), ConvertOptions()).manifest
    assert made.linked is None and Store.default().path(made).read_bytes() == data
    assert len(work.notes) == 1 and "fetching the file from the hub" in work.notes[0]


def test_what_is_in_the_store_by_another_name_is_shared(hub: HubServer, store: Store, data: bytes) -> None:
    first = pulled()
    hub.add("other/Mirror", {"mirror-Q4_K_M.gguf": data})
    hub.log.clear()
    second = pulled("other/Mirror")
    assert (second.full_name, second.blob, second.linked) == ("mirror:q4_K_M", first.blob, None)
    assert hub.sent("mirror-Q4_K_M.gguf") == 0
    assert [v.problem for v in verify(None, store, Work())] == [None, None]
    assert len(list((store.root / "blobs").iterdir())) == 1


def test_two_organizations_with_a_repo_of_one_name(hub: HubServer, store: Store, data: bytes) -> None:
    hub.add("other/small", {"x-Q4_K_M.gguf": (other := gguf(seed=3))})
    first, second = pulled(), pulled("other/small")
    assert first.full_name == "small:q4_K_M"
    assert second.full_name == f"small-{sha256(b'hf:other/small')[:8]}:q4_K_M"
    assert (store.path(first).read_bytes(), store.path(second).read_bytes()) == (data, other)
    assert pulled("other/small") == second and pulled() == first


def test_a_licence_that_binds_is_asked_for_and_goes_with_the_model(hub: HubServer, store: Store) -> None:
    hub.add("a/bound", {"bound-Q8_0.gguf": gguf(4)}, licence="other", license_name="mrl")
    assert planned("a/bound").licence == "mrl"
    with pytest.raises(UsageError, match="--accept-licence"):
        pull(wanted("a/bound"), store, Work(), asking(yes=True, accept_licence=False), ConvertOptions())
    assert store.models() == [] and hub.sent("bound-Q8_0.gguf") <= 2 * HEAD_BYTES
    made = pull(wanted("a/bound"), store, Work(), asking(yes=True, accept_licence=True), ConvertOptions()).manifest
    assert (made.licence, made.licence_name, made.notice) == (MRL, MRL_NAME, MRL_NOTICE)
    assert MRL_NOTICE in (store.root / "NOTICE").read_text()
    (store.root / "NOTICE").unlink()
    assert pulled("a/bound") == made  # which is here already
    assert MRL_NOTICE in (store.root / "NOTICE").read_text()


def test_a_licence_that_only_the_file_tells_of(tmp_path: Path) -> None:
    gguf_samples.write(tmp_path / "x", METADATA | {"general.license.name": w.string("Mistral AI Research License")})
    header, name = read_header(tmp_path / "x"), ModelName("x", "q8_0")
    made = manifest_of_header(header, name, "q8_0", "ab" * 32, "hf:a/b", Known(licence="other"))
    assert (made.licence, made.licence_name, made.notice) == (MRL, MRL_NAME, MRL_NOTICE)


def test_a_link_to_one_file(hub: HubServer, store: Store, data: bytes) -> None:
    other = gguf(seed=5)
    hub.add("a/two", {"old/x-Q4_K_M.gguf": other, "new/x-Q4_K_M.gguf": data, "mmproj-x-F16.gguf": b"GGUF"})
    link = f"{hub.url}/a/two/blob/main"
    first, second = pulled(f"{link}/old/x-Q4_K_M.gguf"), pulled(f"{link}/new/x-Q4_K_M.gguf?download=true")
    assert (store.path(first).read_bytes(), store.path(second).read_bytes()) == (other, data)
    assert first.full_name == "two:q4_K_M" != second.full_name
    assert first.source == "hf:a/two/old/x-Q4_K_M.gguf"
    for file, says in (("gone-Q8_0.gguf", "has no file gone-Q8_0.gguf"), ("mmproj-x-F16.gguf", "no model of its own")):
        with pytest.raises(DataError, match=says):
            pulled(f"{link}/{file}")


def test_a_file_that_does_not_tell_its_quantization(hub: HubServer) -> None:
    hub.add("a/bare", {"model.gguf": gguf(general__file_type=w.u32(7))})
    assert (pulled("a/bare").full_name, pulled("a/bare").target) == ("bare:q8_0", "q8_0")
    hub.add("a/silent", {"model.gguf": gguf(6, general__file_type=w.u32(999))})
    made = pulled("a/silent")
    assert (made.full_name, made.target) == ("silent:gguf", "q8_0")  # by its weights, once they are here
    assert pulled("a/silent") == made


def test_a_quantization_that_minichat_does_not_make(hub: HubServer) -> None:
    hub.add("a/rare", {"rare-UD-Q4_K_XL.gguf": gguf(7), "rare-Q8_0.gguf": gguf(8)})
    made = pulled("a/rare:ud-q4_k_xl")
    assert (made.full_name, made.target) == ("rare:UD-Q4_K_XL", "UD-Q4_K_XL")
    assert pulled("a/rare:UD-Q4_K_XL") == made


HOSTILE = {
    "no GGUF": (b"<html>please log in</html>" * 99, "does not begin with GGUF"),
    "an empty file": (b"", "does not begin with GGUF"),
    "a header without end": (b"GGUF\x03\0\0\0" + b"\xff" * 99, "it claims"),
    "a short one": (b"GGUF\x03\0\0\0", "cut short"),
    "a projector": (gguf(general__architecture=w.string("clip")), "holds no language model"),
    "an adapter": (gguf(general__type=w.string("adapter")), "holds no language model"),
    "one of three": (gguf(split__count=w.u32(3)), None),  # the key stands behind the vocabulary
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_model_is_refused(hub: HubServer, case: str) -> None:
    content, says = HOSTILE[case]
    hub.add("a/odd", {"odd-Q8_0.gguf": content})
    told = refused(GgufError, says or "is one of 3 parts", "a/odd")
    assert told.startswith("a/odd/odd-Q8_0.gguf ")
    if says is not None:
        assert hub.sent("odd-Q8_0.gguf") <= HEAD_BYTES


def test_what_shows_only_at_the_end_is_refused_then(hub: HubServer) -> None:
    whole = gguf(9)
    for content, says in ((whole[:-1], "past its end"), (whole[:100_000], "cut short")):
        hub.add("a/odd", {"odd-Q8_0.gguf": content})
        told = refused(GgufError, says, "a/odd")
        assert told.startswith("a/odd/odd-Q8_0.gguf is no usable GGUF file: ")


REFUSED = {
    "split": (
        {"x-Q8_0-00001-of-00002.gguf": b"GGUF", "x-Q8_0-00002-of-00002.gguf": b"GGUF"},
        ":q8_0",
        "cut into parts",
    ),
    "others": ({"x-Q8_0.gguf": b"GGUF", "x-Q6_K.gguf": b"GGUF"}, "", "no GGUF file at q4_K_M; it has q6_K, q8_0"),
    "pickles": ({"config.json": b"{}", "pytorch_model.bin": b"P"}, "", "its weights are pickles"),
    "nothing": ({"README.md": b"hello"}, "", "it holds no checkpoint"),
    "nothing at that": ({"README.md": b"hello"}, ":iq3_xs", "unknown quantization 'IQ3_XS'"),
    "no JSON": ({"config.json": b"{", "model.safetensors": b"", "tokenizer.model": b""}, "", "json is damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_repos_that_are_refused(hub: HubServer, case: str) -> None:
    files, quant, says = REFUSED[case]
    hub.add("a/refused", files)
    told = refused(DataError, says, f"a/refused{quant}")
    assert told.startswith("a/refused")
    assert not [r for r in hub.requests() if r.path.endswith((".bin", ".gguf"))]


def test_a_large_file_without_a_hash(hub: HubServer) -> None:
    told = listing(hub.repos[REPO][-1])
    for entry in told["siblings"]:
        entry.pop("lfs", None)
    hub.raw[f"/api/models/{REPO}"] = json.dumps(told).encode()
    refused(DataError, "has no sha256 on the hub")
    assert hub.sent(FILE) == 0


def test_a_file_that_always_comes_damaged(hub: HubServer, data: bytes) -> None:
    hub.blobs[sha256(data)].data = gguf(seed=10)  # of the same length
    hub.repos[REPO][-1].files[FILE].data = hub.blobs[sha256(data)].data
    refused(NetworkError, "does not have the hash that the hub tells")


def test_a_disk_that_is_too_small(hub: HubServer, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(pull_gguf, "free_bytes", lambda _: len(data) - 1)
    refused(StorageError, r"small:q4_K_M takes 1\.2 MB more of the disk, and 1\.2 MB are free: `minichat prune`")
    assert hub.sent(FILE) <= HEAD_BYTES
    monkeypatch.setattr(pull_gguf, "free_bytes", lambda _: len(data))
    assert pulled().full_name == "small:q4_K_M"


def test_a_home_that_is_no_folder(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINICHAT_HOME", str(tmp_path / "file"))
    refused(StorageError, f"{tmp_path}/file/models cannot be written")


@pytest.mark.parametrize("error", [StorageError, DiskFullError])
def test_what_has_come_is_kept_unless_the_disk_is_full(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch, data: bytes, error: type[StorageError]
) -> None:
    def refuse(*_: object) -> None:
        raise error("a.json cannot be written: it is so")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", refuse)
        says = (
            "it is so$"
            if error is DiskFullError
            else "it is so; what has come is kept: the same command goes on from there"
        )
        with pytest.raises(error, match=says):
            pulled()
    assert len(store.partials()) == (error is StorageError)
    before = hub.sent(FILE)
    assert store.path(pulled()).read_bytes() == data
    assert (hub.sent(FILE) - before < len(data)) == (error is StorageError)


def test_a_file_in_place_needs_no_room(
    hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    put(in_ollama(home, data), data)
    monkeypatch.setattr(pull_gguf, "free_bytes", lambda _: 0)
    assert pulled().linked is not None


def grid(text: str) -> Grid:
    with Hub(Patience(tries=2, base_s=0)) as client:
        return find_grid(client, wanted(text), ConvertOptions())


def test_the_quantizations_of_a_repo_are_compared(
    hub: HubServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = {"x-Q8_0.gguf": gguf(rows=2000), "x-Q4_K_M.gguf": gguf(), "x-IQ3_XS.gguf": gguf(rows=700)}
    parts = {f"x-F16-0000{n}-of-00002.gguf": gguf() for n in (1, 2)}
    hub.add("a/many", files | parts | {"mmproj-x-F16.gguf": gguf(seed=4)})
    found = grid("a/many")
    sizes = [(quant, len(files[f"x-{quant.upper()}.gguf"])) for quant in ("IQ3_XS", "q4_K_M", "q8_0")]
    assert list(found.sizes.items()) == sizes
    (tmp_path / "x").write_bytes(files["x-Q8_0.gguf"])
    shape = shape_of_header(read_header(tmp_path / "x"))
    assert shape is not None and found.memory("q8_0", 4096) == needed(shape, len(files["x-Q8_0.gguf"]), 4096).total
    assert sum(hub.sent(name) for name in files) <= HEAD_BYTES
    show_grid(found, as_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:5]] == ["QUANT", "IQ3_XS", "q4_K_M", "q8_0"]
    assert shown[1].split()[1:] == ["DISK", "4,096"]


def test_a_grid_is_not_for_what_is_refused(hub: HubServer) -> None:
    hub.add("a/two", {"a/x-Q8_0.gguf": gguf(), "b/x-Q8_0.gguf": gguf(), "x-Q6_K.gguf": gguf()})
    with pytest.raises(DataError, match="several files at q8_0: a/x"):
        grid("a/two")
    assert list(grid(f"{hub.url}/a/two/blob/main/b/x-Q8_0.gguf").sizes) == ["q8_0"]
    hub.add("a/parts", {"x-Q8_0-00001-of-00002.gguf": b"GGUF"})
    with pytest.raises(DataError, match="in parts only"):
        grid("a/parts")
    hub.add("a/odd", {"x-Q8_0.gguf": b"PK" * 99})
    with pytest.raises(GgufError, match=r"a/odd/x-Q8_0\.gguf is no usable GGUF"):
        grid("a/odd")


def test_refusals_are_one_line_with_their_code(hub: HubServer) -> None:
    """From outside, by a script: nobody is there to ask."""
    fails(2, "nobody is there to ask: --yes fetches it", "pull", REPO)
    fails(2, "demo comes with minichat", "pull", "demo:q8_0", "--yes")
    hub.add("a/bound", {"bound-Q4_K_M.gguf": gguf(4)}, licence="other", license_name="mrl")
    fails(2, "--accept-licence says that you accept it", "pull", "a/bound", "--yes")
    fails(2, "leave out --quant q8_0", "pull", f"{hub.url}/{REPO}/blob/main/{FILE}", "--quant", "q8_0", "--yes")
    hub.add("a/odd", {"x-Q4_K_M.gguf": b"PK" * 99})
    fails(3, "a/odd/x-Q4_K_M.gguf is no usable GGUF", "pull", "a/odd", "--yes")
    fails(3, "no GGUF file at q8_0; it has q4_K_M", "pull", f"{REPO}:q8_0", "--yes")


def test_the_examples() -> None:
    assert doctest.testmod(model_module).failed == 0
