"""Models of other programs on this disk, found, and not found where their folders lie."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import gguf_samples
import pytest
from checkpoints import SHARDED

from minichat import ollama
from minichat.elsewhere import find_blob, found, named, of_size, show_found
from minichat.foreign import Foreign

REPO, COMMIT, OLDER = "mistralai/Small-GGUF", "b" * 40, "a" * 40


@pytest.fixture(autouse=True)
def nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ollama, "SYSTEM_ROOT", home / "system")


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    path = tmp_path / "sample.gguf"
    gguf_samples.write(path)
    return path.read_bytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class HubCache:
    """What huggingface_hub makes of a download."""

    def __init__(self, hub: Path) -> None:
        self.hub = hub

    def put(self, repo: str, commit: str, name: str, data: bytes) -> Path:
        folder = self.hub / f"models--{repo.replace('/', '--')}"
        blob, link = folder / "blobs" / sha256(data), folder / "snapshots" / commit / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.symlink_to(os.path.relpath(blob, link.parent))
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        return link

    def put_checkpoint(self, repo: str, commit: str, source: Path = SHARDED) -> Path:
        links = [self.put(repo, commit, path.name, path.read_bytes()) for path in source.iterdir()]
        return links[0].parent


class Ollama:
    """What `ollama pull` makes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, data: bytes, host: str = "registry.ollama.ai/library") -> Path:
        digest = f"sha256:{sha256(data)}"
        blob = self.root / "blobs" / digest.replace(":", "-")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        layers = [
            {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": len(data)},
            {"mediaType": "application/vnd.ollama.image.license", "digest": f"sha256:{'0' * 64}", "size": 1},
        ]
        self.write(name, {"schemaVersion": 2, "layers": layers}, host)
        return blob

    def write(self, name: str, manifest: Any, host: str = "registry.ollama.ai/library") -> Path:
        model, _, tag = name.partition(":")
        path = self.root / "manifests" / host / model / tag
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())
        return path


@pytest.fixture
def hub(home: Path) -> HubCache:
    return HubCache(home / ".cache" / "huggingface" / "hub")


@pytest.fixture
def ollama_store(home: Path) -> Ollama:
    return Ollama(home / ".ollama" / "models")


def test_nothing_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert found() == []
    show_found([], as_json=False)
    assert capsys.readouterr().err == "no models of Hugging Face's tools, Ollama or LM Studio are on this disk\n"


def test_the_three_programs(
    home: Path, hub: HubCache, ollama_store: Ollama, gguf: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    link = hub.put(REPO, COMMIT, "q4/small-Q4_K_M.gguf", gguf)
    blob = ollama_store.put("mistral-small:24b", gguf + b"1")
    theirs = ollama_store.put("Ministral:Q4_K_M", gguf + b"2", "hf.co/mistralai")
    studio = home / ".lmstudio" / "models" / "mistralai" / "Small-GGUF" / "small-Q8_0.gguf"
    studio.parent.mkdir(parents=True)
    studio.write_bytes(gguf + b"34")
    size = len(gguf)
    assert found() == [
        Foreign(
            *("Hugging Face", "gguf", f"{REPO}/q4/small-Q4_K_M.gguf", link, link.resolve(), size, sha256(gguf)),
            *(REPO, COMMIT),
        ),
        Foreign("LM Studio", "gguf", "mistralai/Small-GGUF/small-Q8_0.gguf", studio, studio, size + 2),
        Foreign("Ollama", "gguf", "hf.co/mistralai/Ministral:Q4_K_M", theirs, theirs, size + 1, sha256(gguf + b"2")),
        Foreign("Ollama", "gguf", "mistral-small:24b", blob, blob, size + 1, sha256(gguf + b"1")),
    ]
    assert find_blob(sha256(gguf), size) == link.resolve()
    assert find_blob(sha256(gguf + b"1"), size + 1) == blob
    assert find_blob(sha256(gguf + b"1"), size) is None
    assert find_blob(sha256(gguf + b"34"), size + 2) is None
    assert [foreign.path for foreign in of_size(size + 2)] == [studio]
    assert [f.file for f in named("MISTRAL-small:24B", found())] == [blob]
    assert [f.file for f in named("lm-studio:mistralai/small-gguf/small-q8_0.gguf", found())] == [studio]
    assert named("mistral", found()) == []
    show_found(found(), as_json=False)
    assert "mistral-small:24b " in capsys.readouterr().out
    show_found(found(), as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["file"] == str(link.resolve())


@pytest.mark.parametrize(
    ("variable", "value", "hub_folder"),
    [("HF_HUB_CACHE", "a", "a"), ("HF_HOME", "b", "b/hub"), ("XDG_CACHE_HOME", "c", "c/huggingface/hub")],
)
def test_the_cache_may_be_elsewhere(
    tmp_path: Path, gguf: bytes, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, hub_folder: str
) -> None:
    HubCache(tmp_path / hub_folder).put(REPO, COMMIT, "x.gguf", gguf)
    assert found() == []
    monkeypatch.setenv(variable, str(tmp_path / value))
    assert [foreign.repo for foreign in found()] == [REPO]


def test_ollama_may_be_elsewhere(tmp_path: Path, home: Path, gguf: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Ollama(home / "system").put("a:1", gguf)
    Ollama(tmp_path / "mine").put("b:1", gguf)
    assert [foreign.name for foreign in found()] == ["a:1"]
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "mine"))
    assert [foreign.name for foreign in found()] == ["b:1"]


def test_of_revisions_the_last_one_and_a_file_once(hub: HubCache, gguf: bytes) -> None:
    hub.put(REPO, COMMIT, "same.gguf", gguf)
    hub.put(REPO, COMMIT, "changed.gguf", gguf + b"old")
    hub.put(REPO, OLDER, "changed.gguf", gguf + b"new")
    hub.put(REPO, OLDER, "same.gguf", gguf)  # fetched last: refs/main names it
    told = [(foreign.name.split("/")[-1], foreign.revision) for foreign in found()]
    assert sorted(told) == [("changed.gguf", OLDER), ("changed.gguf", COMMIT), ("same.gguf", OLDER)]


def test_checkpoints_in_the_cache(hub: HubCache) -> None:
    snapshot = hub.put_checkpoint("mistralai/Small", COMMIT)
    hub.put_checkpoint("mistralai/Small", OLDER)
    (checkpoint,) = found()
    assert (checkpoint.kind, checkpoint.name, checkpoint.revision) == ("checkpoint", "mistralai/Small", OLDER)
    weights = sum(path.stat().st_size for path in SHARDED.glob("*.safetensors"))
    assert checkpoint.size_bytes == weights
    shutil.rmtree(snapshot.parent / OLDER)
    next(iter(snapshot.glob("*.safetensors"))).unlink()  # a shard that is not there yet
    assert found() == []


@pytest.mark.parametrize("name", ["config.json", "tekken.json", "model.safetensors.index.json"])
def test_a_checkpoint_that_leads_out_of_the_cache_is_none(hub: HubCache, tmp_path: Path, name: str) -> None:
    snapshot = hub.put_checkpoint("mistralai/Small", COMMIT)
    if not (snapshot / name).exists():
        pytest.skip(f"no {name} in this one")
    outside = tmp_path / "outside"
    outside.write_bytes((snapshot / name).read_bytes())
    (snapshot / name).unlink()
    (snapshot / name).symlink_to(outside)
    assert found() == []


def test_parts_projectors_and_pickles_are_no_models(hub: HubCache, gguf: bytes) -> None:
    for name in ("x-00001-of-00003.gguf", "mmproj-x-f16.gguf", "x-mmproj.gguf", "model.bin", "model.pt", "README.md"):
        hub.put(REPO, COMMIT, name, gguf)
    hub.put(REPO, COMMIT, "lies.gguf", b"PK\x03\x04" + gguf)
    hub.put(REPO, COMMIT, "config.json", b"{}")
    assert found() == []


def test_hostile_folders_of_a_cache(hub: HubCache, tmp_path: Path, gguf: bytes) -> None:
    hub.put(REPO, COMMIT, "good.gguf", gguf)
    folder = hub.hub / "models--mistralai--Small-GGUF"
    snapshot = folder / "snapshots" / COMMIT
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(gguf + b"secret")
    links = {
        snapshot / "out.gguf": outside,
        snapshot / "loop.gguf": snapshot / "loop.gguf",
        snapshot / "gone.gguf": "nowhere",
        snapshot / "folder.gguf": folder,
        snapshot / "device.gguf": "/dev/zero",
        snapshot / "again": snapshot,
        folder / "snapshots" / ("c" * 40): tmp_path,
        hub.hub / "models--a--b": tmp_path,
        hub.hub / "models--loop--loop": hub.hub / "models--loop--loop",
    }
    for link, target in links.items():
        link.symlink_to(target)
    for odd in ("models--", "models--x", "models--..--..", "models--a--b--c", "datasets--a--b", "models--\x1b[2J--x"):
        shutil.copytree(folder, hub.hub / odd, symlinks=True)
    shutil.copytree(snapshot, folder / "snapshots" / "main", symlinks=True)
    (folder / "refs" / "main").unlink()
    (folder / "refs" / "main").symlink_to("/dev/zero")
    os.mkfifo(snapshot / "pipe.gguf")
    (snapshot / "folder2.gguf").mkdir()
    assert [foreign.path for foreign in found()] == [snapshot / "good.gguf"]
    (folder / "blobs" / ("d" * 64)).symlink_to(outside)
    assert find_blob("d" * 64, outside.stat().st_size) is None
    for hostile in ("../../../outside.gguf", "", "D" * 64, "d" * 63, "d" * 64 + "\n", "x" * 5000, "\0"):
        assert find_blob(hostile, 1) is None


MODEL = "application/vnd.ollama.image.model"


def test_hostile_manifests_of_ollama(ollama_store: Ollama, tmp_path: Path, gguf: bytes) -> None:
    blob = ollama_store.put("good:1", gguf)
    digest, size = f"sha256:{sha256(gguf)}", len(gguf)
    outside = tmp_path / "outside"
    outside.write_bytes(gguf)
    layer = {"mediaType": MODEL, "digest": digest, "size": size}
    digests = [5, None, "", "sha256:", "sha256:" + "A" * 64, "md5:" + "a" * 64, f"sha256:../../../{outside.name}"]
    digests += [f"sha256:{'e' * 64}", f"{digest}\n", f"{digest}/..", [digest], "sha256:" + "a" * 5000, "\ud800"]
    manifests: list[Any] = [b"", b"{", b"[" * 100_000, b"1" * 100_000, b"\xff", [], "x", 5, None, {}]
    manifests += [{"layers": odd} for odd in (None, 5, "x", {}, [None], [[]], [{}], [layer, layer])]
    manifests += [{"layers": [layer | {"digest": odd}]} for odd in digests]
    manifests += [{"layers": [layer | {"size": odd}]} for odd in (-1, size + 1, "1", None, 1e400, True, 10**400)]
    manifests += [{"layers": [layer | {"mediaType": odd}]} for odd in (None, "", "x", [MODEL], MODEL + "\n")]
    manifests.append(b" " * (2 << 20) + json.dumps({"layers": [layer]}).encode())
    for number, manifest in enumerate(manifests):
        ollama_store.write(f"bad:{number}", manifest)
    for name in ("a b:1", "\x1b[2J:1", "…:1", "x" * 200 + ":1", ".hidden:1"):
        ollama_store.write(name, {"layers": [layer]})
    (ollama_store.root / "manifests" / "loop").symlink_to(ollama_store.root / "manifests")
    (ollama_store.root / "manifests" / "registry.ollama.ai" / "library" / "good" / "2").symlink_to("/dev/zero")
    os.mkfifo(ollama_store.root / "manifests" / "registry.ollama.ai" / "library" / "good" / "3")
    assert [(foreign.name, foreign.file) for foreign in found()] == [("good:1", blob)]
    blob.unlink()
    blob.symlink_to(outside)
    assert found() == [] and find_blob(sha256(gguf), size) is None


def test_a_folder_of_lm_studio_s(home: Path, tmp_path: Path, gguf: bytes) -> None:
    models = home / ".cache" / "lm-studio" / "models"
    repo = models / "someone" / "repo"
    (repo / "deeper" / "too deep").mkdir(parents=True)
    (tmp_path / "outside.gguf").write_bytes(gguf)
    for path in (models / "x.gguf", models / "someone" / "x.gguf", repo / "deeper" / "too deep" / "x.gguf"):
        path.write_bytes(gguf)
    for path in (repo / "x.GGUF", repo / "deeper" / "y.gguf"):
        path.write_bytes(gguf)
    (repo / "out.gguf").symlink_to(tmp_path / "outside.gguf")
    (repo / "in.gguf").symlink_to(repo / "x.GGUF")
    (models / "publisher").symlink_to(models)
    names = ["someone/repo/deeper/y.gguf", "someone/repo/in.gguf", "someone/repo/x.GGUF"]
    assert [foreign.name for foreign in found()] == names


def test_folders_that_loop_or_are_none(home: Path) -> None:
    (home / ".ollama").mkdir()
    (home / ".ollama" / "models").symlink_to(home / ".ollama" / "models")
    (home / ".lmstudio").write_text("no folder")
    (home / ".cache").symlink_to("/dev/null")
    assert found() == []


def test_damage_anywhere_ends_in_fewer_models_only(hub: HubCache, ollama_store: Ollama, gguf: bytes) -> None:
    """300 times something is changed at random in the files that describe what is there."""
    hub.put(REPO, COMMIT, "x.gguf", gguf)
    hub.put_checkpoint("mistralai/Small", COMMIT)
    ollama_store.put("good:1", gguf)
    whole = {foreign.name for foreign in found()}
    assert len(whole) == 3
    manifest = ollama_store.root / "manifests" / "registry.ollama.ai" / "library" / "good" / "1"
    index = next((hub.hub / "models--mistralai--Small" / "snapshots" / COMMIT).glob("*.index.json")).resolve()
    ref = hub.hub / "models--mistralai--Small" / "refs" / "main"
    chance, before = random.Random(0), {path: path.read_bytes() for path in (manifest, index, ref)}
    for _ in range(300):
        path = chance.choice(list(before))
        data = bytearray(before[path])
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.randint(0, len(data))] if chance.random() < 0.2 else data)
        assert {foreign.name for foreign in found()} <= whole
        path.write_bytes(before[path])
