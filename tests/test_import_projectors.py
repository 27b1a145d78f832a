"""What other programs keep beside a model to read pictures with: found, taken along, refused where it does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf_samples
import pytest
from program import fails, minichat
from projector_samples import projector
from shown import Work
from test_elsewhere import COMMIT, REPO, HubCache, Ollama, sha256

from convert import gguf_writer as w
from minichat import ollama
from minichat import place as placing
from minichat.elsewhere import at, found
from minichat.foreign import Foreign, ForeignFile
from minichat.importing import import_model
from minichat.manifest import Manifest, ModelName
from minichat.store import Store
from minichat.verification import verify
from quant.errors import DataError

PROJECTOR_LAYER = "application/vnd.ollama.image.projector"


@pytest.fixture(autouse=True)
def nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_reflinks(source: Path, destination: Path) -> None:
        raise OSError(95, "Operation not supported")

    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ollama, "SYSTEM_ROOT", home / "system")
    monkeypatch.setattr(placing, "_clone", no_reflinks)


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    path = tmp_path / "sample.gguf"
    gguf_samples.write(path, gguf_samples.METADATA | {"llama.embedding_length": w.u32(256)})
    return path.read_bytes()


@pytest.fixture
def store() -> Store:
    return Store.default()


def in_ollama(home: Path, name: str, model: bytes, *others: bytes, **lies: Any) -> Path:
    """A model there with projectors; `lies`: of the last layer. The blob of the last one."""
    kept = Ollama(home / ".ollama" / "models")
    blob = kept.put(name, model)
    layers = [{"mediaType": ollama._MODEL_LAYER, "digest": f"sha256:{sha256(model)}", "size": len(model)}]
    for data in others:
        blob = blob.with_name(f"sha256-{sha256(data)}")
        blob.write_bytes(data)
        layers.append({"mediaType": PROJECTOR_LAYER, "digest": f"sha256:{sha256(data)}", "size": len(data)})
    layers[-1] |= lies
    kept.write(name, {"schemaVersion": 2, "layers": layers})
    return blob


def taken(foreign: Foreign, store: Store, work: Work | None = None, **more: Any) -> Manifest:
    return import_model(foreign, store, work or Work(), ModelName("mine", "best"), **more).manifest


def test_ollamas_layer(home: Path, store: Store, model: bytes) -> None:
    blob = in_ollama(home, "llava:7b", model, projector())
    (foreign,) = found()
    assert foreign.projector == ForeignFile(blob, len(projector()), sha256(projector()))
    work = Work()
    made = taken(foreign, store, work)
    assert (made.projector, made.projector_linked, work.notes) == (f"sha256-{sha256(projector())}", str(blob), [])
    assert verify(None, store, Work())[0].problem is None
    assert work.updates[-1] == (made.total_bytes, made.total_bytes) and work.updates == sorted(work.updates)
    copied = taken(foreign, store, copy=True)
    assert (copied.linked, copied.projector_linked) == (None, None)
    blob.unlink()
    assert verify(None, store, Work())[0].problem is None


@pytest.mark.parametrize(
    "lies", [{"size": 3}, {"digest": "sha256:" + "0" * 64}, {"digest": 7}, {"mediaType": "x"}, {"size": True}]
)
def test_a_layer_that_makes_no_sense(home: Path, model: bytes, lies: dict[str, Any]) -> None:
    in_ollama(home, "llava:7b", model, projector(), **lies)
    (foreign,) = found()
    assert foreign.projector is None


def test_two_layers_are_one_too_many(home: Path, model: bytes) -> None:
    in_ollama(home, "llava:7b", model, projector(), projector(seed=1))
    assert [foreign.projector for foreign in found()] == [None]


def test_a_layer_that_leads_out_of_the_store(home: Path, model: bytes, tmp_path: Path) -> None:
    blob = in_ollama(home, "llava:7b", model, projector())
    outside = tmp_path / "outside"
    blob.rename(outside)
    blob.symlink_to(outside)
    assert [foreign.projector for foreign in found()] == [None]


def test_lm_studios_folder(home: Path, store: Store, model: bytes) -> None:
    folder = home / ".lmstudio" / "models" / "someone" / "Small-GGUF"
    folder.mkdir(parents=True)
    (folder / "Small-Q8_0.gguf").write_bytes(model)
    (folder / "mmproj-model-f16.gguf").write_bytes(projector())
    (foreign,) = found()
    assert foreign.projector == ForeignFile(folder / "mmproj-model-f16.gguf", len(projector()))
    assert taken(foreign, store).sees
    (facts,) = json.loads(minichat("import", "--json").stdout)
    assert facts["projector"]["file"] == str(folder / "mmproj-model-f16.gguf")
    assert "GGUF, pictures" in minichat("import").stdout


def test_hugging_faces_cache(home: Path, store: Store, model: bytes) -> None:
    cache = HubCache(home / ".cache" / "huggingface" / "hub")
    cache.put(REPO, COMMIT, "small-Q4_K_M.gguf", model)
    for name, data in (("mmproj-F16.gguf", projector()), ("mmproj-BF16.gguf", projector(seed=1))):
        link = cache.put(REPO, COMMIT, name, data)
    (foreign,) = found()
    blob = link.resolve().with_name(sha256(projector()))
    assert foreign.projector == ForeignFile(blob, len(projector()), sha256(projector()))
    assert taken(foreign, store).sees


def test_a_projector_that_does_not_fit_is_left_out(home: Path, store: Store, model: bytes) -> None:
    for number, data in enumerate((projector(width=512), projector({"clip.projector_type": w.string("mlp")}), b"x")):
        in_ollama(home, "llava:7b", model, data)
        work = Work()
        assert not taken(found()[0], store, work).sees
        assert len(work.notes) == 1 and work.notes[0].startswith("text only: "), number


def test_a_projector_that_is_not_what_its_program_says(home: Path, store: Store, model: bytes) -> None:
    blob = in_ollama(home, "llava:7b", model, projector())
    blob.write_bytes(projector(seed=1))
    with pytest.raises(DataError, match="is damaged: its sha256 is"):
        taken(found()[0], store)
    assert store.models() == [] and store.unnamed() == []


def test_a_file_with_one_beside_it(tmp_path: Path, store: Store, model: bytes) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    file, other = folder / "small.gguf", folder / "mmproj-small.gguf"
    file.write_bytes(model)
    assert at(file).projector is None
    other.write_bytes(projector())
    assert at(file).projector == ForeignFile(other, len(projector()))
    assert "; it reads pictures" in minichat("import", file).stdout
    assert store.get(ModelName("small")).sees
    assert minichat("import", file, "--name", "blind", "--mmproj", "none").returncode == 0
    assert not store.get(ModelName("blind")).sees
    wrong = folder / "wrong.gguf"
    wrong.write_bytes(projector(width=512))
    fails(3, "belongs to another model", "import", file, "--name", "x", "--mmproj", wrong)
    fails(3, "is no file that a model reads pictures with", "import", file, "--name", "x", "--mmproj", file)
    fails(3, "does not exist", "import", file, "--name", "x", "--mmproj", folder / "gone.gguf")
    assert len(store.models()) == 2


def test_a_foreign_projector_that_changes_meanwhile(home: Path, store: Store, model: bytes) -> None:
    in_ollama(home, "llava:7b", model, projector())
    (foreign,) = found()
    assert foreign.projector is not None
    short = replace(foreign, projector=replace(foreign.projector, size_bytes=5, sha256=None))
    with pytest.raises(DataError, match="has changed while it was read"):
        taken(short, store)
    assert store.models() == []
