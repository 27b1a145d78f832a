"""What models read pictures with: recognized by its header, found beside a model, kept with it in the store."""

from __future__ import annotations

import doctest
import hashlib
import json
import os
import stat
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import gguf_samples
import pytest
from program import fails, minichat
from projector_samples import projector
from shown import Work
from test_store import MANIFEST, SMALL

import minichat.projectors as module
from convert import gguf_writer as w
from minichat import housekeeping
from minichat.engine.types import LoadOptions
from minichat.gguf_names import choose_projector
from minichat.manifest import Manifest, ModelName
from minichat.models import Model, resolve
from minichat.projectors import Projector, beside, check_fits, read_projector, wrong_beside
from minichat.reports import show_model
from minichat.sight import check_sees, limits_for, with_mmproj, with_projector
from minichat.store import Removed, Store
from minichat.terminal.units import format_bytes
from minichat.verification import show_verdicts, verify
from quant.errors import DataError, GgufError, StorageError

MODEL = gguf_samples.METADATA | {"llama.embedding_length": w.u32(256)}


@pytest.fixture
def store() -> Store:
    return Store.default()


def model_file(folder: Path, name: str = "small-Q4_K_M.gguf") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    gguf_samples.write(folder / name, MODEL)
    return folder / name


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def add(store: Store, data: bytes | None, name: str = "small", tag: str = "q4_K_M") -> Manifest:
    """A model in the store, with what it reads pictures with."""
    with store.incoming(ModelName(name, tag)) as folder:
        file, other = model_file(folder, "model.gguf"), folder / "projector.gguf"
        content = file.read_bytes()
        manifest = replace(MANIFEST, name=name, tag=tag, blob=f"sha256-{sha256(content)}", size_bytes=len(content))
        if data is not None:
            other.write_bytes(data)
            manifest = replace(manifest, projector=f"sha256-{sha256(data)}", projector_bytes=len(data))
        store.add(file, manifest, other if data is not None else None)
    return store.get(ModelName(name, tag))


def blobs(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "blobs").iterdir())


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


def test_what_a_projector_is(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(projector())
    assert read_projector(path) == Projector("pixtral", 256, 1540, 14, 2, "fp16")
    newer: dict[str, w.Value | None] = {
        "clip.projector_type": None,
        "clip.vision.projector_type": w.string("pixtral"),
        "clip.vision.spatial_merge_size": None,  # of a model that merges nothing
        "clip.vision.image_size": w.u32(1024),
        "clip.vision.patch_size": w.u32(16),
    }
    path.write_bytes(projector(newer))
    told = read_projector(path)
    assert (told.longest_side, told.patch, told.merge, told.max_tokens) == (1024, 16, 1, 64 * 65)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"general.architecture": w.string("llama")}, "is no file that a model reads pictures with"),
        ({"clip.has_vision_encoder": w.boolean(False)}, "is no file that a model reads pictures with"),
        ({"clip.has_vision_encoder": None}, "is no file that a model reads pictures with"),
        ({"clip.projector_type": w.string("gemma3\x1b[2J")}, "is of the kind 'gemma3"),
        ({"clip.projector_type": w.u32(7)}, "is of the kind 'none that it tells'"),
        ({"clip.vision.image_size": w.u32(0)}, "its clip.vision.image_size is 0"),
        ({"clip.vision.image_size": w.u32(1 << 31)}, "its clip.vision.image_size is 2147483648"),
        ({"clip.vision.patch_size": w.string("14")}, "its clip.vision.patch_size is '14'"),
        ({"clip.vision.patch_size": w.boolean(True)}, "its clip.vision.patch_size is True"),
        ({"clip.vision.spatial_merge_size": w.i32s([2])}, r"its clip.vision.spatial_merge_size is \[2\]"),
        ({"clip.vision.projection_dim": None}, "its clip.vision.projection_dim is missing"),
        ({"clip.vision.projection_dim": w.u32(512)}, "v.token_embd.img_break is 256 wide, and its header says 512"),
    ],
)
def test_odd_headers(tmp_path: Path, changes: dict[str, w.Value | None], says: str) -> None:
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(projector(changes))
    with pytest.raises(GgufError, match=says) as caught:
        read_projector(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("tensor", ["v.token_embd.img_break", "mm.2.weight"])
def test_a_projector_that_lacks_what_pictures_need(tmp_path: Path, tensor: str) -> None:
    (tmp_path / "x.gguf").write_bytes(projector(leave_out=tensor))
    with pytest.raises(GgufError, match=f"lacks the tensor {tensor}"):
        read_projector(tmp_path / "x.gguf")


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # which would never answer
    for name, says in (("pipe", "is no file"), (".", "is no file"), ("gone", "does not exist")):
        with pytest.raises(GgufError, match=says):
            read_projector(tmp_path / name)


def test_a_projector_of_another_model() -> None:
    told = Projector("pixtral", 5120, 1540, 14, 2)
    check_fits(told, "mmproj.gguf", {"general.architecture": "llama", "llama.embedding_length": 5120}, "small")
    check_fits(told, "mmproj.gguf", {"general.architecture": ["odd"]}, "small")  # it does not tell: the engine looks
    with pytest.raises(
        DataError, match=r"^mmproj\.gguf belongs to another model: .* 5,120 elements, and small takes 4,"
    ):
        check_fits(told, "mmproj.gguf", {"general.architecture": "llama", "llama.embedding_length": 4096}, "small")


@pytest.mark.parametrize(
    ("model", "names", "chosen"),
    [
        ("x-Q4_K_M.gguf", ["x-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        ("x-Q4_K_M.gguf", ["mmproj-x-Q8_0.gguf", "mmproj-x.gguf"], "mmproj-x.gguf"),
        ("x-Q4_K_M.gguf", ["mmproj-x-f16.gguf", "mmproj-x-Q4_K_M.gguf"], "mmproj-x-Q4_K_M.gguf"),
        ("Small-3.1-Q4_K_M.gguf", ["mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
        ("a-Q8_0.gguf", ["mmproj-a-f16.gguf", "mmproj-b-f16.gguf"], "mmproj-a-f16.gguf"),
        ("c-Q8_0.gguf", ["mmproj-a-f16.gguf", "mmproj-b-f16.gguf"], None),
        ("sub/a.gguf", ["mmproj-F16.gguf", "sub/mmproj-Q8_0.gguf"], "sub/mmproj-Q8_0.gguf"),
        ("sub/a.gguf", ["mmproj-F16.gguf", "other.gguf"], "mmproj-F16.gguf"),
        ("a.gguf", ["a.mmproj-Q8_0.gguf", "mmproj.txt"], "a.mmproj-Q8_0.gguf"),
        ("a.gguf", ["b.gguf", "README.md"], None),
    ],
)
def test_which_of_several(model: str, names: list[str], chosen: str | None) -> None:
    assert choose_projector(model, [model, *names]) == chosen
    assert choose_projector(model, reversed([model, *names])) == chosen


def test_what_lies_beside_a_file(tmp_path: Path, store: Store) -> None:
    model = model_file(tmp_path / "a")
    assert beside(model) is None and resolve(str(model), store, Work()).projector is None
    other = model.parent / "mmproj-model-f16.gguf"
    assert wrong_beside(model) is None
    for useless, problem in (
        (b"GGUF", "cut short"),
        (projector(width=512), "belongs to another model"),
        (projector({"clip.projector_type": w.string("gemma3")}), "of the kind 'gemma3'"),
    ):
        other.write_bytes(useless)
        assert beside(model) is None
        with pytest.raises(DataError, match=rf"reads text alone \(.*mmproj-model-f16.gguf.*{problem}.*; --mmproj FILE"):
            check_sees(resolve(str(model), store, Work()))
    other.write_bytes(projector())
    assert wrong_beside(model) is None
    assert beside(model) == other == resolve(str(model), store, Work()).projector
    own = model.parent / f"mmproj-{model.name}"
    own.write_bytes(projector())
    assert beside(model) == own
    link = tmp_path / "cache" / "small-Q4_K_M.gguf"  # as Hugging Face's tools keep them
    link.parent.mkdir()
    link.symlink_to(model)
    (link.parent / "mmproj-F16.gguf").symlink_to(other)
    assert beside(link) == link.parent / "mmproj-F16.gguf"
    os.mkfifo(model.parent / "x-mmproj.gguf")
    own.unlink()
    other.unlink()
    assert beside(model) is None


def test_a_pipe_is_not_waited_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    (tmp_path / "link.gguf").symlink_to(tmp_path / "model.gguf")
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    for name in ("model.gguf", "link.gguf", "loop.gguf"):
        with pytest.raises(OSError, match=r"plain|links"):
            module.leading_keys(tmp_path / name)
        assert beside(tmp_path / name) is None


def test_a_name_stands_for_both(store: Store) -> None:
    data = projector()
    made = add(store, data)
    path = store.projector(made)
    assert path is not None and path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert made.sees and made.total_bytes == made.size_bytes + len(data)
    assert resolve("small", store, Work()).projector == path
    assert blobs(store) == sorted([made.blob, f"sha256-{sha256(data)}"])
    assert store.unnamed() == [] and housekeeping.leftovers(store) == []
    twin = store.copy(SMALL, ModelName("twin"))
    assert store.projector(twin) == path
    assert store.remove(SMALL) == Removed("small:q4_K_M", 0, ("twin:q4_K_M",))
    assert store.remove(ModelName("twin")) == Removed("twin:q4_K_M", made.total_bytes)
    assert blobs(store) == []


def test_each_file_goes_with_its_last_name(store: Store) -> None:
    first, second = projector(), projector(seed=1)
    add(store, first)
    add(store, second, "other")
    made = add(store, first, "third")
    assert len(blobs(store)) == 3
    assert store.remove(ModelName("other")).freed_bytes == len(second)  # the model itself stays for the others
    store.remove(SMALL)
    assert store.projector(made) is not None
    add(store, None, "third")  # made again, of text alone
    assert blobs(store) == [made.blob]


def test_one_that_cannot_be_named_leaves_neither(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = add(store, None, "before")
    monkeypatch.setattr("minichat.names.published", full)
    with pytest.raises(StorageError):
        add(store, projector())
    assert [m.full_name for m in store.models()] == ["before:q4_K_M"] and blobs(store) == [before.blob]


def test_one_that_is_gone(store: Store) -> None:
    made = add(store, projector())
    path = store.projector(made)
    assert path is not None
    path.unlink()
    assert not store.has_file(made)
    with pytest.raises(
        DataError, match=r"^small:q4_K_M: what it reads pictures with: its file is missing from .*again$"
    ):
        store.projector(made)
    (verdict,) = verify(None, store, Work())
    assert verdict.problem is not None and verdict.problem.startswith("what it reads pictures with: its file is miss")
    fails(3, "what it reads pictures with: its file is missing", "show", "small")
    model = resolve("small", store, Work())
    for look in (check_sees, partial(with_projector, LoadOptions())):
        with pytest.raises(DataError, match=r"its file is missing from .* or use it for text alone: --mmproj none$"):
            look(model)
    assert with_projector(LoadOptions(), with_mmproj(model, "none")) == LoadOptions()


def test_one_that_is_damaged_is_named_with_its_model(store: Store) -> None:
    add(store, b"no GGUF at all")
    model = resolve("small", store, Work())
    says = (
        r"^small:q4_K_M: what it reads pictures with: .* is no usable GGUF file: .*; convert, pull or import it again, "
    )
    with pytest.raises(GgufError, match=says + "or use it for text alone: --mmproj none$"):
        limits_for(model)
    fails(3, "small:q4_K_M: what it reads pictures with: ", "show", "small")


def test_a_projector_has_none_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_file(tmp_path, "x.gguf")
    for name in ("mmproj-x.gguf", "mmproj-y.gguf"):
        (tmp_path / name).write_bytes(projector())
    show_model(resolve(str(tmp_path / "mmproj-y.gguf"), Store(tmp_path / "store"), Work()), as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["pictures"], shown["total_bytes"]) == (None, len(projector()))
    show_model(resolve(str(model), Store(tmp_path / "store"), Work()), as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["pictures"]["file"] == str(tmp_path / "mmproj-x.gguf")
    assert shown["total_bytes"] == model.stat().st_size + len(projector())
    (verdict,) = verify(str(model), Store(tmp_path / "store"), Work())
    assert (verdict.projector, verdict.size_bytes) == (tmp_path / "mmproj-x.gguf", shown["total_bytes"])
    show_verdicts([verdict], as_json=False)
    assert "mmproj-x.gguf, too" in " ".join(capsys.readouterr().out.split())


def test_linked_ones_are_told_of(store: Store, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(projector())
    made = add(store, theirs.read_bytes())
    store.remove(SMALL)
    for name in ("small", "twin"):
        with store.incoming(ModelName(name)) as folder:
            model_file(folder, "model.gguf")
            (folder / "projector").symlink_to(theirs)
            store.add(folder / "model.gguf", replace(made, name=name), folder / "projector")
    linked = store.get(SMALL)
    assert (linked.linked, linked.projector_linked) == (None, str(theirs))
    assert [verdict.problem for verdict in verify(None, store, Work())] == [None, None]
    add(store, theirs.read_bytes(), "twin")  # now the store has its own
    assert [m.projector_linked for m in store.models()] == [None, None]
    theirs.unlink()
    assert [verdict.problem for verdict in verify(None, store, Work())] == [None, None]


def test_verify(store: Store, tmp_path: Path) -> None:
    made = add(store, projector())
    path = store.projector(made)
    assert path is not None
    work = Work()
    (verdict,) = verify("small", store, work)
    assert (verdict.problem, verdict.size_bytes, verdict.projector) == (None, made.total_bytes, path)
    assert work.updates[-1] == (made.total_bytes, made.total_bytes)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    (verdict,) = verify("small", store, Work())
    assert verdict.problem is not None
    assert verdict.problem.startswith("what it reads pictures with: its content has changed (sha256 ")
    store.remove(SMALL)
    for data, says in (
        (projector(width=512), "belongs to another model"),
        (projector(leave_out="mm.2.weight"), "lacks"),
    ):
        add(store, data)
        (verdict,) = verify("small", store, Work())
        assert verdict.problem is not None and says in verdict.problem
    alone = tmp_path / "mmproj-x.gguf"
    alone.write_bytes(projector())
    assert verify(str(alone), store, Work())[0].problem is None
    alone.write_bytes(projector(leave_out="mm.2.weight"))
    assert "lacks the tensor" in str(verify(str(alone), store, Work())[0].problem)


def test_old_manifests_and_those_that_lie(store: Store) -> None:
    made = add(store, projector())
    facts = asdict(made)
    assert Manifest.from_json(json.dumps(facts)) == made
    old = {key: value for key, value in facts.items() if not key.startswith("projector")}
    assert Manifest.from_json(json.dumps(old)).sees is False
    odd = [("projector", "../../secret"), ("projector", "sha256-"), ("projector", 5), ("projector_bytes", -1)]
    for key, value in (*odd, ("projector_linked", "relative"), ("projector_bytes", None)):
        with pytest.raises(ValueError, match=f"its {key} makes no sense"):
            Manifest.from_json(json.dumps(facts | {key: value}))


def test_what_people_are_shown(store: Store) -> None:
    data = projector()
    made = add(store, data)
    (facts,) = json.loads(minichat("list", "--json").stdout)
    assert (facts["sees"], facts["projector"], facts["projector_bytes"]) == (True, made.projector, len(data))
    shown = minichat("show", "small").stdout
    assert "up to 1,540 pixels on the longer side: 3,080 tokens, each of 28 × 28 pixels, and " in shown
    assert f"pixtral, fp16, {format_bytes(len(data))}, " in shown
    told = json.loads(minichat("show", "small", "--json").stdout)["pictures"]
    assert (told["file"], told["width"], told["max_tokens"]) == (str(store.projector(made)), 256, 3080)
    assert "v7-tekken, pictures" in minichat("list").stdout
    kept = housekeeping.du(store)
    assert (kept.models[0].size_bytes, kept.models_bytes) == (made.total_bytes, made.total_bytes)
    assert "to read pictures" in minichat("du").stdout


def test_a_model_that_was_pulled_without_is_told_how_to_see(store: Store) -> None:
    made = replace(add(store, None), repo="a/b", source="hf:a/b", target="q8_0")
    says = r"small cannot see pictures: it reads text alone \(`minichat pull a/b:q8_0` fetches .*; or --mmproj FILE\)"
    with pytest.raises(DataError, match=says):
        check_sees(Model("small", Path("x"), made))
    with pytest.raises(DataError, match=r"text alone \(--mmproj FILE gives it what it needs to see\)"):
        check_sees(Model("small", Path("x"), replace(made, source="/folder")))
