"""What models read pictures with, from a hub on this machine, together with the models: both or neither."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import SHARDED
from hub_server import HubServer
from program import fails, files, minichat
from projector_samples import projector
from shown import Work
from test_pull_gguf import FILE, HEAD_BYTES, PATIENCE, REPO, gguf, pulled, sha256, wanted

import minichat.hub.transfer as transfer_module
from convert import gguf_writer as w
from convert.pipeline import convert
from convert.provenance import find_provenance
from minichat import place as placing
from minichat.hub.transfer import Hub
from minichat.making import ConvertOptions
from minichat.manifest import Manifest, ModelName
from minichat.plan import Plan, show_plan
from minichat.projectors import beside
from minichat.pull import Source, find_grid, pull
from minichat.store import Store
from minichat.verification import verify
from quant.errors import DataError, NetworkError, UsageError

VISION = Path(__file__).parent / "data" / "checkpoints" / "mistral3-vision"
F16, Q8 = "mmproj-Small-F16.gguf", "mmproj-Small-Q8_0.gguf"


@pytest.fixture(autouse=True)
def plain_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_reflinks(source: Path, destination: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(placing, "_clone", no_reflinks)


@pytest.fixture(scope="module")
def model() -> bytes:
    return gguf()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, model: bytes) -> Iterator[HubServer]:
    with HubServer() as hub:
        hub.add(REPO, {FILE: model, F16: projector(), Q8: projector(seed=8), "mmproj-Nemo-F16.gguf": projector(seed=9)})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr(transfer_module, "Hub", functools.partial(Hub, PATIENCE, connections=1))
        yield hub


@pytest.fixture
def store() -> Store:
    return Store.default()


def hashes(hub: HubServer, repo: str) -> dict[str, str]:
    """What the hub tells of the files that have weights, or a vocabulary."""
    listed = hub.repos[repo][-1].files.items()
    return {name: file.sha256 for name, file in listed if file.is_large}


def planned_again(text: str) -> Plan:
    """What a person would be asked about now; the answer is no."""
    plans: list[Plan] = []

    def agree(source: Source, plan: Plan) -> None:
        plans.append(plan)
        raise UsageError("no")

    with pytest.raises(UsageError):
        pull(wanted(text), Store.default(), Work(), agree, ConvertOptions())
    return plans[0]


def pulled_at(mmproj: str | None, work: Work | None = None) -> Manifest:
    options = ConvertOptions(projector=mmproj)
    return pull(wanted(), Store.default(), work or Work(), lambda *_: None, options).manifest


def seen(store: Store, made: Manifest) -> bytes | None:
    path = store.projector(made)
    return path.read_bytes() if path is not None else None


def test_both_are_fetched(hub: HubServer, store: Store, model: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    plans: list[Plan] = []

    def agree(source: Source, plan: Plan) -> None:
        plans.append(plan)

    work = Work()
    made = pull(wanted(), store, work, agree, ConvertOptions()).manifest
    assert (store.path(made).read_bytes(), seen(store, made)) == (model, projector())
    assert (made.projector_bytes, made.projector_linked) == (len(projector()), None)
    assert work.notes == []
    assert [(file.name, file.size_bytes) for file in plans[0].files] == [(FILE, len(model)), (F16, len(projector()))]
    assert (plans[0].model_bytes, plans[0].sees) == (len(model) + len(projector()), True)
    show_plan(plans[0], as_json=False)
    assert "pictures  it reads them" in capsys.readouterr().out
    assert verify(None, store, Work())[0].problem is None
    assert store.partials() == [] and hub.sent(Q8) == 0
    hub.log.clear()
    assert pulled() == made and len(hub.requests()) <= 2  # the listing, and the head of what reads pictures


def test_another_quantization_or_none(hub: HubServer, store: Store, model: bytes) -> None:
    made = pulled_at("q8_0")
    assert seen(store, made) == projector(seed=8)
    hub.log.clear()
    again = pulled_at("none")
    assert (again.sees, again.blob, hub.sent(FILE)) == (False, made.blob, 0)  # which is in the store
    assert len(list((store.root / "blobs").iterdir())) == 1
    assert hub.sent(F16) == 0
    with pytest.raises(DataError, match=f"{REPO} has nothing to read pictures with at f32; it has mmproj-Nemo-F16.g"):
        pulled_at("f32")
    assert store.models() == [again]
    fails(2, "--mmproj q9: one of fp16, q8_0, f32, none", "pull", REPO, "--mmproj", "q9")


def test_a_model_that_was_here_before_learns_to_see(hub: HubServer, store: Store, model: bytes) -> None:
    """As it was pulled when the store kept text alone."""
    blind = pulled_at("none")
    assert blind.source_stamp == sha256(model)
    hub.log.clear()
    made = pulled()
    assert (made.blob, seen(store, made), hub.sent(FILE)) == (blind.blob, projector(), 0)
    assert made.linked is None and store.models() == [made]


def test_an_interruption_between_the_two(hub: HubServer, store: Store, model: bytes) -> None:
    class Leaves(Work):
        def __call__(self, title: str) -> Work:
            if title.endswith(F16):
                raise KeyboardInterrupt
            return super().__call__(title)

    with pytest.raises(KeyboardInterrupt):
        pulled(work=Leaves())
    assert store.models() == [] and len(store.partials()) == 1
    hub.log.clear()
    made = pulled()
    assert (store.path(made).read_bytes(), seen(store, made)) == (model, projector())
    assert hub.sent(FILE) <= HEAD_BYTES and store.partials() == []


def test_a_drop_in_the_second_is_gone_on_with(hub: HubServer, store: Store, model: bytes) -> None:
    large = projector({"general.description": w.string("x" * 3_000_000)})
    hub.add(REPO, {FILE: model, F16: large})
    requests = 4 + -(-len(model) // (1 << 20))  # heads, and what the model takes
    hub.faults = iter([None] * requests + ["503"] * 1000)
    with pytest.raises(NetworkError, match="what has come is kept"):
        pulled()
    hub.faults = iter(())
    hub.log.clear()
    made = pulled()
    assert seen(store, made) == large and hub.sent(FILE) <= HEAD_BYTES


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({F16: b"no GGUF at all"}, f"text only: {REPO}/{F16} is no usable GGUF file"),
        ({F16: projector(width=512)}, f"text only: {REPO}/{F16} belongs to another model"),
        ({F16: projector({"clip.projector_type": w.string("gemma3")})}, "is of the kind 'gemma3'"),
        ({F16: projector(leave_out="v.token_embd.img_break")}, "lacks the tensor v.token_embd.img_break"),
        ({"mmproj-a.gguf": projector(), "mmproj-b.gguf": projector()}, "which of mmproj-a.gguf, mmproj-b.gguf belong"),
    ],
)
def test_what_is_of_no_use_is_left_out(
    hub: HubServer, store: Store, model: bytes, files: Mapping[str, bytes], says: str
) -> None:
    hub.add(REPO, {FILE: model, **files})
    work = Work()
    made = pulled(work=work)
    assert not made.sees and store.path(made).read_bytes() == model and len(list((store.root / "blobs").iterdir())) == 1
    assert len(work.notes) == 1 and says in work.notes[0]
    again = Work()
    assert pulled(work=again) == made and again.notes == ["small:q4_K_M is here already, as it is on the hub"]
    if len(files) == 1:
        with pytest.raises(DataError):
            pulled_at("fp16")
        assert store.models() == [made]


def test_another_programs_file_is_used(hub: HubServer, store: Store, home: Path, model: bytes) -> None:
    theirs = home / ".ollama" / "models" / "blobs" / f"sha256-{sha256(projector())}"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(projector())
    made = pulled()
    assert (made.linked, made.projector_linked, hub.sent(F16)) == (None, str(theirs), 0)
    assert verify(None, store, Work())[0].problem is None
    theirs.unlink()
    assert not store.has_file(made)
    again = pulled()  # it is fetched, and the model is not
    assert (seen(store, again), again.blob) == (projector(), made.blob)


def test_what_a_kill_has_left_of_both(hub: HubServer, store: Store, model: bytes) -> None:
    """Both have been put into the store, and have no name yet."""
    made = pulled()
    store.remove(ModelName(made.name, made.tag))
    blobs = store.root / "blobs"
    for data in (model, projector()):
        (blobs / f"sha256-{sha256(data)}").write_bytes(data)
    again = pulled()
    assert replace(again, created=made.created) == made
    assert sorted(p.name for p in blobs.iterdir()) == sorted(kept.blob for kept in made.files)


def test_the_plans_table_counts_both(hub: HubServer, model: bytes) -> None:
    with Hub(PATIENCE) as client:
        for mmproj, other in ((None, len(projector())), ("q8_0", len(projector(seed=8))), ("none", 0)):
            grid = find_grid(client, wanted(), ConvertOptions(projector=mmproj))
            assert grid.sizes == {"q4_K_M": len(model) + other}
        hub.add("org/eyes", VISION)
        sizes = [
            find_grid(client, wanted("org/eyes"), ConvertOptions(projector=mmproj)).sizes["q8_0"]
            for mmproj in (None, "q8_0", "none")
        ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_checkpoint_of_text_alone_is_as_ever(hub: HubServer, store: Store) -> None:
    hub.add("org/text", SHARDED)
    made = pulled("org/text:q8_0")
    assert not made.sees and made.total_bytes == made.size_bytes


def test_a_checkpoint_that_sees(hub: HubServer, store: Store, tmp_path: Path) -> None:
    """Both files have the bytes of a conversion of the folder, of the type asked for."""
    hub.add("org/eyes", VISION)
    plans: list[Plan] = []
    want = wanted("org/eyes:q8_0")

    def agree(source: Source, plan: Plan) -> None:
        plans.append(plan)

    made = pull(want, store, Work(), agree, ConvertOptions()).manifest
    told = replace(find_provenance(VISION), repo="org/eyes", revision=made.revision, licence=made.licence)
    told = replace(told, hub_sha256=hashes(hub, "org/eyes"))
    report = convert(
        VISION, tmp_path / "m.gguf", "q8_0", name="eyes", provenance=told, projector=tmp_path / "mmproj-m.gguf"
    )
    assert (made.blob, made.projector) == (f"sha256-{report.sha256}", f"sha256-{report.projector_sha256}")
    assert abs(plans[0].model_bytes - made.total_bytes) < 20_000 and plans[0].sees
    assert verify(None, store, Work())[0].problem is None
    assert pull(want, store, Work(), lambda *_: pytest.fail("it asks"), ConvertOptions()).manifest == made
    small = pull(want, store, Work(), agree, ConvertOptions(projector="q8_0")).manifest
    assert small.blob == made.blob and 0 < small.projector_bytes < made.projector_bytes
    blind = pull(want, store, Work(), agree, ConvertOptions(projector="none")).manifest
    assert (blind.sees, plans[-1].sees, blind.blob) == (False, False, made.blob)
    assert len(list((store.root / "blobs").iterdir())) == 1


@pytest.mark.parametrize("moment", [0.3, 0.9])
def test_a_checkpoint_that_sees_is_gone_on_with(hub: HubServer, store: Store, tmp_path: Path, moment: float) -> None:
    hub.add("org/eyes", VISION)

    class Leaves(Work):
        def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
            if done_bytes > total_bytes * moment:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pulled("org/eyes:q8_0", Leaves())
    assert store.models() == [] and len(store.partials()) == 1
    planned = planned_again("org/eyes:q8_0")
    assert planned.written_bytes > 0 and planned.fits_disk
    made, fresh = pulled("org/eyes:q8_0"), Store(tmp_path / "fresh")
    other = pull(wanted("org/eyes:q8_0"), fresh, Work(), lambda *_: None, ConvertOptions()).manifest
    assert (made.blob, made.projector) == (other.blob, other.projector)
    assert store.partials() == [] and store.unnamed() == []


def test_a_checkpoint_on_the_hub_to_two_files(hub: HubServer, tmp_path: Path) -> None:
    hub.add("org/eyes", VISION)
    done = minichat("convert", "org/eyes", "-q", "q8_0", "--yes", "-o", tmp_path / "small.gguf")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == ["mmproj-small.gguf", "small.gguf"]
    assert beside(tmp_path / "small.gguf") == tmp_path / "mmproj-small.gguf"
    assert "mmproj-small.gguf" in done.stdout
